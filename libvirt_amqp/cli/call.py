"""`libvirt-amqp call`: one function of libvirt on one object of one host."""

import json
import re
from pathlib import Path
from typing import Any

import click

from libvirt_amqp import catalogue
from libvirt_amqp.cli import SECONDS, broker_again, run
from libvirt_amqp.client import Client, connect
from libvirt_amqp.errors import LibvirtFailed
from libvirt_amqp.keys import Address
from libvirt_amqp.objects import CLASSES, ObjectClass, identity_words

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_BY_NAME = {
    "domain": "virDomainLookupByName",
    "network": "virNetworkLookupByName",
    "storage-pool": "virStoragePoolLookupByName",
    "nwfilter": "virNWFilterLookupByName",
}
_PARENTS = {"pool": "storage-pool", "domain": "domain", "network": "network"}


@click.command("call")
@click.argument("host")
@click.argument("object_", metavar="OBJECT")
@click.argument("method")
@click.argument("arguments", metavar="[NAME=VALUE]...", nargs=-1)
@click.option(
    "--timeout", type=SECONDS, default=60.0, show_default=True, help="Seconds within which the call has to start."
)
@click.option("--raw", is_flag=True, help="Print a string as it is (XML), not as JSON.")
@broker_again
@click.pass_obj
def command(  # noqa: PLR0913 (an option each)
    broker: str,
    host: str,
    object_: str,
    method: str,
    arguments: tuple[str, ...],
    timeout: float,
    *,
    raw: bool,
) -> None:
    """Call METHOD, a C function of libvirt, on an OBJECT of HOST and print its result as JSON.

    \b
    OBJECT   connect, agent, or CLASS/IDENTITY; DOMAIN, NETWORK, POOL are a name or a uuid, DOMAIN also an id:
             domain/DOMAIN  domain-snapshot/DOMAIN/NAME  domain-checkpoint/DOMAIN/NAME
             network/NETWORK  network-port/NETWORK/UUID  interface/NAME
             storage-pool/POOL  storage-vol/POOL/NAME  node-device/NAME  secret/UUID
             nwfilter/NAME  nwfilter/UUID  nwfilter-binding/PORTDEV
    VALUE    a string as it is; numbers, lists, objects as JSON; flags also by name, joined by |;
             @FILE for the contents of a file

    \b
    libvirt-amqp call host1 connect virConnectGetHostname
    libvirt-amqp call host1 domain/web virDomainGetXMLDesc flags=VIR_DOMAIN_XML_INACTIVE
    libvirt-amqp call host1 connect virDomainDefineXML xml=@web.xml
    libvirt-amqp call any connect virDomainLookupByName name=web
    """  # noqa: D301 (click's mark for a paragraph that is not wrapped again)
    params = dict(read_argument(text, method) for text in arguments)
    run(_call(broker, host, object_, method, params, timeout, raw=raw))


def read_argument(text: str, method: str) -> tuple[str, Any]:
    """Read NAME=VALUE as the type that the method has for NAME."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"{text!r} is not of the form NAME=VALUE")
    if value.startswith("@"):
        try:
            value = Path(value[1:]).read_text()
        except OSError as error:
            raise click.UsageError(f"{value[1:]}: {error.strerror}") from error
    function = catalogue.load().functions.get(method)
    kinds = {param.name: param.type for param in function.params} if function is not None else {}
    if kinds.get(name) == "string":
        return name, value
    if re.fullmatch(r"VIR_\w+(\|VIR_\w+)*", value):
        return name, _flags(value)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _flags(text: str) -> int:
    value = 0
    for name in text.split("|"):
        constant = catalogue.load().constants.get(name)
        if constant is None:
            raise click.UsageError(f"{name!r} is no constant of libvirt")
        value |= constant
    return value


async def _call(  # noqa: PLR0913 (the command's options)
    broker: str,
    host: str,
    object_: str,
    method: str,
    params: dict[str, Any],
    timeout: float,  # noqa: ASYNC109 (an option's value)
    *,
    raw: bool,
) -> None:
    async with connect(broker, "libvirt-amqp call") as client:
        address = await resolve(client, host, object_)
        result = await client.call(address, method, params, timeout=timeout)
    click.echo(result if raw and isinstance(result, str) else json.dumps(result, indent=2, ensure_ascii=False))


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
        parent = await _one(client, host, _PARENTS[cls.parent], parts[0])
        return Address(host, name, (parent, parts[1]))
    if not parts or cls.word != "uuid":
        return Address(host, name, tuple(parts))
    return Address(host, name, (await _one(client, host, name, parts[0]),))


def _written(cls: ObjectClass) -> str:
    """Return how people write an object of a class: `domain-snapshot/<name, uuid or id>/<name>`."""
    by_name = {name: "<name, uuid or id>" if name == "domain" else "<name or uuid>" for name in _BY_NAME}
    parent = [by_name[_PARENTS[cls.parent]]] if cls.parent is not None else []
    own = [by_name.get(cls.name, f"<{cls.word}>")] if cls.word is not None else []
    return "/".join((cls.name, *parent, *own))


async def _one(client: Client, host: str, cls: str, text: str) -> str:
    """Return the uuid of an object given by uuid, id (a domain's) or name, tried in this order."""
    if _UUID.fullmatch(text):
        return text.lower()
    if cls not in _BY_NAME:
        raise click.UsageError(f"a {cls} is named by its uuid")
    connection = Address(host, "connect")
    if cls == "domain" and text.isdigit():
        try:
            return identity_words(await client.call(connection, "virDomainLookupByID", {"id": int(text)}))[0]
        except LibvirtFailed:
            pass  # a name may consist of digits
    return identity_words(await client.call(connection, _BY_NAME[cls], {"name": text}))[0]
