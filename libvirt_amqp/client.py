"""A client for asyncio: calls with libvirt's own names, and what comes over the bus as an iterator.

async with connect("amqp://guest:guest@127.0.0.1:5672/") as client:
    print(await client.call(Address("host1", "connect"), "virConnectGetHostname"))
    async for message in client.subscribe({EVENTS: ["host1.#"]}):
        print(message.key, message.body)
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson

from libvirt_amqp.broker import BrokerUnavailable, Channel, Delivery, Link, open_link
from libvirt_amqp.errors import NoAnswer, Unroutable
from libvirt_amqp.keys import ANY, RPC, Address, encode_word
from libvirt_amqp.messages import CALL_CONTENT_TYPE, read_reply, request
from libvirt_amqp.wire import Properties

ANSWER_MARGIN = 2.0
"""Seconds that an answer may take after the deadline for the start of the call."""


class Message(NamedTuple):
    """A CloudEvent as it came: `body` is the parsed JSON."""

    exchange: str
    key: str
    body: dict[str, Any]


class Client:
    """One connection; replies come to a queue of its own.  `connect` makes one."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._channel: Channel | None = None
        self._reply_to = ""
        self._ids = itertools.count(1)
        self._waiting: dict[str, tuple[asyncio.Future[bytes], list[bytes] | None]] = {}
        """By correlation_id: the answer, and for a call to any host a list of what did not answer the question."""

    async def call(
        self,
        address: Address,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float = 60.0,  # noqa: ASYNC109 (it also bounds the start of the call at the agent)
        idempotency_key: str | None = None,
    ) -> Any:
        """Call a function of an object and return its result.

        Raises CallError as the agent answered, Unroutable when no agent listens, NoAnswer when none came in time (a
        call that changes something may have been carried out), BrokerUnavailable when the connection is lost.
        A call to any host returns the first result; an error of one host (its libvirt is lost) is raised only when
        none came in time.
        """
        channel = await self._open()
        call_id = next(self._ids)
        correlation_id = str(call_id)
        body = request(
            method,
            dict(params or {}),
            call_id=call_id,
            deadline=datetime.now(UTC) + timedelta(seconds=timeout),
            idempotency_key=idempotency_key,
            identity=_identity_for_hashed(address),
        )
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        refusals: list[bytes] = []
        self._waiting[correlation_id] = answer, refusals if address.host == ANY else None
        properties = Properties(CALL_CONTENT_TYPE, correlation_id=correlation_id, reply_to=self._reply_to)
        try:
            if not await channel.publish_mandatory(RPC, address.key(method), body, properties):
                raise Unroutable(f"no agent listens for host {address.host!r}")
            reply = await asyncio.wait_for(self._or_lost(answer), timeout + ANSWER_MARGIN)
        except TimeoutError as error:
            if refusals:
                return read_reply(refusals[0])
            raise NoAnswer(f"no answer from {address.host} within {timeout + ANSWER_MARGIN:g} s") from error
        finally:
            self._waiting.pop(correlation_id, None)
        return read_reply(reply)

    async def subscribe(self, bindings: Mapping[str, Sequence[str]], limit: int = 100_000) -> AsyncIterator[Message]:
        """Yield what is published to exchanges under binding keys (`*` one word, `#` any number of words).

        A queue of this connection: what is published while nobody is subscribed does not come.  Raises
        BrokerUnavailable when the connection is lost.  `limit` messages may wait for the reader.
        """
        channel = await self._link.channel(prefetch=0)
        queue: asyncio.Queue[Delivery] = asyncio.Queue(limit)
        name = await channel.declare_queue()
        for exchange, keys in bindings.items():
            await channel.declare_exchange(exchange)
            for key in keys:
                await channel.bind(name, exchange, key)

        def receive(delivery: Delivery) -> None:
            if queue.full():
                self._link.fail(f"the reader is {limit} messages behind")
                return
            queue.put_nowait(delivery)

        await channel.consume(name, receive, no_ack=True)
        while True:
            delivery = await self._or_lost(queue.get())
            yield Message(delivery.exchange, delivery.key, orjson.loads(delivery.body))

    async def _open(self) -> Channel:
        """Open the channel for calls and the queue for their replies at the first call."""
        if self._channel is None:
            channel = await self._link.channel(confirms=True)
            await channel.declare_exchange(RPC)
            self._reply_to = await channel.declare_queue()
            await channel.consume(self._reply_to, self._on_reply, no_ack=True)
            self._channel = channel
        return self._channel

    def _on_reply(self, delivery: Delivery) -> None:
        answer, refusals = self._waiting.get(delivery.correlation_id or "", (None, None))
        if answer is None or answer.done():
            return
        if refusals is not None and b'"error"' in delivery.body and "error" in orjson.loads(delivery.body):
            refusals.append(delivery.body)  # another host may have the object
        else:
            answer.set_result(delivery.body)

    async def _or_lost(self, what: Any) -> Any:
        """Await something, or raise BrokerUnavailable when the connection is lost first."""
        task = asyncio.ensure_future(what)
        try:
            await asyncio.wait({task, self._link.lost}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise BrokerUnavailable(f"connection lost: {self._link.lost.result()}")
        finally:
            task.cancel()


@asynccontextmanager
async def connect(url: str, name: str = "libvirt-amqp client") -> AsyncIterator[Client]:
    """Connect to a broker.  Raises BrokerUnavailable."""
    link = await open_link(url, name)
    try:
        yield Client(link)
    finally:
        await link.close()


def _identity_for_hashed(address: Address) -> dict[str, Any] | None:
    """Return the full identity when a word of the key is too long to stand in it."""
    if not any(encode_word(word).startswith("~") for word in address.words):
        return None
    return address.identity()
