"""The hot path: AMQP 0-9-1 frames made by hand, all that one turn of the loop sends in one write.

Connecting and topology stay with aio-pika and aiormq.  This module stands on parts of aiormq that are not promised
to stay (`Connection.write_queue`, `ChannelFrame`, `Channel._on_confirm_frame`, `_on_deliver_frame`, `_get_frame`,
`_read_content`), is the only one that does, and is tested against a real broker for each.  What it saves is in
`bench/`: a reply costs 8 us instead of 70, a confirmed event 10 instead of 90.
"""

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from aiormq.abc import AbstractChannel, ChannelFrame, DeliveredMessage
from pamqp import commands

_METHOD, _HEADER, _BODY = 1, 2, 3
_FRAME_END = b"\xce"
_BASIC, _PUBLISH, _ACK = 60, 40, 80
_MULTIPLE = 1
_FRAME_HEAD = struct.Struct(">BHI")
_PUBLISH_HEAD, _PUBLISH_ROOM = struct.Struct(">BHIHHH"), 7
"""Frame and method of basic.publish, and how many bytes of the method are no name."""
_CONTENT_HEAD, _CONTENT_ROOM = struct.Struct(">BHIHHQ"), 12
"""The same of a content header, before its properties."""
_FRAME_OVERHEAD = 8
_ACK_SECONDS = 0.005
"""How long an acknowledgement waits for a message to travel with."""

_LOOK_SECONDS = 0.005
"""How often a flush looks whether the socket takes anything again."""

# Bits of the property flags, and their order on the wire (AMQP 0-9-1, section 1.8.1).
_CONTENT_TYPE, _DELIVERY_MODE, _CORRELATION_ID, _REPLY_TO = 1 << 15, 1 << 12, 1 << 10, 1 << 9
_EXPIRATION, _MESSAGE_ID, _TYPE, _USER_ID = 1 << 8, 1 << 7, 1 << 5, 1 << 4


@dataclass(frozen=True)
class Properties:
    """The properties of a message that this protocol uses.  `expiration` is as the broker reads it."""

    content_type: str
    persistent: bool = False
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    message_id: str | None = None
    type: str | None = None
    user_id: str | None = None

    @cached_property
    def encoded(self) -> bytes:
        """Property flags and list as they stand in a content header; the same for all messages of a kind."""
        flags = _CONTENT_TYPE | _DELIVERY_MODE
        parts = [_short(self.content_type), b"\2" if self.persistent else b"\1"]
        for bit, value in (
            (_CORRELATION_ID, self.correlation_id),
            (_REPLY_TO, self.reply_to),
            (_EXPIRATION, self.expiration),
            (_MESSAGE_ID, self.message_id),
            (_TYPE, self.type),
            (_USER_ID, self.user_id),
        ):
            if value is not None:
                flags |= bit
                parts.append(_short(value))
        return struct.pack(">H", flags) + b"".join(parts)


def _short(text: str) -> bytes:
    """Encode a short string.  Raises ValueError over 255 bytes, which no frame can hold."""
    raw = text.encode(errors="surrogateescape")  # as decoding.py keeps what is not UTF-8
    if len(raw) > 255:  # noqa: PLR2004 (the length is one octet)
        raise ValueError(f"{text[:40]!r}... is over 255 bytes")
    return bytes((len(raw),)) + raw


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return _FRAME_HEAD.pack(kind, channel, len(payload)) + payload + _FRAME_END


def publish_frames(  # noqa: PLR0913 (one parameter per field of the method)
    channel: int,
    frame_max: int,
    exchange: str,
    key: str,
    body: bytes,
    properties: Properties,
) -> bytes:
    """Return basic.publish, its content header and its body, split so that no frame is over `frame_max` bytes."""
    names = _short(exchange) + _short(key)
    method = _PUBLISH_HEAD.pack(_METHOD, channel, _PUBLISH_ROOM + len(names), _BASIC, _PUBLISH, 0)
    listed = properties.encoded
    header = _CONTENT_HEAD.pack(_HEADER, channel, _CONTENT_ROOM + len(listed), _BASIC, 0, len(body))
    parts = [method, names, b"\0", _FRAME_END, header, listed, _FRAME_END]
    room = frame_max - _FRAME_OVERHEAD
    for at in range(0, len(body), room):
        piece = body if len(body) <= room else body[at : at + room]
        parts += (_FRAME_HEAD.pack(_BODY, channel, len(piece)), piece, _FRAME_END)
    return b"".join(parts)


def ack_frame(channel: int, delivery_tag: int) -> bytes:
    """Return basic.ack of all deliveries up to one."""
    return _frame(_METHOD, channel, struct.pack(">HHQB", _BASIC, _ACK, delivery_tag, _MULTIPLE))


