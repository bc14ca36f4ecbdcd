"""Streams: the functions that open one (console, channel, screenshot, volumes), and virStream* on the object it is of.

`session` is a stream as the agent sees it, `worker` the process that holds libvirt's end, `frames` what they say to
each other.
"""

import asyncio
import contextlib
import secrets
import socket
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import orjson
import structlog

from app.handlers.requests import too_late
from app.handlers.streams.frames import HEADER
from app.handlers.streams.session import Answer, Session
from app.handlers.streams.worker import Opening, serve
from app.hypervisor import Hypervisor
from libvirt_amqp.catalogue import Function
from libvirt_amqp.errors import Aborted, Busy, CallError, InternalError, InvalidParams

log = structlog.get_logger()

MOST_STREAMS = 16
"""Open ones of a host: each has a process of 35 MiB."""
IDLE_SECONDS = 60.0
"""A stream is aborted when its caller says nothing for so long."""
STUCK_SECONDS = 600.0
"""The same while libvirt does not take what the caller has sent."""
ENDED_KEPT = 1000
KILL_SECONDS = 5.0

_WRITE_ONLY, _READ_ONLY = {"virStorageVolUpload"}, {"virStorageVolDownload", "virDomainScreenshot"}
_SPARSE = 1
"""VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM."""


Receiver = tuple[str, tuple[str, ...]]
"""Class and words of the object that a stream belongs to."""


class Stream:
    """An open stream and what the log line at its end will say."""

    def __init__(self, function: str, receiver: Receiver) -> None:
        self.function = function
        self.receiver = receiver
        self.began = time.monotonic()
        self.session: Session | None = None
        """None until there is a worker."""
        self.refused: CallError | None = None
        """Why it must not begin, where that was known before there was a worker."""
        self.gone: list[Answer] = []
        """Who waits until libvirt has let go of it."""

    def refuse(self, error: CallError) -> None:
        """End it, whether or not there is a worker yet."""
        self.refused = error
        if self.session is not None:
            self.session.abort(error)


