"""From a libvirt object to its identity, without a round trip wherever the handle knows it.

Safe in an event callback for every class that has events (domain, network, storage-pool, node-device, secret): these
answer name, uuid and id locally, even while the daemon is frozen.
"""

import base64
from collections.abc import Callable
from typing import Any

import libvirt

from libvirt_amqp.objects import Identity


def identity(handle: Any, host: str) -> Identity:
    """Return the identity of a libvirt object.  Raises KeyError for what is none."""
    name, members = _MEMBERS[type(handle)]
    return {"class": name, "host": host, **members(handle, host)}


def text(read: Callable[[], str]) -> str | dict[str, str]:
    """Return what a method of the binding returns; what is not UTF-8, as any file's name may be, as bytes."""
    try:
        return read()
    except UnicodeDecodeError as error:
        return {"$base64": base64.b64encode(error.object).decode()}


def is_object(value: Any) -> bool:
    """Say whether a value is a libvirt object that has an identity."""
    return type(value) in _MEMBERS


def _uuid_and_name(handle: Any, _host: str) -> Identity:
    return {"uuid": handle.UUIDString(), "name": handle.name()}


def _domain(handle: libvirt.virDomain, _host: str) -> Identity:
    return {"uuid": handle.UUIDString(), "name": handle.name(), "id": handle.ID()}


def _snapshot(handle: libvirt.virDomainSnapshot, host: str) -> Identity:
    return {"domain": identity(handle.getDomain(), host), "name": handle.getName()}


def _network_port(handle: libvirt.virNetworkPort, host: str) -> Identity:
    network: Any = handle.network()  # type: ignore[no-untyped-call]  # the binding leaves it without annotations
    return {"network": identity(network, host), "uuid": handle.UUIDString()}


def _interface(handle: libvirt.virInterface, _host: str) -> Identity:
    return {"name": handle.name(), "mac": handle.MACString()}


def _storage_vol(handle: libvirt.virStorageVol, host: str) -> Identity:
    """Pool and path need a round trip each (0.1 ms); name and key do not."""
    pool = identity(handle.storagePoolLookupByVolume(), host)
    return {"pool": pool, "name": text(handle.name), "key": text(handle.key), "path": text(handle.path)}


def _secret(handle: libvirt.virSecret, _host: str) -> Identity:
    return {"uuid": handle.UUIDString(), "usageType": handle.usageType(), "usageID": handle.usageID()}


_MEMBERS: dict[type, tuple[str, Callable[[Any, str], Identity]]] = {
    libvirt.virConnect: ("connect", lambda _handle, _host: {}),
    libvirt.virDomain: ("domain", _domain),
    libvirt.virDomainSnapshot: ("domain-snapshot", _snapshot),
    libvirt.virDomainCheckpoint: ("domain-checkpoint", _snapshot),
    libvirt.virNetwork: ("network", _uuid_and_name),
    libvirt.virNetworkPort: ("network-port", _network_port),
    libvirt.virInterface: ("interface", _interface),
    libvirt.virStoragePool: ("storage-pool", _uuid_and_name),
    libvirt.virStorageVol: ("storage-vol", _storage_vol),
    libvirt.virNodeDevice: ("node-device", lambda handle, _host: {"name": handle.name()}),
    libvirt.virNWFilter: ("nwfilter", _uuid_and_name),
    libvirt.virNWFilterBinding: ("nwfilter-binding", lambda handle, _host: {"portdev": handle.portDev()}),
    libvirt.virSecret: ("secret", _secret),
}