def deliver_directly(channel: AbstractChannel, receive: Callable[[DeliveredMessage], None]) -> None:
    """Hand every delivery of a channel to `receive`, which must not raise; aiormq would make a task for each."""
    inside: Any = channel

    async def on_deliver(frame: commands.Basic.Deliver) -> None:
        header = await inside._get_frame()  # noqa: SLF001 (see the module)
        receive(await inside._read_content(frame, header))  # noqa: SLF001

    inside._on_deliver_frame = on_deliver  # noqa: SLF001


class Outlet:
    """What one channel sends, joined: `send` never waits, a task writes what has gathered since its last write.

    aiormq's own queue to the socket holds ten entries; a put_nowait for each frame loses what does not fit.  Here one
    entry carries everything that gathered, and the task waits for room and for the socket.
    """

    def __init__(self, channel: AbstractChannel) -> None:
        self.number = channel.number
        self.frame_max: int = channel.connection.connection_tune.frame_max or 131_072
        self._queue: asyncio.Queue[ChannelFrame] = channel.connection.write_queue
        self._gathered: list[bytes] = []
        self.waiting_bytes = 0
        """How much has gathered: much of it means that the socket does not drain."""
        self._acked = 0
        self._ack_timer: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._write(), name=f"outlet-{self.number}")

    def publish(self, exchange: str, key: str, body: bytes, properties: Properties) -> None:
        """Send a message, not mandatory, without a confirm.  Raises ValueError when a name is over 255 bytes."""
        self._send(publish_frames(self.number, self.frame_max, exchange, key, body, properties))

    def ack(self, delivery_tag: int) -> None:
        """Acknowledge this delivery and all before it, with the next message that is sent or 5 ms later."""
        self._acked = delivery_tag
        if self._ack_timer is None:
            self._ack_timer = asyncio.get_running_loop().call_later(_ACK_SECONDS, self._ack_is_due)

    async def flush(self) -> None:
        """Wait until everything sent so far has been handed to the socket."""
        self._ack_is_due()
        while self._gathered:
            await asyncio.sleep(_LOOK_SECONDS)
        drained = asyncio.get_running_loop().create_future()
        await self._queue.put(ChannelFrame(payload=b"", should_close=False, drain_future=drained))
        await drained

    def close(self) -> None:
        """Stop writing; what has gathered is dropped with the connection."""
        self._task.cancel()
        if self._ack_timer is not None:
            self._ack_timer.cancel()

    def _ack_is_due(self) -> None:
        self._ack_timer = None
        if self._acked:
            self._wake.set()

    def _send(self, frames: bytes) -> None:
        self._gathered.append(frames)
        self.waiting_bytes += len(frames)
        self._wake.set()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._acked:
                self._gathered.append(ack_frame(self.number, self._acked))
                self._acked = 0
            payload = b"".join(self._gathered)
            self._gathered.clear()
            self.waiting_bytes = 0
            drained = loop.create_future()
            await self._queue.put(ChannelFrame(payload=payload, should_close=False, drain_future=drained))
            await drained


Confirmed = Callable[[bool], None]
"""Called once per message: True when the broker took it, False when a queue behind the exchange refused it."""


class ConfirmedOutlet(Outlet):
    """An outlet on a channel in confirm mode: order is kept, and no message waits for another one's confirm."""

    def __init__(self, channel: AbstractChannel) -> None:
        super().__init__(channel)
        self._tag = 0
        self._waiting: deque[tuple[int, Confirmed]] = deque()
        self._early: dict[int, bool] = {}
        channel._on_confirm_frame = self._on_confirm  # type: ignore[attr-defined]  # noqa: SLF001 (see the module)

    @property
    def unconfirmed(self) -> int:
        """How many messages the broker has not confirmed yet."""
        return len(self._waiting)

    def publish_confirmed(self, exchange: str, key: str, body: bytes, properties: Properties, done: Confirmed) -> None:
        """Send a message; `done` is called in the order of sending, unless the connection is lost first."""
        self._tag += 1
        self._waiting.append((self._tag, done))
        self.publish(exchange, key, body, properties)

    async def _on_confirm(self, frame: commands.Basic.Ack | commands.Basic.Nack) -> None:
        """Note one confirm, or one for all up to a tag, and report what is now known in the order of sending."""
        tag, taken = frame.delivery_tag or 0, isinstance(frame, commands.Basic.Ack)
        if not frame.multiple:
            self._early[tag] = taken
        while self._waiting:
            first, done = self._waiting[0]
            if frame.multiple and first <= tag:
                known: bool | None = self._early.pop(first, taken)
            else:
                known = self._early.pop(first, None)
            if known is None:
                return
            self._waiting.popleft()
            done(known)
