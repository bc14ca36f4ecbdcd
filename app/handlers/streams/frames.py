"""What the agent and a stream's worker say to each other over a socket: one byte of kind, four of length, the rest."""

import asyncio
import socket
import struct
import threading
from enum import IntEnum

HEADER = struct.Struct(">BI")
NUMBER = struct.Struct(">Q")


class Kind(IntEnum):
    """The first five are for the worker, the others come from it."""

    CREDIT = 1
    """A number: so many bytes more may be read ahead."""
    SEND = 2
    SEND_HOLE = 3
    """A number: the length of the hole in bytes."""
    FINISH = 4
    ABORT = 5
    OPENED = 10
    """JSON: what the opening function returned."""
    DATA = 11
    HOLE = 12
    """A number: the length of the hole in bytes."""
    END = 13
    """The other side has sent everything."""
    SENT = 14
    """libvirt took what a SEND or SEND_HOLE brought, in their order."""
    FINISHED = 15
    FAILED = 16
    """JSON: the error of the contract; the stream is gone."""


class Frames:
    """The worker's end: blocking, read by one thread, written by several."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._file = connection.makefile("rb")
        self._lock = threading.Lock()

    def read(self) -> tuple[int, bytes]:
        """Return the next frame.  Raises EOFError when the agent is gone."""
        kind, length = HEADER.unpack(self._exactly(HEADER.size))
        return kind, self._exactly(length)

    def write(self, kind: Kind, payload: bytes = b"") -> None:
        """Send a frame.  Raises OSError when the agent is gone."""
        with self._lock:
            self._socket.sendall(HEADER.pack(kind, len(payload)) + payload)

    def _exactly(self, length: int) -> bytes:
        data = self._file.read(length)
        if len(data) < length:
            raise EOFError
        return data


async def read_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return the worker's next frame.  Raises IncompleteReadError when it is gone."""
    kind, length = HEADER.unpack(await reader.readexactly(HEADER.size))
    return kind, await reader.readexactly(length)


def frame(kind: Kind, payload: bytes = b"") -> bytes:
    """Return a frame for the worker."""
    return HEADER.pack(kind, len(payload)) + payload
