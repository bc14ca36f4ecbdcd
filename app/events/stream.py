"""From libvirt's callback to the bus: one order, one number each, and what the agent has to say of itself.

Callbacks run in libvirt's event thread and only hand over; numbers are given on the loop, so the order of the numbers
is the order in which libvirt announced.  What libvirt lists comes the same way, behind the events that came before it.
"""

import asyncio
import contextlib
import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import libvirt
import structlog

from app.events.coalesce import Coalescer
from app.events.compare import Comparison
from app.events.heard import Heard
from app.events.kinds import Kind, kinds
from app.events.ledger import CLASSES, Kept, Ledger
from app.events.listing import Listing, list_objects
from app.hypervisor import after_events, identity
from app.outgoing import Event, Lost
from libvirt_amqp.catalogue import Catalogue
from libvirt_amqp.events import SOURCES, lifecycle_word
from libvirt_amqp.keys import Address
from libvirt_amqp.messages import cloud_event, sequence, timestamp
from libvirt_amqp.objects import Identity, identity_words

log = structlog.get_logger()

MARGIN_SECONDS = 0.1
"""For what libvirt announces and has not sent yet."""
LOOK_AGAIN_SECONDS = (0.25, 0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0)
"""Between the looks after a connect, as long as something differs that was not quiet.  What never is has its events."""


class Looked(NamedTuple):
    """What libvirt listed, on its way through the events' queue; `answer` takes the classes to list once more."""

    listing: Listing
    is_first: bool
    is_last: bool
    registered_at: str
    """The last sequence before the events of this connection were registered."""
    hypervisor: str
    answer: Future[list[str]]


class HeardUntil(NamedTuple):
    """A moment, on its way behind the events that came before it."""

    moment: datetime


