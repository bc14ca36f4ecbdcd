"""A message as it came from a queue, in our words."""

from dataclasses import dataclass
from urllib.parse import unquote

from aiormq.abc import DeliveredMessage


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message as it came: `reply_to` is an address that this broker takes back as a queue's name."""

    exchange: str
    key: str
    body: bytes
    tag: int
    redelivered: bool
    reply_to: str | None
    correlation_id: str | None
    stream_offset: int | None = None
    """Where it stands in a stream queue."""


def delivery_of(message: DeliveredMessage) -> Delivery:
    """Translate what aiormq read."""
    method, properties = message.delivery, message.header.properties
    offset = (properties.headers or {}).get("x-stream-offset")
    return Delivery(
        exchange=getattr(method, "exchange", None) or "",
        key=getattr(method, "routing_key", None) or "",
        body=message.body,
        tag=getattr(method, "delivery_tag", None) or 0,
        redelivered=bool(getattr(method, "redelivered", False)),
        reply_to=_queue_at(properties.reply_to),
        correlation_id=properties.correlation_id,
        stream_offset=offset if isinstance(offset, int) else None,
    )


def _queue_at(reply_to: str | None) -> str | None:
    """Return the queue's name: of an AMQP 1.0 sender's `reply_to` we get the address.

    RabbitMQ 3 has made the name of it; RabbitMQ 4 passes both kinds of its addresses on, the second percent-encoded.
    """
    for prefix in ("direct:////", "/queue/", "/amq/queue/"):
        if reply_to and reply_to.startswith(prefix):
            return reply_to.removeprefix(prefix)
    if reply_to and reply_to.startswith("/queues/"):
        return unquote(reply_to.removeprefix("/queues/"))
    return reply_to
