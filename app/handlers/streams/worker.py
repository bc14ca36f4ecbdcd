"""One open stream of libvirt, in a process of its own: a connection, and a thread for each direction.

A process, because libvirt's client takes everything the daemon sends off the socket as soon as an event loop runs in
the process, and keeps it: a slow reader of a 512 MiB volume made the process grow by 512 MiB.  Without an event loop
nothing is read until `recv` asks for it, and the daemon waits.  A worker that hangs in libvirt can be killed.  Only
where the driver lives in the agent's own process (the test driver) is the worker a thread of it.
"""

import contextlib
import os
import queue
import socket
import threading
from typing import Any, NamedTuple

import libvirt
import orjson

from app.handlers.calling import BINDING_ERRORS, translate
from app.handlers.results import Encoder
from app.handlers.rooms import FINDERS, STREAMS
from app.handlers.streams.frames import NUMBER, Frames, Kind
from app.hypervisor import Connection
from libvirt_amqp.catalogue import load
from libvirt_amqp.errors import InvalidParams

CHUNK = 256 * 1024
"""Bytes: what libvirt carries in one message of a stream."""


class Opening(NamedTuple):
    """Everything that a worker has to know to open its stream."""

    uri: str | None
    host: str
    function: str
    cls: str
    words: tuple[str, ...]
    arguments: dict[str, Any]
    reads: bool
    is_sparse: bool


class Credit:
    """How many bytes may be read ahead of the caller."""

    def __init__(self) -> None:
        self._bytes = 0
        self._changed = threading.Condition()

    def add(self, count: int) -> None:
        """Allow more; it may be less than was taken."""
        with self._changed:
            self._bytes += count
            self._changed.notify()

    def take(self, most: int) -> int:
        """Wait for some, and return how much was taken."""
        with self._changed:
            self._changed.wait_for(lambda: self._bytes > 0)
            taken = min(self._bytes, most)
            self._bytes -= taken
            return taken


class Worker:
    """Serves one stream until it is finished or aborted, or the agent is gone."""

    def __init__(self, frames: Frames, opening: Opening) -> None:
        self._frames = frames
        self._opening = opening
        self._encoder = Encoder(load(), opening.host)
        self._connection = Connection(opening.uri, read_only=False)
        self._credit = Credit()
        self._sends: queue.SimpleQueue[tuple[int, bytes] | None] = queue.SimpleQueue()
        self._stream: Any = None
        self._closing = False

    def run(self) -> None:
        """Open the stream, then do what the agent says."""
        try:
            self._frames.write(Kind.OPENED, orjson.dumps(self._open()))
        except BaseException as error:  # noqa: BLE001 (whatever it is, the caller has to hear of it)
            self._fail(error)
            return
        if self._opening.reads:
            threading.Thread(target=self._receive, name="stream-receive", daemon=True).start()
        threading.Thread(target=self._send, name="stream-send", daemon=True).start()
        with contextlib.suppress(EOFError, OSError):
            while self._obey(*self._frames.read()):
                pass
        self._abort()

    def _open(self) -> Any:
        opening = self._opening
        connection = self._connection.open()
        receiver = FINDERS[opening.cls](connection, opening.words)
        self._stream = connection.newStream(0)
        try:
            return STREAMS[opening.function](receiver, self._stream, opening.arguments)
        except BINDING_ERRORS as error:
            raise InvalidParams(f"{opening.function}: {error}") from error

    def _obey(self, kind: int, payload: bytes) -> bool:
        """Do what a frame says; False: it was the last one."""
        if kind == Kind.CREDIT:
            self._credit.add(NUMBER.unpack(payload)[0])
        elif kind != Kind.ABORT:
            self._sends.put((kind, payload))
        return kind != Kind.ABORT

    def _abort(self) -> None:
        """Let go of the stream, if it is still there, and of the connection."""
        self._closing = True
        self._sends.put(None)
        with contextlib.suppress(libvirt.libvirtError):
            self._stream.abort()
        self._connection.close()

    def _receive(self) -> None:
        """In a thread: read ahead as far as there is credit, until the other side ends."""
        try:
            while self._read_once():
                pass
        except OSError:
            return  # the agent is gone
        except BaseException as error:  # noqa: BLE001 (whatever it is, the caller has to hear of it)
            if not self._closing:  # else it is the end that was asked for
                self._fail(error)

    def _read_once(self) -> bool:
        count = self._credit.take(CHUNK)
        flags = libvirt.VIR_STREAM_RECV_STOP_AT_HOLE if self._opening.is_sparse else 0
        got: Any = self._stream.recvFlags(count, flags) if flags else self._stream.recv(count)
        if isinstance(got, int):  # at a hole
            self._credit.add(count)
            self._frames.write(Kind.HOLE, NUMBER.pack(self._stream.recvHole()))
            return True
        self._credit.add(count - len(got))
        self._frames.write(Kind.DATA if got else Kind.END, got)
        return bool(got)

    def _send(self) -> None:
        """In a thread: hand over what the caller sends, as libvirt takes it."""
        try:
            while (item := self._sends.get()) is not None:
                self._send_one(*item)
        except OSError:
            return  # the agent is gone
        except BaseException as error:  # noqa: BLE001 (whatever it is, the caller has to hear of it)
            self._fail(error)

    def _send_one(self, kind: int, payload: bytes) -> None:
        if kind == Kind.FINISH:
            self._closing = True
            self._stream.finish()
            self._frames.write(Kind.FINISHED)
            return
        if kind == Kind.SEND_HOLE:
            self._stream.sendHole(NUMBER.unpack(payload)[0])
        while kind == Kind.SEND and payload:
            payload = payload[self._stream.send(payload) :]
        self._frames.write(Kind.SENT)

    def _fail(self, error: BaseException) -> None:
        with contextlib.suppress(OSError):
            self._frames.write(Kind.FAILED, orjson.dumps(translate(error, self._encoder).as_json()))


def serve(connection: socket.socket) -> None:
    """Serve one stream over a socket to the agent."""
    frames = Frames(connection)
    try:
        _, payload = frames.read()
        Worker(frames, _opening(orjson.loads(payload))).run()
    except EOFError:
        return  # the agent is gone
    finally:
        connection.close()


def _opening(body: dict[str, Any]) -> Opening:
    return Opening(**{**body, "words": tuple(body["words"])})


def main(descriptor: int) -> None:
    """Be a worker process: serve the stream behind an inherited socket, then end."""
    libvirt.registerErrorHandler(lambda _context, _error: None, None)  # else every error is printed on stderr
    serve(socket.socket(fileno=descriptor))
    os._exit(0)  # a thread may hang in libvirt
