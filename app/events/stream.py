"""From libvirt's callback to the bus: one order, one number each, and what the agent has to say of itself.

Callbacks run in libvirt's event thread and only hand over; numbers are given on the loop, so the order of the numbers
is the order in which libvirt announced.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import libvirt
import structlog

from app.bus import Event, Lost
from app.events.kinds import Kind, kinds
from app.hypervisor import identity
from libvirt_amqp.catalogue import Catalogue
from libvirt_amqp.keys import Address
from libvirt_amqp.messages import cloud_event, sequence, timestamp
from libvirt_amqp.objects import Identity, identity_words

log = structlog.get_logger()

REMEMBERED_OBJECTS = 100_000
"""Objects whose last sequence is known for `previous`; the one that was quiet for longest is forgotten first."""


class Heard(NamedTuple):
    """What a callback hands over: nothing in it belongs to libvirt any more."""

    kind: Kind
    object: Identity
    values: tuple[Any, ...]
    time_ns: int


class Stream:
    """All events of one host.  `publish` keeps an event until the broker has it."""

    def __init__(self, host: str, epoch: int, catalogue: Catalogue, publish: Callable[[Event], None]) -> None:
        self._host = host
        self._epoch = epoch
        self._kinds = kinds(catalogue)
        self._publish = publish
        self._loop = asyncio.get_running_loop()
        self._number = 0
        self._previous: dict[str, str] = {}
        self._lock = threading.Lock()
        self._heard: deque[Heard] = deque()
        self._wake_is_due = False
        self._lost_at: datetime | None = None
        self._is_closed = False

    @property
    def sequence(self) -> str:
        """The last sequence given."""
        return sequence(self._epoch, self._number)

    def register(self, connection: libvirt.virConnect) -> Callable[[], None]:
        """In the watching thread: register for every event; returns what deregisters."""
        registered = []
        refused = []
        for kind in self._kinds:
            try:
                register = getattr(connection, kind.source.register)
                registered.append((kind.source.deregister, register(None, kind.id, self._callback(kind), None)))
            except libvirt.libvirtError:  # the driver has no such objects
                refused.append(kind.type)
        log.info("events_registered", registered=len(registered), refused=refused)

        def deregister() -> None:
            for method, callback_id in registered:
                with contextlib.suppress(libvirt.libvirtError):
                    getattr(connection, method)(callback_id)

        return deregister

    def announce(self, name: str, data: dict[str, Any]) -> None:
        """Publish the agent's own news: started, libvirt-lost, libvirt-found, gap."""
        address = Address(self._host, "agent")
        data = {"object": {"class": "agent", "host": self._host}, **data}
        self._emit(address, (name,), f"agent.{name}", data, timestamp())

    def close(self, data: dict[str, Any]) -> None:
        """Publish that the agent is stopping, and nothing after it: it ends the numbers of this epoch."""
        self.announce("stopping", data)
        self._is_closed = True

    def libvirt_found(self, data: dict[str, Any]) -> None:
        """Tell that libvirt is there; after a loss also the time in which nobody listened."""
        self.announce("libvirt-found", data)
        if self._lost_at is not None:
            moments = {"from": timestamp(self._lost_at), "to": timestamp()}
            self.announce("gap", {"reason": "libvirt-lost", "first": None, "last": None, "count": None, **moments})
            self._lost_at = None

    def libvirt_lost(self, reason: str) -> None:
        """Tell that libvirt is away, or was not there at the start."""
        self._lost_at = self._lost_at or datetime.now(UTC)
        self.announce("libvirt-lost", {"reason": reason})

    def tell_lost(self, lost: Lost) -> None:
        """Tell that events were given a sequence and then had no room."""
        first, last = sequence(self._epoch, lost.first), sequence(self._epoch, lost.last)
        data = {"reason": "outbox-full", "first": first, "last": last, "count": lost.count, "from": None, "to": None}
        self.announce("gap", data)

    def _callback(self, kind: Kind) -> Callable[..., None]:
        def heard(_connection: libvirt.virConnect, source: Any, *values: Any) -> None:
            """In libvirt's event thread.  Only what the handle knows itself; an exception here would be lost."""
            try:
                whose = identity(source, self._host)
            except Exception as error:  # noqa: BLE001 (whatever it is, say it where it is heard)
                self._loop.call_soon_threadsafe(_say_unreadable, kind.type, repr(error))
                return
            self._hand_over(Heard(kind, whose, values[:-1], time.time_ns()))

        return heard

    def _hand_over(self, event: Heard) -> None:
        """In libvirt's event thread: queue for the loop, and wake it if nobody has."""
        with self._lock:
            self._heard.append(event)
            if self._wake_is_due:
                return
            self._wake_is_due = True
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        """On the loop: number and publish everything that was heard meanwhile."""
        with self._lock:
            self._wake_is_due = False
            burst = list(self._heard)
            self._heard.clear()
        for event in burst:
            try:
                self._publish_heard(event)
            except Exception:
                log.exception("event_broke", type=event.kind.type)

    def _publish_heard(self, event: Heard) -> None:
        address = Address(self._host, event.kind.source.cls, identity_words(event.object))
        data = {"object": event.object, **event.kind.data(event.values)}
        heard_at = timestamp(datetime.fromtimestamp(event.time_ns / 1e9, UTC))
        self._emit(address, event.kind.words(event.values), event.kind.type, data, heard_at)

    def _emit(self, address: Address, words: tuple[str, ...], kind: str, data: dict[str, Any], moment: str) -> None:
        if self._is_closed:
            return
        number = self._number + 1
        event_id = sequence(self._epoch, number)
        subject = address.subject
        extensions = {"sequence": event_id}
        previous = self._previous.get(subject)
        if previous is not None:
            extensions["previous"] = previous
        body = cloud_event(address, kind, data, event_id=event_id, time=moment, extensions=extensions)
        self._number = number
        self._previous.pop(subject, None)  # to the end: what was quiet for longest is first
        self._previous[subject] = event_id
        if len(self._previous) > REMEMBERED_OBJECTS:
            del self._previous[next(iter(self._previous))]
        self._publish(Event(number, address.key(*words), body, is_news=address.cls == "agent"))


def _say_unreadable(kind: str, error: str) -> None:
    log.error("event_unreadable", type=kind, error=error)
