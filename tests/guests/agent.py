"""A guest's agent without a guest: what libvirt asks over the channel is answered as qemu-guest-agent would."""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

INTERFACE = {
    "name": "eth0",
    "hardware-address": "52:54:00:00:00:aa",
    "ip-addresses": [{"ip-address": "192.0.2.7", "ip-address-type": "ipv4", "prefix": 24}],
}
FILE_SYSTEM = {
    "name": "vda1",
    "mountpoint": "/",
    "type": "ext4",
    "used-bytes": 10,
    "total-bytes": 100,
    "disk": [
        {
            "pci-controller": {"domain": 0, "bus": 0, "slot": 4, "function": 0},
            "bus-type": "virtio",
            "bus": 0,
            "unit": 0,
            "target": 0,
            "dev": "/dev/vda1",
        }
    ],
}
ANSWERS: dict[str, Any] = {
    "guest-ping": {},
    "guest-get-time": 1_700_000_000_123_456_789,
    "guest-set-time": {},
    "guest-get-host-name": {"host-name": "a-guest"},
    "guest-get-users": [{"user": "root", "login-time": 1_700_000_000.5}],
    "guest-get-osinfo": {"id": "debian", "name": "Debian", "version": "12"},
    "guest-get-timezone": {"offset": 3600, "zone": "CET"},
    "guest-get-disks": [{"name": "/dev/vda", "partition": False, "dependencies": []}],
    "guest-get-fsinfo": [FILE_SYSTEM],
    "guest-fsfreeze-freeze": 1,
    "guest-fsfreeze-freeze-list": 1,
    "guest-fsfreeze-thaw": 1,
    "guest-fsfreeze-status": "thawed",
    "guest-fstrim": {"paths": []},
    "guest-set-user-password": {},
    "guest-ssh-get-authorized-keys": {"keys": ["ssh-rsa AAA"]},
    "guest-ssh-add-authorized-keys": {},
    "guest-network-get-interfaces": [INTERFACE],
    "guest-get-vcpus": [
        {"online": True, "can-offline": False, "logical-id": 0},
        {"online": True, "can-offline": True, "logical-id": 1},
    ],
    "guest-set-vcpus": 1,
    "guest-suspend-ram": {},
}
"""`return` by `execute`."""


@asynccontextmanager
async def listening(path: Path) -> AsyncIterator[None]:
    """Answer whoever connects to a socket: libvirt, and QEMU, which says nothing."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    os.chmod(path, 0o777)  # noqa: PTH101 (of libvirtd's user too)
    async with await asyncio.start_unix_server(_serve, sock=listener):
        yield


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        request = line.replace(b"\xff", b"").strip()  # 0xff: forget what came before
        if request:
            writer.write(_answer(json.loads(request)))
    writer.close()


def _answer(request: dict[str, Any]) -> bytes:
    command, arguments = request["execute"], request.get("arguments", {})
    if command in {"guest-sync", "guest-sync-delimited"}:
        begin = b"\xff" if command.endswith("delimited") else b""
        return begin + _line({"return": arguments["id"]})
    if command not in ANSWERS:
        return _line({"error": {"class": "CommandNotFound", "desc": f"{command} has not been found"}})
    return _line({"return": ANSWERS[command]})


def _line(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer).encode() + b"\n"
