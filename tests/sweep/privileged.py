"""A privileged libvirtd of our own: root only inside namespaces of its own, so it can change nothing of the host's.

Network filters, their bindings and the ports of networks are served by such a daemon only.  Its network namespace is
empty; the folders that libvirt has compiled in are its own; so is the memory tuning that it sees.  It can define
guests by what another libvirtd learned about QEMU, but start none: in its user namespace nobody may set a process's
groups.  Where namespaces of users are forbidden it is the real root, in namespaces of mounts and net.
"""

import json
import os
from pathlib import Path
from typing import Any

from namespaces import has_users, unshare
from private_libvirtd import NOBODY, PROGRAM, PrivateLibvirtd

SET_UP = """
set -e
mount -t tmpfs none /var
learned="$XDG_CACHE_HOME/libvirt/qemu/cache"
mkdir -p /var/lib/libvirt /var/log/libvirt /var/cache/libvirt/qemu "$learned"
mount --bind "$learned" /var/cache/libvirt/qemu
mount --bind "$0/lib" /var/lib/libvirt
for place in /run /etc/libvirt /etc/passwd /etc/group; do mount --bind "$0$place" $place; done
mount --bind "$0/ksm" /sys/kernel/mm/ksm
exec "$@"
"""
USERS = "root:x:0:0::/root:/bin/sh\nlibvirt-qemu:x:0:0::/:/bin/sh\n"
GROUPS = "root:x:0:\nkvm:x:0:\nlibvirt-qemu:x:0:\n"
KSM = {"run": 0, "pages_to_scan": 100, "sleep_millisecs": 20, "merge_across_nodes": 1} | dict.fromkeys(
    ("pages_shared", "pages_sharing", "pages_unshared", "pages_volatile", "full_scans"), 0
)
LEASED_BRIDGE = "leased"
LEASE = {
    "ip-address": "192.0.2.9",
    "mac-address": "52:54:00:00:00:01",
    "hostname": "a-guest",
    "client-id": "01:52:54:00:00:00:01",
    "expiry-time": 4_102_444_800,
}
"""What libvirt's helper of dnsmasq has written down for the network with that bridge."""


class PrivilegedLibvirtd(PrivateLibvirtd):
    """Everything as with PrivateLibvirtd but the URI; the socket of a system daemon is in the same place."""

    @property
    def uri(self) -> str:
        """The URI of its drivers."""
        return f"qemu+unix:///system?socket={self.socket}"

    @property
    def pid(self) -> int:
        """A process in its namespaces: itself."""
        assert self._process is not None
        return self._process.pid

    def _command(self) -> list[str | Path]:
        return [*unshare("--mount", "--net"), "sh", "-c", SET_UP, self._path, PROGRAM, "-t", "0"]

    def _identity(self) -> dict[str, Any]:
        """Where nobody can become root in a namespace of users, the real root has to be it."""
        return super()._identity() if has_users() else {}

    def _write_configuration(self) -> None:
        super()._write_configuration()
        settings = (self._path / "libvirtd.conf").read_text()
        settings += "".join(f'auth_unix_{kind} = "none"\n' for kind in ("ro", "rw"))
        settings += 'unix_sock_group = "root"\nunix_sock_rw_perms = "0777"\n'
        self._write("etc/libvirt/libvirtd.conf", settings)
        self._write("etc/libvirt/qemu.conf", 'stdio_handler = "file"\ncgroup_controllers = [ ]\nnamespaces = [ ]\n')
        self._write("etc/passwd", USERS)
        self._write("run/udev/control", "")  # without it nobody listens to udevd
        self._write("etc/group", GROUPS)
        self._write(f"lib/dnsmasq/{LEASED_BRIDGE}.status", json.dumps([LEASE]))
        for name, value in KSM.items():
            self._write(f"ksm/{name}", f"{value}\n")

    def _write(self, name: str, text: str) -> None:
        path = self._path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if os.geteuid() == 0:
            for one in (path, *path.relative_to(self._path).parents[:-1]):
                os.chown(self._path / one, NOBODY, NOBODY)
