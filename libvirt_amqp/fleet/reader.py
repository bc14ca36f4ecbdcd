"""One subscription: a connection kept up, a follower for each host that is heard of, items in a bounded queue."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from libvirt_amqp.broker import BrokerUnavailable, Channel, Link, keep_linked
from libvirt_amqp.client import Client
from libvirt_amqp.delivery import Delivery
from libvirt_amqp.errors import CallError, MethodNotFound, NoAnswer, NotSupported, Unroutable
from libvirt_amqp.fleet.acknowledgements import Acknowledgements
from libvirt_amqp.fleet.arrival import Arrival
from libvirt_amqp.fleet.continuity import as_sequence
from libvirt_amqp.fleet.follower import Follower, Rules
from libvirt_amqp.fleet.items import Item, Snapshot, State
from libvirt_amqp.fleet.selection import Selection
from libvirt_amqp.keys import EVENTS, STATS, Address, is_of
from libvirt_amqp.messages import parse_time

log = logging.getLogger("libvirt_amqp.fleet")

SNAPSHOT_SECONDS = 10.0
SNAPSHOTS_AT_ONCE = 32
MOST_PREFETCH = 65_535
"""AMQP counts it in 16 bits."""
QUIET_SECONDS = 2.0
"""A queue of the user's own counts as read to its end when nothing has come for so long."""

BEAT = "org.libvirt.agent.heartbeat"


