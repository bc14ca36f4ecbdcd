#!/usr/bin/env python3
"""QEMU behind a proxy of its monitor, so that a test can say something there that QEMU would not.

Copied to a folder and named in a guest's <emulator>; needs the standard library only.  What is written into the pipe
`<folder>/<guest>.monitor` reaches libvirtd as if QEMU had said it.
"""

import os
import re
import shutil
import socket
import sys
import threading
from pathlib import Path

QEMU = "/usr/bin/qemu-system-x86_64"
MONITOR = re.compile(r"^(socket,id=charmonitor,fd=)(\d+)")
GUEST = re.compile(r"^guest=([^,]+)")


def install(folder: Path) -> Path:
    """Copy it to where libvirtd's user can run it."""
    program = Path(shutil.copy(__file__, folder / "emulator"))
    program.chmod(0o755)
    return program


def pipe(folder: Path, guest: str) -> Path:
    """Return the pipe of a guest's monitor, made if it is not there."""
    path = folder / f"{guest}.monitor"
    if not path.exists():
        os.mkfifo(path)
        path.chmod(0o666)
    return path


def run(arguments: list[str]) -> None:
    """Become QEMU; a child stands between its monitor and libvirtd."""
    place = next((i for i, argument in enumerate(arguments) if MONITOR.match(argument)), None)
    if place is None:  # libvirtd asks QEMU what it can do
        os.execv(QEMU, [QEMU, *arguments])
    guest = next(found[1] for argument in arguments if (found := GUEST.match(argument)))
    ours = socket.socket(fileno=int(MONITOR.match(arguments[place])[2]))  # type: ignore[index]
    theirs = socket.socket(socket.AF_UNIX)
    theirs.bind("")  # a name that the kernel chooses, and that is no file
    theirs.listen(1)
    arguments[place] = MONITOR.sub(rf"\g<1>{theirs.fileno()}", arguments[place])
    if os.fork() == 0:
        _stand_between(ours, theirs.getsockname(), pipe(Path(__file__).parent, guest))
    os.set_inheritable(theirs.fileno(), True)  # noqa: FBT003 (Python's own)
    ours.detach()
    os.execv(QEMU, [QEMU, *arguments])


def _stand_between(listener: socket.socket, qemu_name: bytes, injected: Path) -> None:
    libvirtd, _ = listener.accept()
    qemu = socket.socket(socket.AF_UNIX)
    qemu.connect(qemu_name)
    for source, target in ((libvirtd, qemu), (qemu, libvirtd)):
        threading.Thread(target=_pump, args=(source, target), daemon=True).start()
    while True:
        libvirtd.sendall(injected.read_bytes())


def _pump(source: socket.socket, target: socket.socket) -> None:
    while data := source.recv(65536):
        target.sendall(data)
    os._exit(0)


if __name__ == "__main__":
    run(sys.argv[1:])
