"""Namespaces for what needs root: of users too where allowed, else as the real root (in a chroot, in Docker)."""

import os
import subprocess
from functools import cache

from private_libvirtd import NOBODY


@cache
def has_users() -> bool:
    """Say whether anybody may be root in a namespace of users here."""
    as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    command = ["unshare", "--user", "--map-root-user", "true"]
    return subprocess.run(command, check=False, capture_output=True, **as_nobody).returncode == 0  # type: ignore[call-overload,no-any-return]


def unshare(*namespaces: str) -> list[str]:
    """Return how to run a command as root in namespaces of its own, given as `--mount`, `--net`."""
    users = ["--user", "--map-root-user"] if has_users() else []
    return ["unshare", *users, *namespaces, "--propagation", "private"]


def enter(process: int, *namespaces: str) -> list[str]:
    """Return how to run a command in the namespaces of a process that `unshare` started."""
    users = ["--user", "--preserve-credentials"] if has_users() else []
    return ["nsenter", *users, *namespaces, f"--target={process}"]
