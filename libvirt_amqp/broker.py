"""The one AMQP connection: opened by aio-pika, described to us once, dead when lost (open another).

A `Link` never heals by itself.  Whoever holds it waits for `lost`, opens the next one and declares again what it needs,
so that there is one place where "connected" begins and ends: events are sent again from the first unconfirmed one, and
nothing is restored behind anybody's back.  The brokers' differences live here, found out from what the broker says.
"""

import asyncio
import contextlib
import logging
import ssl
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.abc import AbstractChannel as UnderlayChannel
from aiormq.abc import DeliveredMessage
from aiormq.exceptions import AMQPError, ChannelLockedResource, ConnectionNotAllowed, DeliveryError
from pamqp.commands import Basic
from yarl import URL

from libvirt_amqp import exchanges, tls
from libvirt_amqp.decoding import be_tolerant
from libvirt_amqp.delivery import Delivery, delivery_of
from libvirt_amqp.refusals import reason
from libvirt_amqp.url import describe, parse_url
from libvirt_amqp.wire import ConfirmedOutlet, Outlet, Properties, deliver_directly

HEARTBEAT = 10
"""Seconds.  Short, so that a broker lets go of a connection whose line was cut within half a minute."""
CONNECT_TIMEOUT = 10

be_tolerant()

# What the libraries say about a lost connection is said once by whoever holds the link, in its own words.
for _name in ("aio_pika", "aiormq"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class BrokerUnavailable(ConnectionError):
    """The broker cannot be reached, refuses us, or was lost.  The message never carries a password."""


class QueueHeld(BrokerUnavailable):
    """The queue is exclusive to another connection."""


class Link:
    """An open connection.  `lost` is done, with the reason, as soon as it or one of its channels is gone."""

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._outlets: list[Outlet] = []
        connection.close_callbacks.add(self._on_closed)
        self.underlay = connection.transport.connection  # type: ignore[union-attr]
        properties = self.underlay.server_properties
        self.product = str(properties.get("product", "unknown"))
        self.version = str(properties.get("version", "unknown"))
        self.is_qpid = "qpid" in self.product.lower()  # Broker-J says "Apache Qpid Broker-J Core"
        # Broker-J sends no table of capabilities, and aiormq needs one before it opens a channel.
        properties.setdefault("capabilities", {"publisher_confirms": True, "basic.nack": True})

    def expiration(self, seconds: float) -> str | None:
        """Return a time to live as this broker reads `expiration`: Broker-J means a moment, everybody else a span."""
        if self.is_qpid:
            return str(int((time.time() + seconds) * 1000))
        return str(int(seconds * 1000))

    @property
    def has_streams(self) -> bool:
        """Whether a queue can be read from a moment on; Broker-J's that can be read again begin with their oldest."""
        return not self.is_qpid

    async def channel(self, *, confirms: bool = False, pipelined: bool = False, prefetch: int = 0) -> "Channel":
        """Open a channel; losing it loses the link.  `pipelined`: confirms are for a ConfirmedOutlet."""
        with _broker_errors():
            channel = self._connection.channel(publisher_confirms=confirms or pipelined)
            await channel.initialize()
            channel.close_callbacks.add(self._on_closed)
            if prefetch:
                await channel.set_qos(prefetch_count=prefetch)
            return Channel(self, channel, await channel.get_underlay_channel(), pipelined=pipelined)

    async def is_blocked(self) -> bool:
        """Say whether the broker has told that it takes nothing for now (connection.blocked)."""
        try:
            async with asyncio.timeout(0.01):
                await self.underlay.ready()
        except TimeoutError:
            return True
        return False

    def add_outlet(self, outlet: Outlet) -> None:
        """Close the outlet together with the link."""
        self._outlets.append(outlet)

    def let_go(self, channel: AbstractChannel, outlet: Outlet) -> None:
        """Survive the loss of a channel from now on."""
        outlet.close()
        self._outlets.remove(outlet)
        channel.close_callbacks.discard(self._on_closed)

    async def close(self) -> None:
        """Close the connection in good order."""
        self.fail("closed")
        for outlet in self._outlets:
            outlet.close()
        with contextlib.suppress(BrokerUnavailable), _broker_errors():
            await _close(self._connection)

    def fail(self, reason: str) -> None:
        """Mark the link as lost."""
        if not self.lost.done():
            self.lost.set_result(reason)

    def _on_closed(self, _sender: object, error: BaseException | None) -> None:
        self.fail("closed" if error is None else str(error) or type(error).__name__)


class Channel:
    """A channel of a link: topology by aio-pika, publishing and acknowledging by hand-made frames."""

    def __init__(self, link: Link, channel: AbstractChannel, underlay: UnderlayChannel, *, pipelined: bool) -> None:
        self.link = link
        self.topology = channel
        self._underlay = underlay
        self.outlet: Outlet = ConfirmedOutlet(underlay) if pipelined else Outlet(underlay)
        link.add_outlet(self.outlet)

    async def close(self) -> None:
        """Close the channel alone, and with it its consumer; what still comes is dropped."""
        self.link.let_go(self.topology, self.outlet)
        deliver_directly(self._underlay, lambda _message: None)
        if not self.link.lost.done():
            with contextlib.suppress(BrokerUnavailable), _broker_errors():
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    await self.topology.close()

    async def declare_exchange(self, *names: str, look_first: bool = False) -> None:
        """Declare some of the contract's exchanges; who only uses them looks first (exchanges.py)."""
        with _broker_errors():
            await exchanges.declare(self.link.underlay, names, look_first=look_first or self.link.is_qpid)

    async def declare_queue(self, name: str | None = None) -> str:
        """Declare a queue exclusive to this connection; returns its name.  QueueHeld when another one has it."""
        with _broker_errors():
            try:
                queue = await self.topology.declare_queue(name, exclusive=True, auto_delete=name is None)
            except (ChannelLockedResource, ConnectionNotAllowed) as error:
                # RabbitMQ closes the channel (405), Broker-J the whole connection (530).
                raise QueueHeld(str(error)) from error
        return queue.name

    async def bind(self, queue: str, exchange: str, key: str) -> None:
        """Bind a queue to a topic exchange."""
        with _broker_errors():
            await self._underlay.queue_bind(queue, exchange, key)

    async def unbind(self, queue: str, exchange: str, key: str) -> None:
        """Undo a binding: what is published to it from now on is unroutable."""
        with _broker_errors():
            await self._underlay.queue_unbind(queue, exchange, key)

    async def consume(
        self,
        queue: str,
        receive: Callable[[Delivery], None],
        *,
        no_ack: bool = False,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        """Call `receive` for every message; a channel has one consumer.  A cancel by the broker loses the link.

        `receive` must not raise.
        """

        async def unused(_message: DeliveredMessage) -> None:
            """Deliveries do not take this way (wire.py)."""

        deliver_directly(self._underlay, lambda message: receive(delivery_of(message)))
        self._underlay.on_consumer_cancel_callbacks.add(lambda _: self.link.fail("the broker cancelled the consumer"))
        with _broker_errors():
            await self._underlay.basic_consume(queue, unused, no_ack=no_ack, arguments=arguments)

    async def publish_mandatory(self, exchange: str, key: str, body: bytes, properties: Properties) -> bool:
        """Publish on a channel in confirm mode; False when no queue took the message."""
        basic = Basic.Properties(
            content_type=properties.content_type,
            correlation_id=properties.correlation_id,
            reply_to=properties.reply_to,
            message_id=uuid.uuid4().hex,  # aiormq matches returns by it: unique per attempt
        )
        try:
            with _broker_errors():
                confirm = await self._underlay.basic_publish(
                    body, exchange=exchange, routing_key=key, properties=basic, mandatory=True, timeout=CONNECT_TIMEOUT
                )
        except DeliveryError:  # Broker-J: a nack, then the return
            return False
        return isinstance(confirm, Basic.Ack)


@contextlib.contextmanager
def _broker_errors() -> Iterator[None]:
    """Translate everything the libraries raise about the broker into one error."""
    try:
        yield
    except (DeliveryError, BrokerUnavailable):
        raise
    except (AMQPError, OSError, TimeoutError, RuntimeError) as error:
        raise BrokerUnavailable(str(error) or type(error).__name__) from error
    except asyncio.CancelledError as error:
        # aiormq cancels what waits for an answer when the connection breaks; a cancellation of ours is counted.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise BrokerUnavailable("connection lost") from error


async def _connect(target: URL, context: ssl.SSLContext | None, name: str) -> aio_pika.Connection:
    connection = aio_pika.Connection(target, ssl_context=context, client_properties={"connection_name": name})
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await connection.connect()
    except BaseException:
        await _close(connection)
        raise
    return connection


async def _close(connection: AbstractConnection) -> None:
    """Close a connection so that it knows, even where the broker does not answer.

    The destructor of one that is not closed makes a coroutine, which nobody awaits in a thread without an event loop.
    """
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await connection.close()
    except BaseException:
        await connection.close()  # its transport is gone by now: this only marks it, without waiting
        raise


async def open_link(url: str, name: str) -> Link:
    """Connect; `name` is what the broker's administrator sees.  Raises BrokerUnavailable, without the password."""
    try:
        target = parse_url(url)
        context = tls.context(target)
    except ValueError as error:
        raise BrokerUnavailable(f"the broker's URL {error}") from error
    if "heartbeat" not in target.query:
        target = target.update_query(heartbeat=HEARTBEAT)
    try:
        connection = await _connect(target, context, name)
    except TimeoutError as error:
        raise BrokerUnavailable(f"{describe(url)} did not answer within {CONNECT_TIMEOUT} s") from error
    except (AMQPError, OSError, RuntimeError) as error:
        raise BrokerUnavailable(f"{describe(url)}: {reason(error, target)}") from error
    return Link(connection)


async def keep_linked(
    url: str,
    name: str,
    session: Callable[[Link], Awaitable[None]],
    report: Callable[[str], None],
) -> None:
    """Run `session` on one link after the other, for ever, with back-off from 0.2 to 5 s.

    `session` runs until it returns or raises BrokerUnavailable; `report` hears the reason each time a link could not
    be opened or ended.
    """
    delay = 0.2
    while True:
        try:
            link = await open_link(url, name)
            try:
                opened = time.monotonic()
                await session(link)
            finally:
                await link.close()
                if time.monotonic() - opened > delay:
                    delay = 0.2
        except BrokerUnavailable as error:
            report(str(error))
        except asyncio.CancelledError:
            # aiormq cancels what waits for an answer when the connection breaks; a cancellation of ours is counted.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            report(f"{describe(url)}: connection lost")
        await asyncio.sleep(delay)
        delay = min(delay * 2, 5.0)
