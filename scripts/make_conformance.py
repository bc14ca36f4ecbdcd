"""Run the tests of features on every kind of broker, and write docs/conformance.md from what came of them.

.venv/bin/python scripts/make_conformance.py
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("rabbitmq", "rabbitmq4", "brokerj")
HEAD = """# Brokers

The same tests, run on each of these brokers; a cell is what came out. Made by `make conformance`, which starts the
brokers; `make test` and `make test-brokers` fail when something else comes out. Nothing has to be set for a broker:
what differs is found out from what it says of itself.

"""


def run(kind: str, folder: str) -> dict[str, Any]:
    """Run the tests of features on one kind; returns its name and cells."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "feature", "--broker", kind, "tests/broker"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"CONFORMANCE": folder}, check=False)
    if done.returncode:
        sys.exit(f"not every feature is there on {kind}: the page stays as it was")
    told: dict[str, Any] = json.loads((Path(folder) / f"{kind}.json").read_text())
    return told


def page(runs: list[dict[str, Any]]) -> str:
    """Return the whole file."""
    features = list(dict.fromkeys(feature for told in runs for feature in told["cells"]))
    lines = [["feature", *(told["software"] for told in runs)], ["---"] * (len(runs) + 1)]
    lines += [[feature, *(told["cells"].get(feature, "not run") for told in runs)] for feature in sorted(features)]
    return HEAD + "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        text = page([run(kind, folder) for kind in KINDS])
    (ROOT / "docs" / "conformance.md").write_text(text)
