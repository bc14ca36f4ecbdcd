"""Getting the peers into bench/.cache, once: nothing is installed, no service starts, nobody has to be root."""

import os
import shutil
import subprocess
from pathlib import Path

from measure import HERE

from polling.cost import Missing

CACHE = HERE / ".cache"
INOVEX = "github.com/inovex/prometheus-libvirt-exporter"
INOVEX_COMMIT = "8dbcadd5afc9a96c1fd8f09b22a8a4c276b8c111"
CLONE = "INOVEX_CLONE"
"""Environment variable with a git clone of the exporter, for machines that have no way to its repository."""


def debian(*packages: str) -> Path:
    """Download Debian packages, unpack them, and return where.  Raises Missing."""
    root = CACHE / packages[0]
    if not root.exists():
        work = CACHE / f"{packages[0]}.part"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        _run(["apt-get", "download", "-q", *packages], work)
        for package in sorted(work.glob("*.deb")):
            _run(["dpkg-deb", "-x", str(package), str(work)], work)
        work.rename(root)
    return root


def inovex() -> Path:
    """Build the exporter at its commit, and return the program.  Raises Missing."""
    program = CACHE / f"inovex-prometheus-libvirt-exporter-{INOVEX_COMMIT[:7]}"
    if program.exists():
        return program
    work = CACHE / "inovex.part"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    if clone := os.environ.get(CLONE):
        _run(["git", "-C", clone, "archive", "-o", str(work / "source.tar"), INOVEX_COMMIT], work)
        _run(["tar", "-xf", "source.tar"], work)
        _run(["go", "build", "-o", str(program), "."], work)
    else:
        _run(["env", f"GOBIN={work}", "go", "install", f"{INOVEX}@{INOVEX_COMMIT}"], work)
        (work / INOVEX.rpartition("/")[2]).rename(program)
    shutil.rmtree(work)
    return program


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=600)
    except OSError as error:
        raise Missing(f"{command[0]}: {error.strerror}") from error
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = str(error.stderr or error).strip().splitlines()
        raise Missing(f"{' '.join(command[:3])}: {said[-1] if said else error}") from error
