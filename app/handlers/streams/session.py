"""One open stream as the agent sees it: what the worker has read ahead, and the caller's requests in their order.

The caller asks for every piece (virStreamRecv) and is told of every piece that libvirt took (virStreamSend), so nothing
is ever sent to a caller that does not read, and nothing taken from one faster than libvirt takes it.
"""

import asyncio
import base64
import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import orjson

from app.handlers.streams.frames import NUMBER, Kind, frame, read_frame
from libvirt_amqp.errors import Busy, CallError, InvalidParams, LibvirtLost, from_json

WINDOW = 1024 * 1024
"""Bytes that a worker reads ahead of the caller."""
MOST_WAITING = 16
"""Requests of one stream, in one direction."""
LARGEST_SEND = 1024 * 1024
RECV_SECONDS = 10.0
"""After that a virStreamRecv is answered -2: nothing came, ask again."""
GATHER_BYTES, GATHER_SECONDS = 4096, 0.005
"""A console brings single bytes; what comes within 5 ms travels together."""
WOULD_BLOCK, AT_HOLE = -2, -3
"""What virStreamRecv returns in C."""

Answer = Callable[[Any], None]
"""Takes the result of a request, or the CallError it failed with."""


class Waiting(NamedTuple):
    """A request to read that has not been answered.  `most` is None for virStreamRecvHole."""

    most: int | None
    stops_at_hole: bool
    until: float
    answer: Answer