class Stream:
    """All events of one host.  `publish` keeps an event until the broker has it."""

    def __init__(
        self, host: str, epoch: int, catalogue: Catalogue, publish: Callable[[Event], None], journal: Kept
    ) -> None:
        self._host = host
        self._epoch = epoch
        self._kinds = kinds(catalogue)
        self._publish = publish
        self._loop = asyncio.get_running_loop()
        self._number = 0
        self._lifecycle = {kind.source.cls: kind for kind in self._kinds if kind.name == "lifecycle"}
        self._events = {
            (source.cls, lifecycle_word(source, name)): value
            for source in SOURCES
            for name, value in catalogue.enums[source.lifecycle].items()
        }
        self._ledger = Ledger(journal)
        self._comparison = Comparison(self._ledger, self._tell_found)
        self._journal = journal
        self._coalescer = Coalescer(self._publish_heard)
        self._registered_at = self.sequence
        self._is_restart = self._ledger.unheard_since is not None
        self._lock = threading.Lock()
        self._heard: deque[Heard | Looked | HeardUntil] = deque()
        self._wake_is_due = False
        self._is_closed = False

    @property
    def sequence(self) -> str:
        """The last sequence given."""
        return sequence(self._epoch, self._number)

    def register(self, connection: libvirt.virConnect) -> Callable[[], None]:
        """In the watching thread: register for every event; returns what deregisters."""
        self._registered_at = self.sequence
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

    def look(self, connection: libvirt.virConnect, is_lost: Callable[[float], bool]) -> None:
        """In the watching thread: list what is there, have it compared, and look again until nothing is in doubt."""
        classes: list[str] = list(CLASSES)
        try:
            hypervisor = hashlib.sha256(connection.getURI().encode()).hexdigest()  # it may have a password in it
            for number, seconds in enumerate(LOOK_AGAIN_SECONDS, 1):
                listing = list_objects(connection, self._host, classes)
                frame = (number == 1, number == len(LOOK_AGAIN_SECONDS))
                looked = Looked(listing, *frame, self._registered_at, hypervisor, Future())
                after_events(partial(self._hand_over, looked))
                classes = _answer(looked, is_lost)
                if not classes or is_lost(seconds):
                    break
            log.info("compared", looks=number, unknown=listing.unknown)
        except libvirt.libvirtError as error:  # lost already: told by who waits for it
            log.info("not_compared", reason=str(error))

    def heard_until(self, moment: datetime) -> None:
        """In the watching thread: everything that libvirt had sent by this moment has come."""
        after_events(partial(self._hand_over, HeardUntil(moment)))

    def domains_seen(self, domains: list[tuple[Identity, int]], unread: set[str]) -> None:
        """On the loop: take the active domains and their states, as the poller reads them anyway."""
        if not self._is_closed:
            self._comparison.second_look(domains, unread)

    def keep_again(self) -> None:
        """Write everything that has to outlive the process once more: the journal had to begin anew."""
        self._ledger.keep_again()

    def started(self, data: dict[str, Any]) -> None:
        """Tell that a run begins, and what the one before had given last; null: nothing is known of one."""
        self._ledger.unheard(self._ledger.unheard_since)
        self.announce("started", {**data, "former": self._ledger.former_sequence})

    def announce(self, name: str, data: dict[str, Any]) -> None:
        """Publish the agent's own news: started, libvirt-lost, libvirt-found, gap."""
        self._coalescer.flush()
        address = Address(self._host, "agent")
        data = {"object": {"class": "agent", "host": self._host}, **data}
        self._emit(address, (name,), f"agent.{name}", data, timestamp())

    def close(self, data: dict[str, Any]) -> None:
        """Publish that the agent is stopping, and nothing after it: it ends the numbers of this epoch.

        Nothing is compared any more either, or it would count as told: the next run finds it.
        """
        self.announce("stopping", data)
        self._is_closed = True

    def libvirt_found(self, data: dict[str, Any]) -> None:
        """Tell that libvirt is there; after a loss or a restart also the time in which nobody listened."""
        if self._is_closed:
            return
        self.announce("libvirt-found", data)
        since = self._ledger.unheard_since
        if since is not None:
            reason = "agent-restart" if self._is_restart else "libvirt-lost"
            moments = {"from": timestamp(since), "to": timestamp()}
            self.announce("gap", {"reason": reason, "first": None, "last": None, "count": None, **moments})
            self._ledger.unheard(None)
        self._keep_moment(datetime.now(UTC))
        self._is_restart = False

    def libvirt_lost(self, reason: str, since: datetime) -> None:
        """Tell that libvirt is away, or was not there at the start; `since` when events may have been missed."""
        if self._is_closed:
            return
        self._comparison.lost()
        if self._ledger.unheard_since is None:
            self._ledger.unheard(since)
        self.announce("libvirt-lost", {"reason": reason})

    def tell_lost(self, lost: Lost) -> bool:
        """Tell that events were given a sequence and then were lost, perhaps one of a former epoch; False: too late."""
        if self._is_closed:
            return False
        self.announce("gap", {**vars(lost), "from": None, "to": None})
        return True

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

    def _hand_over(self, event: Heard | Looked | HeardUntil) -> None:
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
                if isinstance(event, Looked):
                    self._compare(event)
                elif isinstance(event, HeardUntil):
                    self._keep_moment(event.moment)
                else:
                    self._coalescer.take(event)
            except Exception:
                log.exception("event_broke", type=event.kind.type if isinstance(event, Heard) else type(event).__name__)

    def _keep_moment(self, moment: datetime) -> None:
        """Remember up to when everything is in the outbox: after a kill the told time begins there."""
        if self._is_closed:
            return
        held = self._coalescer.held_since
        seconds = moment.timestamp() if held is None else min(moment.timestamp(), held)
        self._journal.heard_until(seconds - MARGIN_SECONDS)

    def _compare(self, looked: Looked) -> None:
        again: list[str] = []
        try:
            if self._is_closed:
                return
            if looked.is_first:
                self._comparison.begin(looked.hypervisor, looked.registered_at)
            again = self._comparison.look(looked.listing, is_last=looked.is_last)
        finally:
            looked.answer.set_result(again)

    def _tell_found(self, whose: Identity, word: str) -> None:
        """Publish a lifecycle event that stands for what was not heard: why it happened is not known."""
        self._coalescer.flush_object(whose)
        kind, event = self._lifecycle[whose["class"]], self._events[whose["class"], word]
        address = Address(self._host, whose["class"], identity_words(whose))
        data = {"object": whose, **kind.data((event, None))}
        self._emit(address, kind.words((event,)), kind.type, data, timestamp(), (event, None), found=True)

    def _publish_heard(self, event: Heard) -> None:
        address = Address(self._host, event.kind.source.cls, identity_words(event.object))
        data = {"object": event.object, **event.kind.data(event.values)}
        heard_at = timestamp(datetime.fromtimestamp(event.time_ns / 1e9, UTC))
        self._emit(address, event.kind.words(event.values), event.kind.type, data, heard_at, event.values)

    def _emit(  # noqa: PLR0913 (everything that an event consists of)
        self,
        address: Address,
        words: tuple[str, ...],
        kind: str,
        data: dict[str, Any],
        moment: str,
        values: tuple[Any, ...] = (),
        *,
        found: bool = False,
    ) -> None:
        if self._is_closed:
            return
        number = self._number + 1
        event_id = sequence(self._epoch, number)
        subject = address.subject
        extensions: dict[str, Any] = {"sequence": event_id}
        previous = self._ledger.previous(subject)
        if previous is not None:
            extensions["previous"] = previous
        if found:
            extensions["found"] = True
        body = cloud_event(address, kind, data, event_id=event_id, time=moment, extensions=extensions)
        self._number = number
        self._ledger.note(subject, data["object"], event_id, words, values)
        self._publish(Event(event_id, address.key(*words), body, is_news=address.cls == "agent"))


def _answer(looked: Looked, is_lost: Callable[[float], bool]) -> list[str]:
    """Wait for the comparison, which never comes when the loop has ended."""
    while not is_lost(0):
        with contextlib.suppress(TimeoutError):
            return looked.answer.result(1.0)
    return []


def _say_unreadable(kind: str, error: str) -> None:
    log.error("event_unreadable", type=kind, error=error)
