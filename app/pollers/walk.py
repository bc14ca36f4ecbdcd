"""One round over the active domains: asked one by one, and whoever does not answer is left behind with its worker.

A call of libvirt cannot be cancelled: the worker that waits for a hung domain stays with it, the others go on with
another worker on another connection, and the domain is not asked again until that call has come back.

The listing needs every domain's lock, so one guest that hangs in its start holds it up, although everybody else
answers: then whom the last listing named are looked up one by one, which needs only their own.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import libvirt
import structlog

from app.hypervisor import Hypervisor, identity, quiet
from libvirt_amqp.objects import Identity

log = structlog.get_logger()

Figures = dict[str, Any]
"""Members of a message's data."""

NO_DOMAIN = ""
"""Where a worker is when it asks no domain: it waits for a connection, or asks for the host's figures."""
LISTING = "listing"
"""Where it is when it asks which domains are active."""
LIST_CALL = "virConnectListAllDomains"
INACTIVE = -1
"""The id of a domain that is not active."""
QUIETLY = 20
"""Domains that are asked while libvirt's event loop stands still: 1 to 3 ms on QEMU."""
AT_ONCE = "*"
"""Where a worker is when it asks for all domains in one call."""
LISTED_SECONDS = 0.001
"""What the listing may take for each domain; on QEMU it takes a hundredth of that."""
TIMES_THE_USUAL = 3
"""The listing may take so many times as long as it did at best lately: polkit may judge each domain in it."""


class Answer(NamedTuple):
    """What a domain answered, when, in nanoseconds since 1970, and to which function of libvirt."""

    object: Identity
    figures: Figures
    moment: int
    call: str


class Source(NamedTuple):
    """What is asked, by libvirt's name for it.  All of it runs in a worker thread and raises libvirtError."""

    call: str
    one: Callable[[libvirt.virConnect, libvirt.virDomain], Figures | None]
    """Of one domain; None: it is not active any more."""
    bulk_call: str = ""
    bulk: Callable[[libvirt.virConnect], Iterable[tuple[libvirt.virDomain, Figures | None]]] = lambda _connection: ()
    """Of all active domains in one call; None: not all of it could be had."""
    host: Callable[[libvirt.virConnect], Figures] = lambda _connection: {}


@dataclass(eq=False)
class Leg:
    """What one worker does of a round: written in its thread, read on the loop.  It keeps nothing of libvirt's."""

    skip: set[str]
    former: dict[str, Identity] | None = None
    """Whom to look up one by one, as libvirt has listed them before; None: it lists."""
    at: tuple[str, float] = (NO_DOMAIN, 0.0)
    """Where it is, and since when by time.monotonic()."""
    is_left: bool = False
    """Whether another worker has gone on with what it has not done."""
    listed: dict[str, Identity] = field(default_factory=dict)
    is_listed: bool = False
    listing_took: float | None = None
    """Seconds; None: it did not list."""
    answers: dict[str, Answer] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    host: Figures | None = None
    cpu: float = 0.0
    """Seconds of CPU that the worker's thread has used."""

    @property
    def still_there(self) -> dict[str, Identity]:
        """Those that were listed and not found gone."""
        gone = set(self.gone)
        return {uuid: whose for uuid, whose in self.listed.items() if uuid not in gone}

    def reach(self, where: str) -> None:
        """In the worker: note where it is now."""
        self.at = (where, time.monotonic())

    def note(self, uuid: str, whose: Identity, figures: Figures | None, call: str) -> None:
        """In the worker: keep what a domain answered now."""
        if figures is None:
            self.gone.add(uuid)
        else:
            self.answers[uuid] = Answer(whose, figures, time.time_ns(), call)


@dataclass
class Round:
    """What is known when a round is over."""

    listed: dict[str, Identity] = field(default_factory=dict)
    """The active domains, by uuid, as libvirt has told last."""
    is_listed: bool = False
    """Whether it has told so in this round; if not, one that is not listed may be active."""
    answers: dict[str, Answer] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    """Listed, and no more there when they were asked."""
    host: Figures | None = None
    cpu: float = 0.0
    """Seconds of CPU that the workers have used, as far as they came back."""
    left: set[str] = field(default_factory=set)
    """With whom workers were left in this round."""
    waited: float = 0.0
    """Seconds that passed until they were left: nothing was done meanwhile."""

    @property
    def unread(self) -> set[str]:
        """The active domains that did not answer."""
        return self.listed.keys() - self.answers.keys() - self.gone

    def take(self, leg: Leg) -> None:
        """Add what a worker has done; one that was left may still be writing, so everything is copied whole."""
        self.answers |= dict(leg.answers)
        self.gone |= set(leg.gone)
        self.cpu += leg.cpu
        self.host = leg.host
        if leg.is_listed:
            self.listed, self.is_listed = leg.listed, True