class Session:
    """`ended` is called once, with the error or None, when the stream is over."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ended: Callable[[CallError | None], None]
    ) -> None:
        self._reader, self._writer = reader, writer
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._chunks: deque[bytes | int] = deque()
        """What was read ahead: bytes, and lengths of holes."""
        self._waiting: deque[Waiting] = deque()
        self._sends: deque[Answer] = deque()
        self._finish: list[Answer] = []
        self._at_end = False
        self._failure: CallError | None = None
        """Told when everything that came before it has been read."""
        self._timer: asyncio.TimerHandle | None = None
        self.received = 0
        """The position of the next byte for the caller, holes counted."""
        self.sent = 0
        """The position that the next bytes from the caller have to have."""
        self.last_heard = time.monotonic()
        self.opened: asyncio.Future[Any] = self._loop.create_future()
        self._over = False
        self._task = asyncio.create_task(self._run(), name="stream")

    @property
    def is_at_work(self) -> bool:
        """Whether libvirt has something of the caller's that it has not taken yet."""
        return bool(self._sends or self._finish) or not self.opened.done()

    def recv(self, most: int, *, stops_at_hole: bool, answer: Answer) -> None:
        """Answer with the next bytes, at most so many, as soon as there are any."""
        if most == 0:
            raise InvalidParams("nbytes: at least 1 is needed")
        self._wait(Waiting(min(most, WINDOW), stops_at_hole, time.monotonic() + RECV_SECONDS, answer))

    def recv_hole(self, answer: Answer) -> None:
        """Answer with the length of the hole that the stream is at."""
        self._wait(Waiting(None, True, time.monotonic() + RECV_SECONDS, answer))  # noqa: FBT003

    def send(self, offset: int, data: bytes, answer: Answer) -> None:
        """Hand bytes to libvirt; answered when it has taken them."""
        if not 0 < len(data) <= LARGEST_SEND:
            raise InvalidParams(f"data: 1 to {LARGEST_SEND} bytes are taken at once, not {len(data)}")
        self._give(offset, len(data), frame(Kind.SEND, data), lambda: answer(len(data)), answer)

    def send_hole(self, offset: int, length: int, answer: Answer) -> None:
        """Leave a hole of so many bytes."""
        if length <= 0:
            raise InvalidParams("length: at least 1 is needed")
        self._give(offset, length, frame(Kind.SEND_HOLE, NUMBER.pack(length)), lambda: answer(0), answer)

    def finish(self, answer: Answer) -> None:
        """End the stream in good order, after everything that was sent."""
        self._check_alive()
        if not self._finish:
            self._write(frame(Kind.FINISH))
        self._finish.append(answer)

    def abort(self, error: CallError) -> None:
        """End the stream at once; every open request is answered with `error`."""
        if not self._over:
            self._write(frame(Kind.ABORT))
            self._end(error)

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(OSError, RuntimeError):  # the reading side hears of the end
            self._writer.write(data)

    def _wait(self, waiting: Waiting) -> None:
        if len(self._waiting) >= MOST_WAITING:
            raise Busy(f"{MOST_WAITING} requests to read this stream are waiting already")
        self._waiting.append(waiting)
        self._serve()

    def _give(self, offset: int, length: int, data: bytes, done: Callable[[], None], answer: Answer) -> None:
        self._check_alive()
        if self._at_end:
            raise InvalidParams("the other side of the stream has ended")
        if offset != self.sent:
            raise InvalidParams(f"offset: the stream is at {self.sent}, not at {offset}", {"offset": self.sent})
        if len(self._sends) >= MOST_WAITING:
            raise Busy(f"{MOST_WAITING} requests to write this stream are waiting already")
        self.sent += length
        self._sends.append(lambda error: done() if error is None else answer(error))
        self._write(data)

    async def _run(self) -> None:
        """Take what the worker says until it or the stream has ended."""
        try:
            while not self._over:
                self._hear(*await read_frame(self._reader))
        except (asyncio.IncompleteReadError, OSError):
            self._fail(LibvirtLost("the stream was lost: its worker or libvirt has gone"))

    def _hear(self, kind: int, payload: bytes) -> None:
        if self._over:
            return  # aborted, and this was on its way
        if kind == Kind.OPENED:
            self.opened.set_result(orjson.loads(payload))
            self._write(frame(Kind.CREDIT, NUMBER.pack(WINDOW)))
        elif kind == Kind.SENT:
            self._sends.popleft()(None)
        elif kind == Kind.FINISHED:
            self._end(None)
        elif kind == Kind.FAILED:
            self._fail(from_json(orjson.loads(payload)))
        else:
            self._take(kind, payload)

    def _take(self, kind: int, payload: bytes) -> None:
        """Keep what was read ahead, and answer whoever waits for it; a few bytes wait for their like."""
        if kind == Kind.END:
            self._at_end = True
        else:
            self._chunks.append(NUMBER.unpack(payload)[0] if kind == Kind.HOLE else payload)
        if kind != Kind.DATA or len(payload) >= GATHER_BYTES:
            self._serve()
        elif self._waiting and self._timer is None:
            self._timer = self._loop.call_later(GATHER_SECONDS, self._gathered)

    def _gathered(self) -> None:
        self._timer = None
        self._serve()

    def _serve(self) -> None:
        """Answer requests to read, in their order, as far as there is something for them."""
        while self._waiting and (self._chunks or self._at_end):
            waiting = self._waiting.popleft()
            try:
                waiting.answer(self._next(waiting))
            except CallError as error:
                waiting.answer(error)
        if self._failure is not None and not self._chunks:
            self._end(self._failure)

    def _fail(self, error: CallError) -> None:
        """The worker has gone: let the caller read what came before, and tell the rest at once."""
        if self._failure is not None or self._over:
            return
        self._failure = error
        self._answer_writers(error)
        self._serve()

    def _check_alive(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _answer_writers(self, error: CallError | None) -> None:
        """Answer whoever waits for libvirt to take something; None: the stream was finished."""
        for answer in self._sends:
            answer(error or InvalidParams("the stream has ended"))
        self._sends.clear()
        for answer in self._finish:
            answer(0 if error is None else error)
        self._finish.clear()

    def _next(self, waiting: Waiting) -> Any:
        first = self._chunks[0] if self._chunks else b""
        if waiting.most is None:
            return self._hole()
        if isinstance(first, int) and waiting.stops_at_hole:
            return self._piece(AT_HOLE, b"")
        data = self._zeros(first, waiting.most) if isinstance(first, int) else self._join(waiting.most)
        return self._piece(len(data), data)

    def _hole(self) -> int:
        """Take the hole that the stream is at."""
        if not self._chunks or isinstance(self._chunks[0], bytes):
            raise InvalidParams("the stream is not at a hole")
        length = self._chunks.popleft()
        self.received += int(length)
        return int(length)

    def _zeros(self, hole: int, most: int) -> bytes:
        """Take a part of a hole as what it stands for."""
        length = min(hole, most)
        if length == hole:
            self._chunks.popleft()
        else:
            self._chunks[0] = hole - length
        return bytes(length)

    def _join(self, most: int) -> bytes:
        """Take up to so many of the bytes that were read ahead, and let the worker read as many more."""
        parts: list[bytes] = []
        room = most
        while room and self._chunks and isinstance(chunk := self._chunks[0], bytes):
            parts.append(chunk[:room])
            if len(chunk) > room:
                self._chunks[0] = chunk[room:]
            else:
                self._chunks.popleft()
            room -= len(parts[-1])
        if most > room:
            self._write(frame(Kind.CREDIT, NUMBER.pack(most - room)))
        return b"".join(parts)

    def _piece(self, returned: int, data: bytes) -> dict[str, Any]:
        offset = self.received
        self.received += len(data)
        return {"return": returned, "offset": offset, "data": {"$base64": base64.b64encode(data).decode()}}

    def tick(self) -> None:
        """Tell every request to read that has waited long enough to ask again."""
        now = time.monotonic()
        while self._waiting and self._waiting[0].until <= now:
            waiting = self._waiting.popleft()
            would_block = InvalidParams("nothing came, and so no hole") if waiting.most is None else None
            waiting.answer(would_block or self._piece(WOULD_BLOCK, b""))

    def _end(self, error: CallError | None) -> None:
        """Answer everything that is open, and let go of the worker."""
        if self._over:
            return
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        end = error or InvalidParams("the stream has ended")
        if not self.opened.done():
            self.opened.set_exception(end)
        for waiting in self._waiting:
            waiting.answer(end)
        self._waiting.clear()
        self._answer_writers(error)
        self._writer.close()
        self._ended(error)
