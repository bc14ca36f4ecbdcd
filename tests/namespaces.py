"""Namespaces for what needs root: of users too where allowed, else as the real root (in a chroot, in Docker)."""

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from private_libvirtd import NOBODY

AS_NOBODY: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


@cache
def has_users() -> bool:
    """Say whether anybody may be root in a namespace of users here."""
    return _works(["unshare", "--user", "--map-root-user", "true"], AS_NOBODY)


def unshare(*namespaces: str) -> list[str]:
    """Return how to run a command as root in namespaces of its own, given as `--mount`, `--net`."""
    users = ["--user", "--map-root-user"] if has_users() else []
    return ["unshare", *users, *namespaces, "--propagation", _propagation()]


def enter(process: int, *namespaces: str) -> list[str]:
    """Return how to run a command in the namespaces of a process that `unshare` started."""
    users = ["--user", "--preserve-credentials"] if has_users() else []
    root = ["--root"] if "--mount" in namespaces else []  # that of the process: we may be in a chroot
    return ["nsenter", *users, *namespaces, *root, f"--target={process}"]


@cache
def _propagation() -> str:
    """Keep mounts inside.  In a chroot whose root is no mount that cannot be asked for, so it is tried.

    Raises RuntimeError where mounts would be seen outside, or cannot be made at all.
    """
    if has_users() or _works(["unshare", "--mount", "--propagation", "private", "true"]):
        return "private"
    with tempfile.TemporaryDirectory() as folder:
        seen = Path(folder) / "seen"
        script = f"mount -t tmpfs none {folder} && touch {seen} && sleep 5"
        command = ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", script]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            inside = Path(f"/proc/{process.pid}/root{seen}")
            while process.poll() is None and not inside.exists():
                pass
            is_isolated = process.poll() is None and not seen.exists()
            process.kill()
        if seen.exists():
            subprocess.run(["umount", folder], check=True)
    if not is_isolated:
        raise RuntimeError("these tests need root, or namespaces of users, and mounts of their own")
    return "unchanged"


def _works(command: list[str], identity: dict[str, Any] | None = None) -> bool:
    return subprocess.run(command, check=False, capture_output=True, **(identity or {})).returncode == 0
