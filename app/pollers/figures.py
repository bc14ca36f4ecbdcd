"""The five figures of virDomainInfo, and the host's: how libvirt is asked for them."""

import contextlib
from collections.abc import Iterator
from typing import Any

import libvirt

from app.pollers.walk import Figures, Source
from libvirt_amqp.catalogue import Catalogue

FIELDS = ("state", "maxMem", "memory", "nrVirtCpu", "cpuTime")
"""virDomainInfo, in the order of the C struct: an enum, KiB, KiB, a count, nanoseconds."""
PARAMETERS = ("state.state", "balloon.maximum", "balloon.current", "vcpu.current", "cpu.time")
"""The same figures in libvirt's bulk statistics."""
BULK_GROUPS = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_VCPU
)
_BULK_FLAGS = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT

INFO, BULK = "virDomainGetInfo", "virConnectGetAllDomainStats"


class Five:
    """Asks for the five figures, either way."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._states = catalogue.names("virDomainState")

    def source(self) -> Source:
        """Return how a walk asks."""
        return Source(INFO, self._one, BULK, self._all, host_figures)

    def _one(self, _connection: libvirt.virConnect, domain: libvirt.virDomain) -> Figures | None:
        return self._named(domain.info())

    def _all(self, connection: libvirt.virConnect) -> Iterator[tuple[libvirt.virDomain, Figures | None]]:
        for domain, params in connection.getAllDomainStats(BULK_GROUPS, _BULK_FLAGS):
            values = five_of(params)
            yield domain, self._named(values) if values is not None else None

    def _named(self, values: Any) -> Figures | None:
        """Return the figures by their C names; None for a domain that has ended since it was listed."""
        state, max_mem, memory, cpus, cpu_time = values
        if state == libvirt.VIR_DOMAIN_SHUTOFF:
            return None
        return {
            "state": state,
            "maxMem": max_mem,
            "memory": memory,
            "nrVirtCpu": cpus,
            "cpuTime": cpu_time,
            "names": {"state": self._states.get(state)},
        }


def five_of(params: dict[str, Any]) -> list[int] | None:
    """Return the five figures of a record of bulk statistics; None when one is missing."""
    try:
        return [params[name] for name in PARAMETERS]
    except KeyError:
        return None


def host_figures(connection: libvirt.virConnect) -> Figures:
    """Return the host's figures under the names of the functions that gave them: bytes, and nanoseconds since boot.

    A driver without an answer (Xen has no virNodeGetCPUStats) leaves its figure out.
    """
    figures: Figures = {}
    with contextlib.suppress(libvirt.libvirtError):
        # The binding answers 0 for an error here.
        figures["virNodeGetFreeMemory"] = connection.getFreeMemory() or None
    with contextlib.suppress(libvirt.libvirtError):
        figures["virNodeGetCPUStats"] = connection.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS)
    return {name: value for name, value in figures.items() if value is not None}
