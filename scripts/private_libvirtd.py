"""A libvirtd of our own: unprivileged, its own folder, socket and host uuid, nothing of the system's.

    with PrivateLibvirtd() as daemon:
        print(daemon.uri)

Used by the tests.  Two of them are two hosts: a guest can be migrated from one to the other.
"""

import contextlib
import os
import shutil
import socket
import uuid
from pathlib import Path
from typing import Any

from private_process import PrivateProcess

PROGRAM = shutil.which("libvirtd", path="/usr/sbin:/usr/bin:/sbin:/bin") or "libvirtd"
NOBODY = 65534
"""Whom root becomes: libvirtd is a session daemon for anyone but root.

It also keeps a guest's start at 0.4 s: root may open /dev/kvm even where it is not as udev makes it (0660, group kvm),
and libvirtd then probes QEMU anew at every start, 7 s each.
"""


class PrivateLibvirtd(PrivateProcess):
    """A start takes 0.1 s; the socket stays the same.

    Guests have sessions of their own: they survive the daemon and are found again by the next `start`; `close` ends
    them.  `cache` is another one's `cache`: what that one learned about QEMU (2 to 5 s) need not be learned again.
    """

    name = "libvirtd"
    prefix = "libvirtd-"
    ready_seconds = 20.0

    def __init__(self, cache: Path | None = None) -> None:
        super().__init__()
        self.home = self._path
        """Where its socket, its data and its configuration are."""
        self.cache = cache or self._path / "cache"
        self.socket = self._path / "run" / "libvirt" / "libvirt-sock"
        self._write_configuration()

    @property
    def uri(self) -> str:
        """The URI of its QEMU driver."""
        return f"qemu+unix:///session?socket={self.socket}"

    @property
    def test_uri(self) -> str:
        """The URI of the test driver in it: in memory, so as new after every start."""
        return f"test+unix:///default?socket={self.socket}"

    def _command(self) -> list[str | Path]:
        return [PROGRAM, "-f", self._path / "libvirtd.conf", "-t", "0"]

    def _identity(self) -> dict[str, Any]:
        return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}

    def _write_configuration(self) -> None:
        for name in ("run", "cache", "data", "config/libvirt"):
            (self._path / name).mkdir(parents=True)
        # Without a uuid of its own it would be the machine's, and a migration between two of them is refused.
        (self._path / "libvirtd.conf").write_text(f'host_uuid = "{uuid.uuid4()}"\nlog_outputs = "3:stderr"\n')
        # Else a virtlogd would be started beside it.
        (self._path / "config" / "libvirt" / "qemu.conf").write_text('stdio_handler = "file"\n')
        if os.geteuid() == 0:
            for path in (self._path, *self._path.rglob("*")):
                os.chown(path, NOBODY, NOBODY)

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home / "run"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_CACHE_HOME": str(self.cache),
            "XDG_DATA_HOME": str(self.home / "data"),
        }

    def _is_open(self) -> bool:
        """The socket of a killed daemon is still there, and refuses."""
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            probe.connect(str(self.socket))
            return True
        return False
