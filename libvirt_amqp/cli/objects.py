"""Objects as people write them: CLASS/IDENTITY, with names instead of uuids, on a host or on whichever has it."""

import re

import click

from libvirt_amqp.client import Client
from libvirt_amqp.errors import LibvirtFailed
from libvirt_amqp.keys import ANY, Address
from libvirt_amqp.objects import CLASSES, ObjectClass

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LOOKUPS = {
    "domain": "virDomainLookupBy",
    "network": "virNetworkLookupBy",
    "storage-pool": "virStoragePoolLookupBy",
    "nwfilter": "virNWFilterLookupBy",
    "secret": "virSecretLookupBy",
}
"""By class with a uuid: what its lookups begin with; a secret has no name."""
_PARENTS = {"pool": "storage-pool", "domain": "domain", "network": "network"}


async def resolve(client: Client, host: str, text: str) -> Address:
    """Return the address of an object as people write it; names are looked up on the host."""
    name, _, rest = text.partition("/")
    cls = CLASSES.get(name)
    if cls is None:
        raise click.UsageError(f"{name!r} is no class of objects ({', '.join(CLASSES)} are)")
    parts = rest.split("/", 1) if cls.parent is not None else [rest] if rest else []
    if len(parts) != cls.words or not all(parts):
        raise click.UsageError(f"{text!r}: a {name} is written {_written(cls)}")
    if cls.parent is not None:
        parent = await _find(client, host, _PARENTS[cls.parent], parts[0])
        own = parts[1].lower() if cls.word == "uuid" else parts[1]
        return Address(parent.host, name, (*parent.words, own))
    if cls.word == "uuid":
        return await _find(client, host, name, parts[0])
    if host == ANY and parts:
        raise click.UsageError(f"on any host only {', '.join(_LOOKUPS)} and what belongs to one can be found")
    return Address(host, name, tuple(parts))


def _written(cls: ObjectClass) -> str:
    """Return how people write an object of a class: `domain-snapshot/<name, uuid or id>/<name>`."""
    by_name = dict.fromkeys(_LOOKUPS, "<name or uuid>") | {"domain": "<name, uuid or id>", "secret": "<uuid>"}
    parent = [by_name[_PARENTS[cls.parent]]] if cls.parent is not None else []
    own = [by_name.get(cls.name, f"<{cls.word}>")] if cls.word is not None else []
    return "/".join((cls.name, *parent, *own))


async def _find(client: Client, host: str, cls: str, text: str) -> Address:
    """Return the address of an object given by uuid, id (a domain's) or name, tried in this order."""
    if _UUID.fullmatch(text) and host != ANY:
        return Address(host, cls, (text.lower(),))
    if _UUID.fullmatch(text):
        return await _look_up(client, host, cls, "UUIDString", {"uuidstr": text.lower()})
    if cls == "secret":
        raise click.UsageError("a secret is named by its uuid")
    if cls == "domain" and text.isdigit() and host != ANY:
        try:
            return await _look_up(client, host, cls, "ID", {"id": int(text)})
        except LibvirtFailed:
            pass  # a name may consist of digits
    return await _look_up(client, host, cls, "Name", {"name": text})


async def _look_up(client: Client, host: str, cls: str, by: str, params: dict[str, str | int]) -> Address:
    identity = await client.call(Address(host, "connect"), _LOOKUPS[cls] + by, params)
    return Address.of(identity)
