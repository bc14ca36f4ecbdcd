#!/usr/bin/env python3
"""Fetch Apache Qpid Broker-J from Maven Central, once, and only what its checksum says it is.

    scripts/fetch_brokerj.py

MAVEN_CENTRAL, if set, is another address of the same repository.
"""

import hashlib
import os
import shutil
import sys
import tarfile
import tempfile
import urllib.request
from pathlib import Path

VERSION = "10.1.0"
SHA256 = "bfb97420312e4b1050f337c9633cf84ae7fbfc0fccfbe6e65a38383e33878a40"
"""Of the archive; Maven Central publishes none for it, so it was made of what came, on 2026-11-25."""
PATH = f"org/apache/qpid/apache-qpid-broker-j/{VERSION}/apache-qpid-broker-j-{VERSION}-bin.tar.gz"
CENTRAL = "https://repo1.maven.org/maven2"

HOME = Path(__file__).resolve().parents[1] / ".venv" / "qpid-broker" / VERSION
"""Where it lies: LICENSE, bin, lib."""


def fetch() -> None:
    """Download and unpack it unless it is there.  Raises OSError, ValueError."""
    if HOME.is_dir():
        return
    address = f"{os.environ.get('MAVEN_CENTRAL', CENTRAL).rstrip('/')}/{PATH}"
    HOME.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=HOME.parent) as folder:
        archive = Path(folder) / "archive"
        with urllib.request.urlopen(address, timeout=60) as answer, archive.open("wb") as file:
            shutil.copyfileobj(answer, file)
        got = hashlib.sha256(archive.read_bytes()).hexdigest()
        if got != SHA256:
            raise ValueError(f"{address} has the SHA-256 {got}, not {SHA256}")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
        (Path(folder) / "qpid-broker" / VERSION).rename(HOME)  # whole or not at all


if __name__ == "__main__":
    try:
        fetch()
    except (OSError, ValueError) as error:
        sys.exit(f"Apache Qpid Broker-J {VERSION} could not be fetched: {error}")
