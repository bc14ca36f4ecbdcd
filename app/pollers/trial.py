"""Which call gives the five figures for less: measured on every connection, by asking the driver, not by its name.

Where libvirtd is seen from here its CPU counts, else the time that passes.  On QEMU the bulk call costs four times as
much, because it asks the guest's monitor (libvirt 9.0); a long way to libvirt turns that round, as each call pays it.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import libvirt

from app.hypervisor import DaemonClock
from app.pollers.figures import BULK_GROUPS, five_of

SAMPLE = 10
"""Domains that are asked: enough to compare, and no burden where the bulk call costs 2.5 ms a guest."""
TIMES = 3
CLEARLY = 0.5
"""The bulk call waits for a guest that hangs, so it has to cost less than this part of the other."""

_FLAGS = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS


class Trial(NamedTuple):
    """What both ways cost for the same domains: seconds, of CPU or of time."""

    domains: int
    info: float
    bulk: float | None
    """None: the driver does not give all five figures in bulk, or not the same."""
    is_cpu: bool

    @property
    def is_for_bulk(self) -> bool:
        """Whether the bulk call is clearly cheaper."""
        return self.bulk is not None and self.bulk < self.info * CLEARLY

    def as_fields(self) -> dict[str, Any]:
        """Return it for a log line, in ms."""
        bulk_ms = None if self.bulk is None else round(self.bulk * 1e3, 3)
        measured = "cpu" if self.is_cpu else "elapsed"
        return {"domains": self.domains, "info_ms": round(self.info * 1e3, 3), "bulk_ms": bulk_ms, "measured": measured}


def compare(connection: libvirt.virConnect, clock: DaemonClock) -> Trial | None:
    """In a worker thread: try both; None when there is no domain to try them on.  Raises libvirtError."""
    domains = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)[:SAMPLE]
    if not domains:
        return None
    now, is_cpu = _meter(clock)
    if not _is_equivalent(connection, domains):
        return Trial(len(domains), 0, None, is_cpu)
    info = _least(lambda: [domain.info() for domain in domains], now)
    bulk = _least(lambda: connection.domainListGetStats(domains, BULK_GROUPS, _FLAGS), now)
    return Trial(len(domains), info, bulk, is_cpu)


def _meter(clock: DaemonClock) -> tuple[Callable[[], float], bool]:
    if clock.read() is None:
        return time.monotonic, False
    return lambda: time.thread_time() + (clock.read() or 0), True


def _is_equivalent(connection: libvirt.virConnect, domains: list[libvirt.virDomain]) -> bool:
    """Say whether the bulk call gives the same five figures; the last one grows from call to call."""
    before: list[Any] = [domain.info() for domain in domains]
    try:
        records = connection.domainListGetStats(domains, BULK_GROUPS, _FLAGS)
    except libvirt.libvirtError:
        if not connection.isAlive():
            raise
        return False
    after: list[Any] = [domain.info() for domain in domains]
    given = [five_of(params) for _, params in records]
    return len(given) == len(domains) and all(
        values is not None and values[:-1] in (old[:-1], new[:-1]) and old[-1] <= values[-1] <= new[-1]
        for values, old, new in zip(given, before, after, strict=True)
    )


def _least(ask: Callable[[], Any], now: Callable[[], float]) -> float:
    """Return what asking costs at its cheapest: another one's work in libvirtd only adds."""
    costs = []
    for _ in range(TIMES):
        begun = now()
        ask()
        costs.append(now() - begun)
    return min(costs)
