"""The word of a udevd, where there is none: said in the namespaces of a private libvirtd, heard by it alone."""

import os
import shutil
import subprocess

from namespaces import enter, has_users

SAY = """
import socket, struct, sys
properties = b"".join(word.encode() + b"\\0" for word in sys.argv[1:])
head = struct.pack("=8s8I", b"libudev", socket.htonl(0xFEEDCAFE), 40, 40, len(properties), 0, 0, 0, 0)
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15) as netlink:  # NETLINK_KOBJECT_UEVENT
    netlink.bind((0, 0))
    netlink.sendto(head + properties, (0, 2))  # to the group of those who listen to udevd
"""
PYTHON = shutil.which("python3", path="/usr/bin:/bin") or "python3"
"""One that libvirtd's user can run: that of a virtual environment may lie where it cannot go."""
LOOPBACK = ("DEVPATH=/devices/virtual/net/lo", "SUBSYSTEM=net", "INTERFACE=lo", "IFINDEX=1", "SEQNUM=1")
"""The one device that every network namespace has."""


def say(process: int, action: str) -> None:
    """Say `add`, `change` or `remove` of the loopback device in a process's namespaces."""
    entering = enter(process, "--net")
    if has_users() and os.geteuid() == 0:  # the daemon's user made the namespaces: become root in them
        entering.remove("--preserve-credentials")
    command = [*entering, PYTHON, "-c", SAY, f"ACTION={action}", *LOOPBACK]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