class Reader:
    """`queue` is the user's own, `start` the moment from which a stream queue is replayed."""

    def __init__(self, url: str, selection: Selection, limit: int, queue: str | None, start: datetime | None) -> None:
        self._url = url
        self._selection = selection
        self._limit = limit
        self._prefetch = min(limit, MOST_PREFETCH)
        self._queue = queue
        self._start = start
        self._offset: datetime | int | None = start
        self._skips = False
        self._ready: deque[tuple[Item, Follower, Arrival | None]] = deque()
        self._wake = asyncio.Event()
        self._followers: dict[str, Follower] = {}
        self._asking: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(SNAPSHOTS_AT_ONCE)
        self._client: Client | None = None
        self._acknowledgements: Acknowledgements | None = None
        self._lost_at: datetime | None = None
        self._came_at = 0.0
        self._told = ""
        self._keeping: asyncio.Task[None] | None = None
        self._is_ended = False
        self._rules = Rules(selection.is_whole, queue is not None, selection.wants, self._emit, self._ask)

    async def items(self) -> AsyncGenerator[Item, None]:
        """Yield what comes, until `end`.  An event counts as read when the next item is asked for."""
        if self._is_ended:
            return
        self._keeping = asyncio.create_task(keep_linked(self._url, "libvirt-amqp fleet", self._session, self._say))
        try:
            while await self._has_more(self._keeping):
                item, follower, arrival = self._ready.popleft()
                self._resume()
                if arrival is not None:
                    follower.given()
                yield item
                if arrival is not None:
                    arrival.done()
        finally:
            await self.end()

    async def end(self) -> None:
        """Close the connection; whoever reads the items comes to their end, also in another task."""
        self._is_ended = True
        self._wake.set()
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)

    async def _has_more(self, keeping: asyncio.Task[None]) -> bool:
        """Wait for an item, or the end; a fault of ours is raised."""
        while not self._ready and not self._is_ended:
            self._wake.clear()
            waking = asyncio.ensure_future(self._wake.wait())
            try:
                await asyncio.wait({waking, keeping}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waking.cancel()
            if keeping.done() and not self._is_ended:
                keeping.result()
        return not self._is_ended

    async def _session(self, link: Link) -> None:
        """Listen on one connection until it is lost."""
        self._client = Client(link)
        watch = None
        try:
            if self._queue is None:
                await self._listen(link)
            else:
                await self._read(link, self._queue)
                watch = asyncio.create_task(self._watch_for_the_end())
            log.info("listening")
            self._told = ""
            self._begin()
            reason = await asyncio.shield(link.lost)  # which our own end does not cancel
        finally:
            if watch is not None:
                watch.cancel()
            await self._end(link)
        raise BrokerUnavailable(f"connection lost: {reason}")

    async def _listen(self, link: Link) -> None:
        """Take events and heartbeats out of one queue of this connection, so that both are in order."""
        channel = await link.channel()
        await self._consume(channel, {EVENTS: self._selection.event_keys, STATS: self._selection.heartbeat_keys})

    async def _read(self, link: Link, queue: str) -> None:
        """Take events out of the user's queue, and heartbeats out of one of this connection."""
        await self._consume(await link.channel(), {STATS: self._selection.heartbeat_keys})
        channel = await link.channel(prefetch=self._prefetch)
        acks = self._acknowledgements = Acknowledgements(channel.outlet)
        self._skips = not link.has_streams
        arguments = {"x-stream-offset": self._offset} if self._offset is not None and link.has_streams else None
        await channel.consume(queue, lambda delivery: self._receive(delivery, acks), arguments=arguments)

    async def _consume(self, channel: Channel, bindings: dict[str, list[str]]) -> None:
        name = await channel.declare_queue()
        for exchange, keys in bindings.items():
            await channel.declare_exchange(exchange, look_first=True)
            for key in keys:
                await channel.bind(name, exchange, key)
        await channel.consume(name, lambda delivery: self._receive(delivery, None), no_ack=True)

    def _begin(self) -> None:
        """Everything published from now on comes: ask what there is."""
        for host in self._selection.hosts or ():
            self._follower(host)
        for follower in self._followers.values():
            if self._lost_at is not None and not self._rules.is_kept:
                follower.reconnected(self._lost_at, datetime.now(UTC))
            else:
                follower.ask()
        self._lost_at = None

    async def _end(self, link: Link) -> None:
        """The connection is lost, or we leave: what a kept queue will deliver again is given back to it."""
        self._lost_at = self._lost_at or datetime.now(UTC)
        self._client = None
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        if self._acknowledgements is not None:
            await self._give_back(self._acknowledgements, link)

    async def _give_back(self, acknowledgements: Acknowledgements, link: Link) -> None:
        if not link.lost.done():
            await acknowledgements.flush()
        self._acknowledgements, acknowledgements.is_open = None, False
        if self._offset is not None:
            self._offset = acknowledgements.next_offset or self._offset
        self._ready.clear()
        for follower in self._followers.values():
            follower.give_back()

    def _receive(self, delivery: Delivery, acks: Acknowledgements | None) -> None:
        """Take a delivery; whatever is wrong with it, the next one comes."""
        self._came_at = time.monotonic() if acks is not None else self._came_at
        done = _nothing if acks is None else acks.add(delivery)
        try:
            body = orjson.loads(delivery.body)
            data = body["data"]
            host = data["object"]["host"]
            if not is_of(delivery.key, host):
                raise ValueError(f"its body is of host {host!r}")
            if not self._selection.has_host(host) or (acks is not None and self._is_too_old(body)):
                done()
            elif body["type"] == BEAT:
                is_in_order = acks is None and self._queue is None
                self._follower(host).beat(as_sequence(data["sequence"]), int(data["pending"]), in_order=is_in_order)
            else:
                arrival = Arrival(delivery.key, body, done)
                arrival.check()
                self._take(self._follower(host), arrival)
        except (ValueError, KeyError, TypeError) as error:
            log.error("%s is no event of an agent: %r", delivery.key, error)
            done()

    def _is_too_old(self, body: dict[str, Any]) -> bool:
        """Say whether an event is from before the replay, where the broker cannot begin with the first one of it."""
        return self._skips and self._start is not None and parse_time(body["time"]) < self._start

    def _take(self, follower: Follower, arrival: Arrival) -> None:
        is_full = len(self._ready) >= self._limit or len(follower.held) >= self._limit
        if follower.is_behind or (is_full and not self._rules.is_kept):
            follower.drop(arrival)
        else:
            follower.take(arrival)

    def _follower(self, host: str) -> Follower:
        follower = self._followers.get(host)
        if follower is None:
            follower = self._followers[host] = Follower(host, self._rules)
        return follower

    def _emit(self, item: Item, follower: Follower, arrival: Arrival | None) -> None:
        self._ready.append((item, follower, arrival))
        self._wake.set()

    def _resume(self) -> None:
        """Go on with the hosts of which something was dropped, as soon as the reader has caught up by half."""
        if len(self._ready) <= self._limit // 2:
            for follower in self._followers.values():
                if follower.is_behind and not follower.is_asking:
                    follower.resume()

    def _ask(self, follower: Follower) -> None:
        task = asyncio.create_task(self._snapshot(follower))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _snapshot(self, follower: Follower) -> None:
        try:
            async with self._slots:
                if self._client is None:
                    raise BrokerUnavailable("not connected")
                agent, params = Address(follower.host, "agent"), self._selection.snapshot_params
                result = await self._client.call(agent, "snapshot", params, timeout=SNAPSHOT_SECONDS)
            answer = self._selected(follower.host, result)
        except (NotSupported, MethodNotFound) as error:
            log.warning("%s: no snapshot: %s", follower.host, error)
            follower.failed(for_ever=True)
        except (CallError, Unroutable, NoAnswer, BrokerUnavailable) as error:
            log.info("%s: no snapshot now: %s", follower.host, error)
            follower.failed(for_ever=False)
        except (ValueError, KeyError, TypeError) as error:
            log.error("%s: its answer is no snapshot: %r", follower.host, error)
            follower.failed(for_ever=False)
        else:
            follower.answered(answer)
        self._resume()

    def _selected(self, host: str, result: dict[str, Any]) -> Snapshot:
        chosen = self._selection
        states = (State(entry["object"], entry["state"]) for entry in result["objects"])
        objects = tuple(state for state in states if chosen.has_object(state.object))
        unknown = frozenset(filter(chosen.has_class, result["unknown"]))
        return Snapshot(host, as_sequence(result["sequence"]), objects, unknown)

    async def _watch_for_the_end(self) -> None:
        """Notice that the user's queue has been read to its end."""
        while True:
            await asyncio.sleep(QUIET_SECONDS / 4)
            unread = self._acknowledgements.unread if self._acknowledgements else 0
            if time.monotonic() - self._came_at >= QUIET_SECONDS and unread < self._prefetch:
                for follower in list(self._followers.values()):
                    follower.drained(QUIET_SECONDS)

    def _say(self, reason: str) -> None:
        """Log a loss once, not every attempt."""
        if reason != self._told:
            self._told = reason
            log.warning("%s; trying again", reason)


def _nothing() -> None:
    """Nobody waits for an acknowledgement."""


def start_of(replay: timedelta | None) -> datetime | None:
    """Return the moment from which to replay."""
    return None if replay is None else datetime.now(UTC) - replay
