"""What can come over the bus, by exchange and class: so that `watch` does not wait in silence for what never comes."""

from libvirt_amqp import catalogue
from libvirt_amqp.keys import EVENTS, STATS

_IDS = {
    "domain": ("virDomainEventID", "VIR_DOMAIN_EVENT_ID_"),
    "network": ("virNetworkEventID", "VIR_NETWORK_EVENT_ID_"),
    "storage-pool": ("virStoragePoolEventID", "VIR_STORAGE_POOL_EVENT_ID_"),
    "node-device": ("virNodeDeviceEventID", "VIR_NODE_DEVICE_EVENT_ID_"),
    "secret": ("virSecretEventID", "VIR_SECRET_EVENT_ID_"),
}
"""The classes whose events libvirt announces: the C enum of their ids, and the prefix of its constants."""

_OWN = {
    EVENTS: {"agent": {"started", "stopping", "libvirt-lost", "libvirt-found", "gap"}},
    STATS: {"domain": {"info"}, "connect": {"info"}, "agent": {"heartbeat"}},
}
"""What the agent says of itself and by its own schedule."""

OPEN = frozenset(_IDS)
"""Classes that may have events which this version has not heard of: a newer libvirt's are published under its names."""


def known(exchange: str) -> dict[str, set[str]]:
    """Return class -> names of what is published to an exchange."""
    if exchange == STATS:
        return dict(_OWN[STATS])
    enums = catalogue.load().enums
    names = {cls: {_name(constant, prefix) for constant in enums[enum]} for cls, (enum, prefix) in _IDS.items()}
    return names | _OWN[EVENTS]


def _name(constant: str, prefix: str) -> str:
    """Return an event's name as virsh writes it: PMSUSPEND_DISK is pm-suspend-disk there."""
    words = constant.removeprefix(prefix).lower().split("_")
    if words[0] in {"pmsuspend", "pmwakeup"}:
        words[0] = f"pm-{words[0][2:]}"
    return "-".join(words)
