"""What is polled, and how these share what polling may cost: the five figures and the host's, and groups on request.

XML is never fetched, and no pool is asked: one on dead storage delays nobody.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import libvirt
import structlog

from app.hypervisor import HEAVY, POLLING, TRIAL, ConnectionDied, DaemonClock, Hypervisor
from app.pollers import groups
from app.pollers.figures import Five
from app.pollers.latest import Latest
from app.pollers.poller import Poller, Shape, Show
from app.pollers.samples import Publish, Samples
from app.pollers.schedule import Schedule
from app.pollers.trial import Trial, compare
from app.pollers.walk import Figures, Round, Source, Walk
from libvirt_amqp.catalogue import Catalogue
from libvirt_amqp.errors import Busy, LibvirtLost
from libvirt_amqp.keys import Address
from libvirt_amqp.messages import timestamp
from libvirt_amqp.objects import Identity

log = structlog.get_logger()

Seen = Callable[[list[tuple[Identity, int]], set[str]], None]
"""The active domains with their virDomainState, and the uuids of those that did not answer."""


@dataclass(frozen=True)
class Plan:
    """What is wanted: intervals in seconds, the ceiling as a share of one CPU."""

    interval: float
    groups: tuple[str, ...]
    groups_interval: float
    ceiling: float
    is_per_host: bool
    full_every: float | None
    """Publish what has not changed only every so many seconds; None: always."""


class Polling:
    """The pollers of a host.

    With groups the five figures get half of the ceiling, and the groups what those leave of it.
    """

    def __init__(  # noqa: PLR0913 (what a round needs)
        self,
        hypervisor: Hypervisor,
        host: str,
        epoch: int,
        plan: Plan,
        catalogue: Catalogue,
        publish: Publish,
        seen: Seen,
        show: Show | None = None,
    ) -> None:
        """`show` gets the kind and the data of every figure of every round, published or unchanged."""
        self._hypervisor = hypervisor
        self._host = host
        self._plan = plan
        self._seen = seen
        self._show = show
        self._samples = Samples(host, epoch, publish)
        self._clock = DaemonClock()
        self._found: datetime | None = None
        """The connection that the next two are about: since when it is there."""
        self._is_tried = False
        """Whether the calls have been compared."""
        self._trial: asyncio.Task[None] | None = None
        self._light = self._poller(
            "statistics", plan.interval, POLLING, Five(catalogue).source(), ("info", "domains"), self._after
        )
        self._heavy: Poller | None = None
        if plan.groups:
            source = groups.source(plan.groups)
            self._heavy = self._poller("groups", plan.groups_interval, HEAVY, source, ("stats", "stats"))

    def _poller(  # noqa: PLR0913 (what differs from one to the other)
        self,
        name: str,
        interval: float,
        lane: str,
        source: Source,
        events: tuple[str, str],
        after: Callable[[Round], None] = lambda _done: None,
    ) -> Poller:
        return Poller(
            self._hypervisor,
            self._clock,
            Schedule(name, interval, self._host),
            self._plan.ceiling / 2 if self._plan.groups else self._plan.ceiling,
            Walk(self._hypervisor, self._host, lane, source),
            Latest(self._plan.full_every),
            self._samples,
            Shape(*events, self._plan.is_per_host),
            after,
            self._show,
        )

    async def run(self) -> None:
        """Poll for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._light.schedule.run(self._beat), name="statistics")
            if self._heavy is not None:
                tasks.create_task(self._heavy.schedule.run(self._beat_of_groups), name="groups")

    def health(self) -> dict[str, Any]:
        """Return what polling costs and how it goes, for a heartbeat."""
        own = {"ceiling": self._plan.ceiling, "libvirtd": self._clock.read() is not None}
        return self._light.health() | own | ({"groups": self._heavy.health()} if self._heavy is not None else {})

    async def _beat(self) -> None:
        if self._found != self._hypervisor.since:
            self._found, self._light.is_bulk, self._is_tried = self._hypervisor.since, False, False
            self._clock.find()
        await self._light.beat()

    async def _beat_of_groups(self) -> None:
        """What the five figures leave of the ceiling is for the groups."""
        if self._heavy is not None:
            half = self._plan.ceiling / 2
            self._heavy.budget.allowed = max(half, self._plan.ceiling - self._light.budget.share)
            await self._heavy.beat()

    def _after(self, done: Round) -> None:
        """On the loop, after each round of the five figures: what is old was not seen, and is told to nobody here."""
        if done.is_listed:
            states = [(answer.object, answer.figures["state"]) for answer in done.answers.values()]
            self._seen(states, done.unread | done.gone)
        if done.host is not None:
            self._tell_of_the_host(done.host)
        if self._light.can_take_up():
            self._is_tried = False
        if done.is_listed and done.answers and not self._is_tried and not done.left:
            self._is_tried = True
            self._trial = asyncio.create_task(self._try_both(), name="trial of calls")

    def _tell_of_the_host(self, figures: Figures) -> None:
        schedule = self._light.schedule
        address = Address(self._host, "connect")
        data = {"object": address.identity(), **figures}
        if self._hypervisor.facts is not None and self._hypervisor.facts.is_local:
            data["loadavg"] = list(os.getloadavg())
        data |= {"interval": schedule.interval, "interval_in_force": schedule.interval_in_force}
        self._samples.send(address, "info", data, timestamp(), schedule.interval_in_force)
        if self._show is not None:
            self._show("connect.info", data)

    async def _try_both(self) -> None:
        """Compare the calls on a lane of its own: a guest that hangs holds up no round there."""
        since = self._hypervisor.since
        try:
            found: Trial | None = await self._hypervisor.call(partial(compare, clock=self._clock), TRIAL)
        except (LibvirtLost, ConnectionDied, Busy, libvirt.libvirtError) as error:
            log.info("calls_not_compared", reason=str(error))
            return
        if since != self._hypervisor.since:  # of a former connection: another trial is about this one
            return
        if found is None:
            self._is_tried = False
            return
        self._light.is_bulk = found.is_for_bulk
        log.info("calls_compared", chosen=self._light.call, **found.as_fields())
