"""A 0-9-1 subscriber that keeps messages as they came: bytes of the body, and the properties."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiormq.abc import DeliveredMessage

from libvirt_amqp.broker import Channel, open_link
from libvirt_amqp.keys import EVENTS, RPC, STATS
from libvirt_amqp.wire import deliver_directly


class Raw(NamedTuple):
    exchange: str
    key: str
    content_type: str | None
    delivery_mode: int | None
    correlation_id: str | None
    body: bytes


class RawHeard(list[Raw]):
    """What came, and the queue and channel that it came by."""

    queue: str
    channel: Channel

    def bodies(self, exchange: str) -> list[bytes]:
        return [message.body for message in self if message.exchange == exchange]


@asynccontextmanager
async def hearing_raw(url: str, key: str) -> AsyncIterator[RawHeard]:
    """Listen to events and statistics under a key, and to what is sent to the queue itself; it listens from here on."""
    heard = RawHeard()
    link = await open_link(url, "test: messages as they are")
    try:
        heard.channel = channel = await link.channel()
        heard.queue = await channel.declare_queue()
        for exchange in (EVENTS, STATS, RPC):
            await channel.declare_exchange(exchange)
        for exchange in (EVENTS, STATS):
            await channel.bind(heard.queue, exchange, key)
        await channel.consume(heard.queue, lambda _: None, no_ack=True)
        deliver_directly(channel._underlay, lambda message: heard.append(_raw(message)))
        yield heard
    finally:
        await link.close()


def _raw(message: DeliveredMessage) -> Raw:
    method, properties = message.delivery, message.header.properties
    return Raw(
        exchange=getattr(method, "exchange", None) or "",
        key=getattr(method, "routing_key", None) or "",
        content_type=properties.content_type,
        delivery_mode=properties.delivery_mode,
        correlation_id=properties.correlation_id,
        body=message.body,
    )