class Streams:
    """All open streams of a host, by the token that the opening call returned."""

    def __init__(self, hypervisor: Hypervisor, host: str) -> None:
        self._hypervisor = hypervisor
        self._host = host
        self._streams: dict[str, Stream] = {}
        self._ended: OrderedDict[str, tuple[Receiver, CallError | None]] = OrderedDict()
        """Why the last ones ended (None: finished), for callers that have not heard yet."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweeper = asyncio.get_running_loop().call_later(1, self._sweep)

    def open(
        self, function: Function, receiver: Receiver, arguments: dict[str, Any], deadline: float, answer: Answer
    ) -> Callable[[CallError], None]:
        """Open a stream; answered with its token when libvirt has opened it.  Raises Busy.

        `deadline` is in seconds of time.monotonic(); what is returned ends a stream that has not been opened yet.
        """
        if len(self._streams) >= MOST_STREAMS:
            raise Busy(f"{MOST_STREAMS} streams are open already")
        token = secrets.token_hex(16)
        stream = self._streams[token] = Stream(function.name, receiver)
        self._keep(self._open(token, stream, function, arguments, deadline, answer))
        return stream.refuse

    def operate(self, function: Function, receiver: Receiver, arguments: dict[str, Any], answer: Answer) -> None:
        """Carry out one of the virStream* functions.  Raises InvalidParams, or what the stream has ended with."""
        name = function.name
        if name == "virStreamFinish" and self._ended.get(arguments["stream"]) == (receiver, None):
            answer(0)  # a repeat: the first answer may have been lost
            return
        stream, session = self._find(arguments["stream"], receiver)
        if "Recv" in name and stream.function in _WRITE_ONLY:
            raise InvalidParams(f"a stream of {stream.function} cannot be read")
        if "Send" in name and stream.function in _READ_ONLY:
            raise InvalidParams(f"a stream of {stream.function} cannot be written")
        session.last_heard = time.monotonic()
        if name == "virStreamAbort":
            stream.gone.append(answer)
            session.abort(Aborted("the stream was aborted by its caller"))
        else:
            _OPERATIONS[name](session, arguments, answer)

    def abort_all(self, error: CallError) -> None:
        """End every stream."""
        for stream in list(self._streams.values()):
            stream.refuse(error)

    async def close(self, error: CallError) -> None:
        """End every stream and wait until the workers are gone."""
        self._sweeper.cancel()
        self.abort_all(error)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=KILL_SECONDS + 1)

    def _sessions(self) -> list[Session]:
        return [stream.session for stream in self._streams.values() if stream.session is not None]

    def _find(self, token: str, receiver: Receiver) -> tuple[Stream, Session]:
        stream = self._streams.get(token)
        if stream is not None and stream.session is not None and stream.receiver == receiver:
            return stream, stream.session
        whose, error = self._ended.get(token, (None, None))
        if whose == receiver:
            raise error or InvalidParams("stream: it has been finished")
        raise InvalidParams("stream: no such stream of this object is open")

    def _keep(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(  # noqa: PLR0913 (all that belongs to a new stream)
        self,
        token: str,
        stream: Stream,
        function: Function,
        arguments: dict[str, Any],
        deadline: float,
        answer: Answer,
    ) -> None:
        cls, words = stream.receiver
        is_sparse = function.name == "virStorageVolDownload" and bool(arguments.get("flags", 0) & _SPARSE)
        reads = function.name not in _WRITE_ONLY
        opening = Opening(self._hypervisor.uri, self._host, function.name, cls, words, arguments, reads, is_sparse)
        over = asyncio.Event()

        def ended(error: CallError | None) -> None:
            self._forget(token, error)
            over.set()

        process: asyncio.subprocess.Process | None = None
        try:
            ours, process = await self._start_worker()
            reader, writer = await asyncio.open_connection(sock=ours, limit=4 * 1024 * 1024)
            payload = orjson.dumps(opening._asdict())
            writer.write(HEADER.pack(0, len(payload)) + payload)
            session = stream.session = Session(reader, writer, ended)
            if stream.refused is not None:
                session.abort(stream.refused)
            late = asyncio.get_running_loop().call_later(deadline - time.monotonic(), session.abort, too_late())
            value = await session.opened
            late.cancel()
            answer(token if len(function.outputs) == 1 else {"return": value, "stream": token})
            await over.wait()
        except CallError as error:
            answer(error)
        except Exception as error:
            if stream.session is None:
                self._forget(token, None)
            log.error("stream_broke", function=function.name, exc_info=error)
            answer(InternalError(f"no worker for the stream could be started: {error}"))
        finally:
            await _reap(process)
            for answer_gone in stream.gone:
                answer_gone(0)

    async def _start_worker(self) -> tuple[socket.socket, asyncio.subprocess.Process | None]:
        """Start a process, or a thread where the driver lives in ours; return the socket to it."""
        ours, its = socket.socketpair()
        if self._hypervisor.is_in_process:
            threading.Thread(target=serve, args=(its,), name="stream", daemon=True).start()
            return ours, None
        try:
            program = f"from app.handlers.streams.worker import main; main({its.fileno()})"
            return ours, await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-c", program),  # nothing is imported from where the agent was started
                pass_fds=[its.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # a terminal's Ctrl-C is for the agent
            )
        finally:
            its.close()

    def _forget(self, token: str, error: CallError | None) -> None:
        stream = self._streams.pop(token)
        self._ended[token] = stream.receiver, error
        if len(self._ended) > ENDED_KEPT:
            self._ended.popitem(last=False)
        session = stream.session
        log.info(
            "stream_ended",
            function=stream.function,
            object="/".join((stream.receiver[0], *stream.receiver[1])),
            bytes_read=session.received if session else 0,
            bytes_written=session.sent if session else 0,
            seconds=round(time.monotonic() - stream.began, 3),
            error=error.message if error else None,
        )

    def _sweep(self) -> None:
        """Abort what nobody uses any more, and answer who has waited long enough."""
        now = time.monotonic()
        for session in self._sessions():
            session.tick()
            limit = STUCK_SECONDS if session.is_at_work else IDLE_SECONDS
            if now - session.last_heard > limit:
                session.abort(Aborted(f"the caller of the stream was silent for {limit:g} s"))
        self._sweeper = asyncio.get_running_loop().call_later(1, self._sweep)


_OPERATIONS: dict[str, Any] = {
    "virStreamRecv": lambda s, a, answer: s.recv(a["nbytes"], stops_at_hole=False, answer=answer),
    "virStreamRecvFlags": lambda s, a, answer: s.recv(
        a["nbytes"], stops_at_hole=bool(a.get("flags", 0) & 1), answer=answer
    ),
    "virStreamRecvHole": lambda s, _, answer: s.recv_hole(answer),
    "virStreamSend": lambda s, a, answer: s.send(a["offset"], a["data"], answer),
    "virStreamSendHole": lambda s, a, answer: s.send_hole(a["offset"], a["length"], answer),
    "virStreamFinish": lambda s, _, answer: s.finish(answer),
}


async def _reap(process: asyncio.subprocess.Process | None) -> None:
    """Wait until a worker has ended, and kill one that hangs."""
    if process is None:
        return
    try:
        async with asyncio.timeout(KILL_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
