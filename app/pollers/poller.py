"""One kind of figures on its schedule: read, told, paid for."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import libvirt
import structlog

from app.hypervisor import ConnectionDied, DaemonClock, Hypervisor
from app.pollers.budget import Budget
from app.pollers.latest import Latest
from app.pollers.samples import Samples
from app.pollers.schedule import Schedule
from app.pollers.walk import AT_ONCE, Round, Walk
from libvirt_amqp.errors import Busy, LibvirtLost

log = structlog.get_logger()

_SHORTEST_PATIENCE, _LONGEST_PATIENCE, _PART_OF_INTERVAL = 0.2, 1.0, 0.1
"""Seconds that one domain may take: a tenth of the interval between these."""


Show = Callable[[str, dict[str, Any]], None]
"""Takes the kind of a sample and its data, for whoever shows them elsewhere."""


@dataclass(frozen=True)
class Shape:
    """What its messages are called: `event` on a domain's key, or on the host's when all domains are in one."""

    event: str
    host_event: str
    is_per_host: bool


class Poller:
    """Beats when its schedule says so, and does nothing while libvirt is away."""

    def __init__(  # noqa: PLR0913 (its parts)
        self,
        hypervisor: Hypervisor,
        clock: DaemonClock,
        schedule: Schedule,
        allowed: float,
        walk: Walk,
        latest: Latest,
        samples: Samples,
        shape: Shape,
        after: Callable[[Round], None] = lambda _done: None,
        show: Show | None = None,
    ) -> None:
        """`after` is called on the loop with every round, when its domains have been told."""
        self._hypervisor = hypervisor
        self._clock = clock
        self.schedule = schedule
        self.budget = Budget(schedule.interval, allowed, schedule.longest_factor)
        self._walk = walk
        self._latest = latest
        self._samples = samples
        self._shape = shape
        self._after = after
        self._show = show
        self.is_bulk = False
        """Whether all domains are asked in one call."""
        self._is_given_up = False
        """Whether that call has hung since the calls were compared."""
        self._not_supported_since: Any = None
        self._telling_took = 0.0
        """Seconds of CPU, in the last round."""

    @property
    def call(self) -> str:
        """The function of libvirt that is asked."""
        return self._walk.call_of(is_bulk=self.is_bulk)

    def can_take_up(self) -> bool:
        """Say, once, whether the call for all domains that was given up has come back."""
        is_back = self._is_given_up and not self._walk.is_bulk_hung
        self._is_given_up &= not is_back
        return is_back

    async def beat(self) -> None:
        """Make one round."""
        since = self._hypervisor.since
        if not self._hypervisor.connected or self._not_supported_since == since:
            return
        before, begun = self._clock.read(), time.monotonic()
        try:
            done = await self._round()
        except (LibvirtLost, ConnectionDied, Busy):
            return  # said once by whoever watches the connection, or stopping
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                raise
            self._not_supported_since = since
            log.warning("not_supported", poller=self.schedule.name, call=self.call)
            return
        after, worked = self._clock.read(), time.monotonic() - begun - done.waited
        by_libvirtd = after - before if before is not None and after is not None else 0.0
        # One call at a time: what libvirtd used beyond the time that we worked was for others.
        self._pay(done.cpu + self._telling_took + min(by_libvirtd, max(0.0, worked)))
        begun = time.thread_time()
        self._tell(done)
        self._telling_took = time.thread_time() - begun

    async def _round(self) -> Round:
        interval = self.schedule.interval_in_force
        patience = min(max(_SHORTEST_PATIENCE, interval * _PART_OF_INTERVAL), _LONGEST_PATIENCE)
        done = await self._walk.round(patience, interval, interval / 2 if self.is_bulk else 0)
        if AT_ONCE in done.left:
            self.is_bulk, self._is_given_up = False, True  # somebody hangs
        return done

    def _tell(self, done: Round) -> None:
        known = self._latest.take(done, self.schedule.interval_in_force)
        if self._show is not None:
            for one in known:
                self._show(f"domain.{self._shape.event}", one.members())
        told, is_full = self._latest.changed(known)
        lives = self.schedule.interval_in_force
        if self._shape.is_per_host and (told or done.is_listed):
            data = {"call": self.call, "full": is_full}
            self._samples.of_host(self._shape.host_event, told, data, lives)
        elif not self._shape.is_per_host:
            self._samples.of_domains(self._shape.event, told, lives)
        self._after(done)

    def _pay(self, cpu: float) -> None:
        """Take what the round cost into account, and stretch the interval, or let it get shorter again."""
        if self.budget.spend(cpu):
            self.schedule.factor = self.budget.factor
            log.warning(
                "interval_changed",
                poller=self.schedule.name,
                interval=self.schedule.interval,
                interval_in_force=self.schedule.interval_in_force,
                round_cpu_ms=self._round_cpu_ms,
            )

    @property
    def _round_cpu_ms(self) -> float:
        return round(self.budget.round_cpu * 1e3, 3)

    def health(self) -> dict[str, Any]:
        """Return what it costs and how it goes, as in a heartbeat: seconds, ms of CPU, shares of one CPU."""
        return {
            "interval": self.schedule.interval,
            "interval_in_force": self.schedule.interval_in_force,
            "call": self.call,
            "round_cpu_ms": self._round_cpu_ms,
            "share": round(self.budget.share, 6),
            "skipped": self.schedule.skipped,
            "stale": self._latest.stale,
            "listed": self._latest.is_listed,
        }
