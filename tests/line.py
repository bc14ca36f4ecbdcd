"""A line to the broker that a test can freeze: it stays open, and nothing passes until it thaws."""

import asyncio
from types import TracebackType
from typing import Self

from yarl import URL


class Line:
    """Listens on a port of its own and passes everything on, both ways."""

    def __init__(self, broker_url: str) -> None:
        self._broker = URL(broker_url)
        self._passes = asyncio.Event()
        self._passes.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.transport.abort()

    @property
    def url(self) -> str:
        """The broker's URL by this line."""
        return str(self._broker.with_host("127.0.0.1").with_port(self._server.sockets[0].getsockname()[1]))

    def freeze(self) -> None:
        """Let nothing pass from now on."""
        self._passes.clear()

    def thaw(self) -> None:
        """Let pass what has waited and what comes."""
        self._passes.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(self._broker.host, self._broker.port)
        self._writers += [writer, far_writer]
        for source, target in ((reader, far_writer), (far_reader, writer)):
            task = asyncio.create_task(self._pass_on(source, target))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65_536):
                await self._passes.wait()
                target.write(data)
        except OSError:
            pass
        finally:
            target.close()
