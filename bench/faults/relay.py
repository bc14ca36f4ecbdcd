"""A way to the broker that can be cut: in the middle of what is sent, and over to another node."""

import asyncio
import contextlib
import socket
import struct
from types import TracebackType
from typing import Self

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: the connection ends with a reset, and what was not sent is thrown away."""


class Relay:
    """Listens on a port of its own and passes on to the first of `ports` that accepts."""

    def __init__(self, *ports: int) -> None:
        self._ports = ports
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._left: int | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()

    @property
    def is_cut(self) -> bool:
        """Whether what `cut_after` said has come to pass."""
        return self._left is None

    def cut_after(self, count: int) -> None:
        """Reset the connection when so many more bytes have gone to the broker; the rest of them never arrives."""
        self._left = count

    def cut(self) -> None:
        """Reset all connections, towards both sides."""
        self._left = None
        for writer in self._writers:
            if (connection := writer.get_extra_info("socket")) is not None:
                with contextlib.suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()
        self._writers.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for port in self._ports:
            with contextlib.suppress(OSError):
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
                break
        else:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        for source, target, is_out in ((reader, far_writer, True), (far_reader, writer, False)):
            task = asyncio.create_task(self._pass_on(source, target, is_out=is_out))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, is_out: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                if is_out and self._left is not None:
                    part, self._left = data[: self._left], self._left - len(data)
                    target.write(part)
                    if self._left <= 0:
                        await asyncio.sleep(0)  # the part is with the socket
                        self.cut()
                        return
                else:
                    target.write(data)
                await target.drain()
        target.close()