class Walk:
    """The rounds of one lane of workers, one after the other."""

    def __init__(self, hypervisor: Hypervisor, host: str, lane: str, source: Source) -> None:
        self._hypervisor = hypervisor
        self._host = host
        self._lane = lane
        self._source = source
        self._stuck: set[Leg] = set()
        """Workers that were left and have not come back."""
        self._hung: set[str] = set()
        """Who did not answer when last asked."""
        self._active: dict[str, Identity] | None = None
        """Who was there when last listed, or asked since; None: not listed yet."""
        self._listings_took: deque[float] = deque(maxlen=5)

    def call_of(self, *, is_bulk: bool) -> str:
        """Return the name of the function that is asked."""
        return self._source.bulk_call if is_bulk else self._source.call

    @property
    def is_hung(self) -> bool:
        """Whether a worker waits for libvirt as a whole, or none is left: nothing can be asked."""
        return NO_DOMAIN in self._hanging() or len(self._stuck) >= self._hypervisor.size(self._lane)

    @property
    def is_bulk_hung(self) -> bool:
        """Whether a worker waits for the one call for all domains."""
        return AT_ONCE in self._hanging()

    def _hanging(self) -> set[str]:
        """Return where the workers that were left are now: one may still have gone a step further."""
        return {leg.at[0] for leg in self._stuck}

    async def round(self, patience: float, limit: float, at_once: float = 0) -> Round:
        """Ask everybody.

        `patience` is how many seconds one domain may take, `limit` how many libvirt may where no domain is asked,
        `at_once` how many one call for all of them may take; 0: they are asked one by one.
        Raises LibvirtLost, ConnectionDied, Busy, libvirtError.
        """
        done = Round()
        while not self.is_hung:
            leg = Leg(self._not_to_ask(done), None if at_once else self._former(done))
            leg.reach(NO_DOMAIN)
            limits = {NO_DOMAIN: limit, LISTING: self._listing_limit(patience, limit), AT_ONCE: at_once}
            if leg.former is not None and not done.is_listed:
                done.listed = leg.former
                limits[NO_DOMAIN] = limit / 2  # maybe libvirt answers nobody at all, and the listing was waited for
            work = partial(self._go, leg, at_once > 0)
            call = asyncio.ensure_future(self._hypervisor.call(work, self._lane))
            where = await _watch(leg, call, limits, patience)
            done.take(leg)
            if leg.is_listed:
                self._learn(leg)
            if where is None:
                call.result()
                break
            done.left.add(where)
            done.waited += time.monotonic() - leg.at[1]
            self._leave(leg, call, where)
            at_once = 0 if where == AT_ONCE else at_once
        self._end(done)
        return done

    def _not_to_ask(self, done: Round) -> set[str]:
        """Return whom the next worker leaves out: the last one that is left also those that have hung before."""
        is_last = len(self._stuck) == self._hypervisor.size(self._lane) - 1
        return {*done.answers, *done.gone, *self._hanging(), *(self._hung if is_last else ())}

    def _former(self, done: Round) -> dict[str, Identity] | None:
        """Return whom the next worker looks up; None: it has to list.  Nobody waits twice for one lock."""
        if done.is_listed:
            return done.listed
        return (self._active or {}) if LISTING in self._hanging() else None

    def _listing_limit(self, patience: float, limit: float) -> float:
        """Return how many seconds the listing may take; as long as nobody is known, there is nothing else to do."""
        if self._active is None:
            return limit
        usual = min(self._listings_took, default=0.0)
        return min(limit, max(patience + LISTED_SECONDS * len(self._active), TIMES_THE_USUAL * usual))

    def _learn(self, leg: Leg) -> None:
        """Take a listing, late or not."""
        self._active = leg.still_there
        if leg.listing_took is not None:
            self._listings_took.append(leg.listing_took)

    def _end(self, done: Round) -> None:
        """Keep what a round has shown."""
        self._hung -= done.answers.keys()
        if done.is_listed:
            self._hung &= done.listed.keys()
        elif not done.listed:
            done.listed = self._active or {}
        if self._active is not None:
            self._active = {uuid: whose for uuid, whose in self._active.items() if uuid not in done.gone}

    def _leave(self, leg: Leg, call: asyncio.Future[Any], where: str) -> None:
        leg.is_left = True
        self._stuck.add(leg)
        whose = leg.listed.get(where)
        if whose is not None:
            self._hung.add(where)
        calls = {NO_DOMAIN: None, LISTING: LIST_CALL, AT_ONCE: self._source.bulk_call}
        fields = {
            "lane": self._lane,
            "call": calls.get(where, self._source.call),
            "domain": whose and whose.get("name"),
            "uuid": whose and where,
        }
        log.warning("no_answer", **fields, stuck=len(self._stuck))

        def came_back(call: asyncio.Future[Any]) -> None:
            self._stuck.discard(leg)
            self._hung -= leg.answers.keys()
            if where == LISTING and leg.is_listed:
                self._learn(leg)
            if not call.cancelled():
                call.exception()  # whatever it was: nobody waits for it any more
            log.info("answered_at_last", **fields, stuck=len(self._stuck))

        call.add_done_callback(came_back)

    def _go(self, leg: Leg, at_once: bool, connection: libvirt.virConnect) -> None:  # noqa: FBT001 (a partial's)
        """In a worker thread."""
        if leg.is_left:
            return
        begun = time.thread_time()
        try:
            (self._ask_all if at_once else self._ask_each)(leg, connection)
            if not leg.is_left:
                leg.reach(NO_DOMAIN)
                leg.host = self._source.host(connection)
        finally:
            leg.cpu = time.thread_time() - begun

    def _ask_all(self, leg: Leg, connection: libvirt.virConnect) -> None:
        leg.reach(AT_ONCE)
        records = list(self._source.bulk(connection))
        moment = time.time_ns()
        for domain, figures in records:
            whose = identity(domain, self._host)
            leg.listed[whose["uuid"]] = whose
            if figures is not None:
                leg.answers[whose["uuid"]] = Answer(whose, figures, moment, self._source.bulk_call)
        leg.is_listed = True

    def _ask_each(self, leg: Leg, connection: libvirt.virConnect) -> None:
        if leg.former is None:
            find = self._list(leg, connection).__getitem__
        else:
            leg.listed, find = dict(leg.former), connection.lookupByUUIDString
        uuids = [uuid for uuid in leg.listed if uuid not in leg.skip]
        for begin in range(0, len(uuids), QUIETLY):
            with quiet():
                for uuid in uuids[begin : begin + QUIETLY]:
                    if leg.is_left:
                        return
                    self._ask(leg, connection, uuid, find)

    def _list(self, leg: Leg, connection: libvirt.virConnect) -> dict[str, libvirt.virDomain]:
        leg.reach(LISTING)
        begun, domains, listed = time.monotonic(), {}, {}
        for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
            whose = identity(domain, self._host)
            listed[whose["uuid"]], domains[whose["uuid"]] = whose, domain
        leg.listed, leg.listing_took, leg.is_listed = listed, time.monotonic() - begun, True
        return domains

    def _ask(
        self, leg: Leg, connection: libvirt.virConnect, uuid: str, find: Callable[[str], libvirt.virDomain]
    ) -> None:
        leg.reach(uuid)
        whose = leg.listed[uuid]
        try:
            domain = find(uuid)
            if leg.former is not None:
                whose = identity(domain, self._host)
            is_ended = leg.former is not None and whose["id"] == INACTIVE
            figures = None if is_ended else self._source.one(connection, domain)
        except libvirt.libvirtError as error:
            if _is_vanished(error, connection):
                leg.note(uuid, whose, None, self._source.call)
        except UnicodeDecodeError:  # the binding's, over the path of a disk: no figures
            pass
        else:
            leg.note(uuid, whose, figures, self._source.call)


def _is_vanished(error: libvirt.libvirtError, connection: libvirt.virConnect) -> bool:
    """Tell a domain that is gone from one that did not answer; raise what is no matter of one domain."""
    if error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT or not connection.isAlive():
        raise error
    return error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN


async def _watch(leg: Leg, call: asyncio.Future[Any], limits: dict[str, float], patience: float) -> str | None:
    """Wait for a worker; return where it does not come on, None when it has ended."""
    while True:
        try:
            await asyncio.wait({call}, timeout=patience / 4)
        except asyncio.CancelledError:
            call.cancel()
            raise
        if call.done():
            return None
        where, since = leg.at
        if time.monotonic() - since > limits.get(where, patience):
            return where
