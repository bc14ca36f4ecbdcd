"""libvirt's streams for a client: bytes up and down in order, as fast as the other side takes them.

    async with await open_stream(client, volume, "virStorageVolDownload", {"offset": 0, "length": 0}) as stream:
        async for piece in stream:
            file.write(piece)

Several requests are on their way at a time, so that the line's latency does not limit the rate.  Leaving the block
finishes the stream, or aborts it when it is left by an exception.
"""

import asyncio
import base64
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

from libvirt_amqp.client import Client
from libvirt_amqp.errors import CallError, LibvirtLost
from libvirt_amqp.keys import Address

AHEAD = 8
"""Requests on their way in one direction; the agent takes 16."""
PIECE = 256 * 1024
"""Bytes in one request: what libvirt carries in one message of a stream."""
ANSWER_SECONDS = 30.0
"""A request to read is answered within 10 s, data or not."""
WRITE_SECONDS = 660.0
"""libvirt may be slow to take what is written; the agent gives up after 600 s."""
LOOK_SECONDS = 5.0
"""How often the agent is asked whether it is still there, while an answer does not come."""
_WOULD_BLOCK, _AT_HOLE = -2, -3
_STOP_AT_HOLE = 1


class Hole(NamedTuple):
    """A part of a sparse volume without data, `length` in bytes."""

    length: int


class Stream:
    """An open stream.  `open_stream` makes one; reading and writing may go on at the same time."""

    def __init__(self, client: Client, address: Address, token: str, result: Any, instance: str) -> None:
        self._client = client
        self._address = address
        self._instance = instance
        self.token = token
        """What names the stream in its object's virStream* calls."""
        self.result = result
        """What the function that opened it returned: of virDomainScreenshot the MIME type and the token."""
        self._reads: deque[asyncio.Task[Any]] = deque()
        self._writes: deque[asyncio.Task[Any]] = deque()
        self.read_bytes = 0
        self.written_bytes = 0
        self._over = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the bytes that come until the other side ends; a hole comes as zeros."""
        async for piece in self._pieces(AHEAD, stop_at_hole=False):
            if isinstance(piece, bytes):
                yield piece

    def sparse(self) -> AsyncIterator[bytes | Hole]:
        """Yield bytes and holes of a volume that is downloaded with the SPARSE_STREAM flag."""
        return self._pieces(AHEAD, stop_at_hole=True)

    async def write(self, data: bytes) -> None:
        """Send bytes; returns while up to eight pieces are still on their way.  Raises what one before failed with."""
        view = memoryview(data)
        for at in range(0, len(view), PIECE):
            piece = bytes(view[at : at + PIECE])
            encoded = {"$base64": base64.b64encode(piece).decode()}
            await self._write("virStreamSend", len(piece), {"data": encoded})

    async def write_hole(self, length: int) -> None:
        """Leave a hole of so many bytes, in an upload with the SPARSE_STREAM flag."""
        await self._write("virStreamSendHole", length, {"length": length})

    async def flush(self) -> None:
        """Wait until libvirt has taken everything that was written."""
        while self._writes:
            await self._first(self._writes)

    async def finish(self) -> None:
        """End the stream in good order.  Raises what libvirt says of it."""
        await self.flush()
        self._over = True
        await self._drop(self._reads)
        await self._first(deque([asyncio.create_task(self._call("virStreamFinish", {}, WRITE_SECONDS))]))

    async def abort(self) -> None:
        """End the stream at once."""
        self._over = True
        await self._drop([*self._reads, *self._writes])
        await self._call("virStreamAbort", {}, ANSWER_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._over:
            return
        if kind is None:
            await self.finish()
            return
        try:
            await self.abort()
        except (CallError, ConnectionError):
            return  # it is gone already

    async def _pieces(self, ahead: int, *, stop_at_hole: bool) -> AsyncIterator[bytes | Hole]:
        try:
            while not self._over:
                while len(self._reads) < ahead:
                    self._reads.append(asyncio.create_task(self._read(stop_at_hole=stop_at_hole)))
                piece = await self._first(self._reads)
                if piece["return"] == 0:
                    return
                if piece["return"] == _AT_HOLE:
                    yield await self._pass_hole()
                elif piece["return"] != _WOULD_BLOCK:
                    yield self._data(piece)
        finally:
            await self._drop(self._reads)

    async def _pass_hole(self) -> Hole:
        while self._reads:  # what was asked for before the hole was seen stops at it too
            await self._first(self._reads)
        length = await self._call("virStreamRecvHole", {}, ANSWER_SECONDS)
        self.read_bytes += length
        return Hole(length)

    async def _first(self, tasks: deque[asyncio.Task[Any]]) -> Any:
        """Wait for the oldest request's answer.  Raises at once what a later one failed with, and when the agent ended.

        Requests are answered in their order: a later one ends first only if it reached nobody.
        """
        while not tasks[0].done():
            for task in tasks:
                if task.done() and not task.cancelled() and (error := task.exception()) is not None:
                    raise error
            waiting = [task for task in tasks if not task.done()]
            done, _ = await asyncio.wait(waiting, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                await self._check_agent()
        return await tasks.popleft()

    async def _check_agent(self) -> None:
        """Raise an error when the agent that holds the stream is there no more."""
        answer = await self._client.call(Address(self._address.host, "agent"), "ping", timeout=LOOK_SECONDS)
        if answer["instance"] != self._instance:
            raise LibvirtLost("the agent that held the stream has ended")

    async def _read(self, *, stop_at_hole: bool) -> Any:
        params: dict[str, Any] = {"nbytes": PIECE}
        if not stop_at_hole:
            return await self._call("virStreamRecv", params, ANSWER_SECONDS)
        return await self._call("virStreamRecvFlags", params | {"flags": _STOP_AT_HOLE}, ANSWER_SECONDS)

    def _data(self, piece: dict[str, Any]) -> bytes:
        if piece["offset"] != self.read_bytes:
            raise ConnectionError(
                f"the stream is at {piece['offset']}, {self.read_bytes} bytes have come: some were lost"
            )
        data = base64.b64decode(piece["data"]["$base64"])
        self.read_bytes += len(data)
        return data

    async def _write(self, method: str, length: int, params: dict[str, Any]) -> None:
        while len(self._writes) >= AHEAD:
            await self._first(self._writes)
        work = self._call(method, {"offset": self.written_bytes, **params}, WRITE_SECONDS)
        self.written_bytes += length
        self._writes.append(asyncio.create_task(work))
        await asyncio.sleep(0)  # so that the requests leave in this order

    async def _drop(self, tasks: Iterable[asyncio.Task[Any]]) -> None:
        """Wait no more for requests, whatever becomes of them."""
        dropped = list(tasks)
        for task in dropped:
            task.cancel()
        await asyncio.gather(*dropped, return_exceptions=True)
        if tasks is self._reads:
            self._reads.clear()

    async def _call(self, method: str, params: dict[str, Any], seconds: float) -> Any:
        return await self._client.call(self._address, method, {"stream": self.token, **params}, timeout=seconds)


async def open_stream(
    client: Client,
    address: Address,
    method: str,
    params: Mapping[str, Any] | None = None,
    timeout: float = 60.0,  # noqa: ASYNC109 (as in Client.call)
) -> Stream:
    """Open a stream by one of the functions that do so.  Raises as Client.call."""
    answer = await client.call(Address(address.host, "agent"), "ping", timeout=timeout)
    result = await client.call(address, method, params, timeout=timeout)
    token = result if isinstance(result, str) else result["stream"]
    return Stream(client, address, token, result, answer["instance"])
