"""The libvirtd behind our connections, where it is a process of this machine: what it costs is seen from here.

Who listens at the other end of a unix socket is known to the kernel: libvirt itself does not tell.  Nothing of this
needs a right: the CPU clock of a process may be read by anyone who sees it.
"""

import contextlib
import ctypes
import os
import re
import socket
import stat
import struct
import time
from collections.abc import Iterator
from pathlib import Path

_SOCKET = re.compile(r"(?P<name>libvirt|virt[a-z]+d)-sock(-ro)?")
_CREDENTIALS = struct.Struct("3i")
_PID_DIRECTORIES = ("..", ".")
"""Beside /run/libvirt for the system's daemon, in the folder itself for a user's."""


class DaemonClock:
    """The CPU time of the daemon; None while there is none that is seen from here (another machine, a container)."""

    def __init__(self) -> None:
        self._pid: int | None = None
        self._clock: int | None = None

    def find(self) -> None:
        """Look for the daemon anew: after a connection was made."""
        self._pid = next(_listeners(), None)
        self._clock = None if self._pid is None else _cpu_clock(self._pid)

    @property
    def pid(self) -> int | None:
        """The daemon's process, as of the last `find`."""
        return self._pid

    def read(self) -> float | None:
        """Return its seconds of CPU so far."""
        if self._clock is None:
            return None
        try:
            return time.clock_gettime(self._clock)
        except OSError:  # it has ended
            self._clock = None
            return None


def _cpu_clock(pid: int) -> int | None:
    """Return the clock of another process for time.clock_gettime: POSIX has a function for it, Python does not."""
    clock = ctypes.c_int()
    if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)):
        return None
    return clock.value


def _listeners() -> Iterator[int]:
    """Yield the processes that listen where this process's libvirt connections lead to."""
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(entry.stat().st_mode):
                with socket.socket(fileno=os.dup(int(entry.name))) as end:
                    yield from _daemon_behind(end)


def _daemon_behind(end: socket.socket) -> Iterator[int]:
    path = end.getpeername() if end.family == socket.AF_UNIX else ""
    if isinstance(path, str) and (matched := _SOCKET.fullmatch(Path(path).name)):  # an abstract one is bytes
        raw = end.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        yield from _is_daemon(_CREDENTIALS.unpack(raw)[0], Path(path), matched["name"])


def _is_daemon(pid: int, path: Path, name: str) -> Iterator[int]:
    """Yield the daemon: who made the socket, or, where that was systemd, whom the file with its pid names."""
    program = "libvirtd" if name == "libvirt" else name
    candidates = [pid]
    for directory in _PID_DIRECTORIES:
        with contextlib.suppress(OSError, ValueError):
            candidates.append(int((path.parent / directory / f"{program}.pid").read_text()))
    for candidate in candidates:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{candidate}/comm").read_text().strip() == program:
                yield candidate
