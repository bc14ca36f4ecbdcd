"""What can come over the bus, by exchange and class: so that `watch` does not wait in silence for what never comes."""

from libvirt_amqp import catalogue
from libvirt_amqp.events import SOURCES, event_name
from libvirt_amqp.keys import EVENTS, STATS

_OWN = {
    EVENTS: {"agent": {"started", "stopping", "libvirt-lost", "libvirt-found", "gap"}},
    STATS: {"domain": {"info", "stats"}, "connect": {"info", "domains", "stats"}, "agent": {"heartbeat"}},
}
"""What the agent says of itself and by its own schedule."""

OPEN = frozenset(source.cls for source in SOURCES)
"""Classes that may have events which this version has not heard of: a newer libvirt's are published under its names."""


def known(exchange: str) -> dict[str, set[str]]:
    """Return class -> names of what is published to an exchange."""
    if exchange == STATS:
        return dict(_OWN[STATS])
    constants = catalogue.load().constants
    names = {
        source.cls: {event_name(source, constant) for constant in constants if constant.startswith(source.constants)}
        for source in SOURCES
    }
    return names | _OWN[EVENTS]
