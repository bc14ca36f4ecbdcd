"""What is cheap by design, on a schedule: virDomainGetInfo of every active domain, and the host's own figures.

XML is never fetched.  A domain that vanishes between listing and asking is normal and leaves no trace.
"""

import contextlib
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import libvirt
import structlog

from app.hypervisor import ConnectionDied, Hypervisor, identity
from libvirt_amqp.catalogue import Catalogue
from libvirt_amqp.errors import Busy, LibvirtLost
from libvirt_amqp.keys import Address
from libvirt_amqp.messages import cloud_event, timestamp
from libvirt_amqp.objects import Identity

log = structlog.get_logger()

INFO_FIELDS = ("state", "maxMem", "memory", "nrVirtCpu", "cpuTime")
"""virDomainInfo, in the order of the C struct: an enum, KiB, KiB, a count, nanoseconds."""

Publish = Callable[[str, bytes, float], None]
"""Key, body and seconds to live."""

Seen = Callable[[list[tuple[Identity, int]], set[str]], None]
"""The active domains with their virDomainState, and the uuids of those that did not answer."""

Take = Callable[[str, dict[str, Any]], None]
"""The kind and the data of a message, as published: for whoever shows them elsewhere."""


class Round(NamedTuple):
    """What one round read."""

    time: str
    domains: list[tuple[Identity, list[int]]]
    unread: set[str]
    """The uuids of active domains that did not answer."""
    host: dict[str, Any]


class Statistics:
    """One round after the other, each a single job on the polling lane's own connection."""

    def __init__(  # noqa: PLR0913 (what a round needs)
        self,
        hypervisor: Hypervisor,
        host: str,
        epoch: int,
        interval: float,
        catalogue: Catalogue,
        publish: Publish,
        seen: Seen,
        take: Take | None = None,
    ) -> None:
        self._hypervisor = hypervisor
        self._host = host
        self._epoch = epoch
        self._interval = interval
        self._states = catalogue.names("virDomainState")
        self._publish = publish
        self._seen = seen
        self._take = take
        self._sample = 0

    async def beat(self) -> None:
        """Read and publish one round; nothing while libvirt is away."""
        if not self._hypervisor.connected or self._hypervisor.facts is None:
            return
        local = self._hypervisor.facts.is_local
        try:
            done: Round = await self._hypervisor.call(lambda connection: read_round(connection, self._host))
        except (LibvirtLost, ConnectionDied, Busy):
            return  # said once by whoever watches the connection, or stopping
        self._seen([(whose, info[0]) for whose, info in done.domains], done.unread)
        for whose, info in done.domains:
            data = {"object": whose, **dict(zip(INFO_FIELDS, info, strict=True))}
            data["names"] = {"state": self._states.get(info[0])}
            self._send(Address(self._host, "domain", (whose["uuid"],)), "domain.info", data, done.time)
        data = {"object": {"class": "connect", "host": self._host}, **done.host}
        if local:
            data["loadavg"] = list(os.getloadavg())
        self._send(Address(self._host, "connect"), "connect.info", data, done.time)

    def _send(self, address: Address, kind: str, data: dict[str, Any], time: str) -> None:
        self._sample += 1
        event_id = f"{self._epoch:010d}-sample-{self._sample}"
        body = cloud_event(address, kind, data, event_id=event_id, time=time)
        self._publish(address.key("info"), body, self._interval)
        if self._take is not None:
            self._take(kind, data)


def read_round(connection: libvirt.virConnect, host: str) -> Round:
    """In a worker thread: list the active domains and ask each one; then the host."""
    now = timestamp()
    domains: list[tuple[Identity, list[int]]] = []
    unread: set[str] = set()
    for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        try:
            info: Any = domain.info()
        except libvirt.libvirtError:
            unread.add(domain.UUIDString())
        else:
            domains.append((identity(domain, host), info))
    return Round(now, domains, unread, _host_figures(connection))


def _host_figures(connection: libvirt.virConnect) -> dict[str, Any]:
    """Return the figures under the names of the functions that gave them: bytes, and nanoseconds since boot.

    A driver without an answer (Xen has no virNodeGetCPUStats) leaves its figure out.
    """
    figures: dict[str, Any] = {}
    with contextlib.suppress(libvirt.libvirtError):
        # The binding answers 0 for an error here.
        figures["virNodeGetFreeMemory"] = connection.getFreeMemory() or None
    with contextlib.suppress(libvirt.libvirtError):
        figures["virNodeGetCPUStats"] = connection.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS)
    return {name: value for name, value in figures.items() if value is not None}
