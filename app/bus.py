"""The AMQP door: the host's own queue, replies, samples, and events kept until the broker has confirmed them.

One session after the other (libvirt_amqp/broker.py): each declares the contract's exchanges, claims the host's queue,
and sends again, in order and under the same identity, every event that the one before did not see confirmed.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import structlog

from app.claim import HostTaken, ask_holder, refusal, request_queue
from app.outbox import Outbox
from app.outgoing import Event
from libvirt_amqp.broker import BrokerUnavailable, Channel, Link, QueueHeld, keep_linked
from libvirt_amqp.delivery import Delivery
from libvirt_amqp.keys import ANY, EVENTS, RPC, STATS, encode_word
from libvirt_amqp.messages import CALL_CONTENT_TYPE, EVENT_CONTENT_TYPE
from libvirt_amqp.url import describe
from libvirt_amqp.wire import ConfirmedOutlet, Outlet, Properties

log = structlog.get_logger()

PREFETCH = 256
WINDOW = 2000
"""Events on their way to the broker without a confirm."""
CONFIRM_SECONDS = 30.0
"""After so long without any confirm, while some are due and the broker is not blocked, it has forgotten them."""
LOOK_SECONDS = 1.0
UNSENT_REPLIES = 10_000
BLOCKED_BYTES = 8 * 1024 * 1024
"""Samples are dropped, not queued, while this much waits for a socket that does not drain."""
SIGN_SECONDS = 0.5
"""Between two samples that the broker has to confirm, so that it is known to read: sockets hold millions of bytes."""

EVENT_PROPERTIES = Properties(EVENT_CONTENT_TYPE, persistent=True)


@lru_cache(maxsize=8)
def _sample_properties(expiration: str | None) -> Properties:
    """Return the same object for all samples of a round: making one for each is a tenth of what a sample costs.

    (Not on Broker-J, where the expiration is a moment.)
    """
    return Properties(EVENT_CONTENT_TYPE, expiration=expiration)


class Session(NamedTuple):
    """What is open while the broker is there."""

    link: Link
    requests: Channel
    plain: Outlet
    events: ConfirmedOutlet


class Bus:
    """Publishes and receives for one host.  Every method but `run` and `flush` returns at once, connected or not."""

    def __init__(self, url: str, instance: str, receive: Callable[[Delivery], None], outbox: Outbox) -> None:
        self._url = url
        self._instance = instance
        self._receive = receive
        self._host = ""
        self._session: Session | None = None
        self._sent_on: ConfirmedOutlet | None = None
        """Where what is unconfirmed was sent: confirms count that come after the session, until the next one begins."""
        self._was_linked = False
        self._told = ""
        self._unsent: deque[tuple[str, str | None, bytes]] = deque(maxlen=UNSENT_REPLIES)
        self._confirmed_at = 0.0
        self._is_blocked = False
        """Whether the broker takes nothing for now, as of the last look."""
        self._sign_sent_at: float | None = None
        """When a sample was sent whose confirm has not come."""
        self._next_sign_at = 0.0
        self.outbox = outbox
        outbox.on_ready = self._pump
        self.published = 0
        """Events that the broker confirmed."""
        self.refused = 0
        """Events that a full queue behind the exchange did not take."""
        self.linked = asyncio.Event()

    async def run(self, host: str) -> None:
        """Serve `host` for ever.  Raises HostTaken when another agent does so already and we never did."""
        self._host = host
        await keep_linked(self._url, f"libvirt-amqp {host}", self._run_session, self._say)

    def publish_event(self, event: Event) -> None:
        """Keep an event until the broker has confirmed it, and send it as soon as its turn has come."""
        self.outbox.append(event)
        self._pump()

    def publish_sample(self, key: str, body: bytes, ttl_seconds: float) -> None:
        """Send a statistic or heartbeat; dropped when the broker is not there or does not read: it would come late."""
        session, now = self._session, time.monotonic()
        if session is None or self._is_blocked or session.plain.waiting_bytes > BLOCKED_BYTES:
            return
        properties = _sample_properties(session.link.expiration(ttl_seconds))
        if self._sign_sent_at is None and now >= self._next_sign_at:
            self._sign_sent_at, self._next_sign_at = now, now + SIGN_SECONDS
            session.events.publish_confirmed(STATS, key, body, properties, self._on_sign)
        elif self._sign_sent_at is None or now - self._sign_sent_at < max(ttl_seconds, SIGN_SECONDS):
            session.plain.publish(STATS, key, body, properties)

    def reply(self, reply_to: str, correlation_id: str | None, body: bytes) -> None:
        """Answer a request, after the next connect if need be."""
        if self._session is None:
            self._unsent.append((reply_to, correlation_id, body))
            return
        properties = Properties(CALL_CONTENT_TYPE, correlation_id=correlation_id)
        self._session.plain.publish("", reply_to, body, properties)

    def acknowledge(self, delivery: Delivery) -> None:
        """Take a request off the queue.  It came in this session, or the broker has forgotten it anyway."""
        if self._session is not None:
            self._session.requests.outlet.ack(delivery.tag)

    async def stop_requests(self) -> None:
        """Let the broker return new requests to their senders from now on; one that is blocked would not hear it."""
        session = self._session
        if session is None or await session.link.is_blocked():
            return
        with contextlib.suppress(BrokerUnavailable):
            for key in self._bindings():
                await session.requests.unbind(request_queue(self._host), RPC, key)

    async def flush(self) -> None:
        """Wait until every event is confirmed and every reply is with the socket, or the broker is gone.

        A broker that takes nothing for now (a memory alarm) is not waited for when the events are on disk.
        """
        while (session := self._session) is not None and len(self.outbox):
            if self.outbox.is_safe and await session.link.is_blocked():
                return
            await asyncio.sleep(0.01)
        if self._session is not None:
            await self._session.plain.flush()

    def _bindings(self) -> tuple[str, str]:
        return f"{encode_word(self._host)}.#", f"{ANY}.connect.*"

    async def _run_session(self, link: Link) -> None:
        requests = await link.channel(prefetch=PREFETCH)
        events = await link.channel(pipelined=True)
        await requests.declare_exchange(EVENTS, STATS, RPC)
        try:
            await requests.declare_queue(request_queue(self._host))
        except QueueHeld:
            await self._wait_or_give_up()
            raise
        for key in self._bindings():
            await requests.bind(request_queue(self._host), RPC, key)
        if not isinstance(events.outlet, ConfirmedOutlet):
            raise TypeError("the events' channel is not in confirm mode")
        self.outbox.rewind()
        self._sent_on, self._sign_sent_at = events.outlet, None
        self._session = Session(link, requests, requests.outlet, events.outlet)
        try:
            self._begin(link)
            await requests.consume(request_queue(self._host), self._receive)
            reason = await self._until_lost(link)
        finally:
            self._session = None
            self.linked.clear()
        raise BrokerUnavailable(f"{describe(self._url)}: connection lost: {reason}")

    def _begin(self, link: Link) -> None:
        """Say that we are connected, and send what has waited for it."""
        self._was_linked, self._told = True, ""
        log.info("broker_connected", broker=describe(self._url), product=link.product, pending=len(self.outbox))
        while self._unsent:
            self.reply(*self._unsent.popleft())
        self.linked.set()
        self.outbox.tell_lost()
        self._pump()

    async def _until_lost(self, link: Link) -> str:
        """Wait for the end of the link, and end it when the broker has forgotten to confirm: it is all sent again.

        A memory or disk alarm is no such case: the broker says that it is blocked, and another connection would be
        blocked as well, at its first event, which would be a repeat.
        """
        self._confirmed_at = time.monotonic()
        self._is_blocked = False
        while not (await asyncio.wait({link.lost}, timeout=LOOK_SECONDS))[0]:
            self._is_blocked = await link.is_blocked()
            if not self.outbox.unconfirmed or self._is_blocked:
                self._confirmed_at = time.monotonic()
            elif time.monotonic() - self._confirmed_at > CONFIRM_SECONDS:
                link.fail(f"no confirm for {CONFIRM_SECONDS:.0f} s")
        return link.lost.result()

    async def _wait_or_give_up(self) -> None:
        """Find out who holds the host's queue: an agent that answers, or the remains of a connection of ours."""
        holder = await ask_holder(self._url, self._host, self._instance)
        if holder is None:
            raise BrokerUnavailable("the broker still holds the queue for a former connection of this host's agent")
        if not self._was_linked:
            raise HostTaken(refusal(self._host, holder))
        raise BrokerUnavailable(refusal(self._host, holder))

    def _pump(self) -> None:
        """Send what waits, as far as the window reaches."""
        session = self._session
        if session is None:
            return
        while self.outbox.waiting and session.events.unconfirmed < WINDOW:
            event = self.outbox.next()
            done = partial(self._on_confirm, session.events)
            session.events.publish_confirmed(EVENTS, event.key, event.body, EVENT_PROPERTIES, done)

    def _on_sign(self, _taken: bool) -> None:  # noqa: FBT001 (the shape of wire.Confirmed)
        """A sample was confirmed: the broker reads."""
        self._sign_sent_at = None

    def _on_confirm(self, sent_on: ConfirmedOutlet, taken: bool) -> None:  # noqa: FBT001 (the shape of wire.Confirmed)
        if sent_on is not self._sent_on:
            return  # it has been sent again
        self._confirmed_at = time.monotonic()
        self.outbox.confirm()
        if taken:
            self.published += 1
        else:
            self.refused += 1
        self._pump()

    def _say(self, reason: str) -> None:
        """Log a loss once, not every attempt."""
        if reason != self._told:
            self._told = reason
            log.warning("broker_unavailable", reason=reason)
