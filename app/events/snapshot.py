"""`<host>.agent.snapshot`: what is there and in which state, asked of libvirt now, with the sequence it is valid at."""

from collections.abc import Callable
from typing import Any

import libvirt
import structlog

from app.events.listing import list_class
from app.hypervisor import identity
from libvirt_amqp.catalogue import Catalogue
from libvirt_amqp.schema.agent import REASONS

log = structlog.get_logger()

Objects = list[dict[str, Any]]


class Snapshots:
    """`sequence` returns the last one that was given; whatever thread asks."""

    def __init__(self, host: str, catalogue: Catalogue, sequence: Callable[[], str]) -> None:
        self._host = host
        self._catalogue = catalogue
        self._sequence = sequence

    def take(self, connection: libvirt.virConnect, classes: tuple[str, ...]) -> dict[str, Any]:
        """In a worker thread: read the sequence first.

        Everything that was numbered by then had happened before, and is in the states; what happens from now on gets a
        later number, so that applying what is newer ends in the right state, even where a change is in both.

        Raises libvirtError when the connection is lost: a class that cannot be listed is unknown, a host is not.
        """
        last = self._sequence()
        objects: Objects = []
        unknown: list[str] = []
        for cls in classes:
            try:
                objects += self._domains(connection) if cls == "domain" else self._others(connection, cls)
            except (libvirt.libvirtError, ValueError) as error:
                if not connection.isAlive():
                    raise
                log.info("not_listed", objects=cls, reason=str(error))
                unknown.append(cls)
        return {"sequence": last, "objects": objects, "unknown": unknown}

    def _domains(self, connection: libvirt.virConnect) -> Objects:
        """Ask each one, because no listing has the reason."""
        everything = connection.listAllDomains(0)
        persistent = {d.UUID() for d in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_PERSISTENT)}
        return [one for d in everything if (one := self._domain(d, is_persistent=d.UUID() in persistent))]

    def _domain(self, domain: libvirt.virDomain, *, is_persistent: bool) -> dict[str, Any] | None:
        whose = identity(domain, self._host)
        try:
            state, reason = map(int, domain.state())
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:  # it went just now: its event says so
                return None
            raise
        name = self._catalogue.names("virDomainState").get(state)
        reasons = self._catalogue.names(REASONS.get(name or "", ""))
        names = {"state": name, "reason": reasons.get(reason)}
        known = {"state": state, "reason": reason, "active": whose["id"] != -1, "persistent": is_persistent}
        return {"object": whose, "state": {**known, "names": names}}

    def _others(self, connection: libvirt.virConnect, cls: str) -> Objects:
        listing = list_class(connection, self._host, cls)
        return [
            {"object": whose, "state": {m: getattr(state, m) for m in MEMBERS[cls]}}
            for whose, state in listing.seen.values()
        ]


MEMBERS = {
    "network": ("active", "persistent"),
    "storage-pool": ("active", "persistent"),
    "node-device": ("active",),
    "secret": (),
}
"""What a snapshot says of the objects of a class besides that they are there."""
