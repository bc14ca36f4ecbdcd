"""Where the agent finds libvirt's socket: libvirt's own rules, so far as they can be followed without a connection."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

SYSTEM = Path("/run/libvirt")
_SERVED = {
    "bhyve",
    "ch",
    "interface",
    "lxc",
    "network",
    "nodedev",
    "nwfilter",
    "qemu",
    "secret",
    "storage",
    "vz",
    "xen",
}
"""The drivers that live in a daemon; every other one does so only when the URI names the transport unix."""


@dataclass(frozen=True)
class Place:
    """The candidates, in libvirt's order: the driver's own daemon, then libvirtd."""

    candidates: tuple[Path, ...]
    is_session: bool

    @property
    def socket(self) -> Path:
        """The first that is there; libvirtd's when there is none."""
        return next((path for path in self.candidates if _is_there(path)), self.candidates[-1])


def find(uri: str, *, read_only: bool, environ: Mapping[str, str] = os.environ) -> Place | None:
    """Return where libvirt looks (virt: src/remote/remote_sockets.c); None where the URI leads to no socket here."""
    parts = urlsplit(uri)
    driver, _, transport = parts.scheme.partition("+")
    if parts.hostname or transport not in {"", "unix"} or (not transport and driver not in _SERVED):
        return None
    is_session = parts.path == "/session"
    options = parse_qs(parts.query)
    if given := options.get("socket"):
        return Place((Path(given[0]),), is_session)
    folder = Path(environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}") / "libvirt" if is_session else SYSTEM
    suffix = "-ro" if read_only and not is_session else ""
    names = {"direct": (f"virt{driver}d-sock",), "legacy": ("libvirt-sock",)}
    chosen = names.get((options.get("mode") or ["auto"])[0], (f"virt{driver}d-sock", "libvirt-sock"))
    return Place(tuple(folder / f"{name}{suffix}" for name in chosen), is_session)


def in_container() -> bool:
    """Say whether this is a container, whose users, groups and files are not the hypervisor's."""
    return (
        "container" in os.environ
        or "KUBERNETES_SERVICE_HOST" in os.environ
        or any(map(os.path.exists, ("/.dockerenv", "/run/.containerenv")))
    )


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return False
