"""`libvirt-amqp call`: one function of libvirt on one object of one host."""

import json
import re
from pathlib import Path
from typing import Any

import click

from libvirt_amqp import catalogue
from libvirt_amqp.cli import SECONDS, broker_again, run
from libvirt_amqp.cli.objects import resolve
from libvirt_amqp.client import connect


@click.command("call")
@click.argument("host")
@click.argument("object_", metavar="OBJECT")
@click.argument("method")
@click.argument("arguments", metavar="[NAME=VALUE]...", nargs=-1)
@click.option(
    "--timeout", type=SECONDS, default=60.0, show_default=True, help="Seconds within which the call has to start."
)
@click.option("--raw", is_flag=True, help="Print a string as it is (XML), not as JSON.")
@click.option("--progress", is_flag=True, help="Tell on stderr how it goes, and wait for a job that the call starts.")
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
    progress: bool,
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
    libvirt-amqp call any domain/web virDomainGetState          on whichever host it is
    libvirt-amqp call --progress host1 domain/web virDomainMigrateToURI3 \\
        dconnuri=qemu+tls://host2/system params={} flags=VIR_MIGRATE_LIVE|VIR_MIGRATE_PEER2PEER
    """  # noqa: D301 (click's mark for a paragraph that is not wrapped again)
    params = dict(read_argument(text, method) for text in arguments)
    run(_call(broker, host, object_, method, params, timeout, raw=raw, progress=progress))


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
    progress: bool,
) -> None:
    async with connect(broker, "libvirt-amqp call") as client:
        address = await resolve(client, host, object_)
        result = await client.call(address, method, params, timeout=timeout, progress=_tell if progress else None)
    click.echo(result if raw and isinstance(result, str) else json.dumps(result, indent=2, ensure_ascii=False))


def _tell(news: dict[str, Any]) -> None:
    """Print one line of a call's progress on stderr."""
    job = news["job"] or {}
    figures = job.get("params", job)
    shown = "  ".join(f"{name}={value}" for name, value in figures.items() if value)
    click.echo(f"{news['elapsed']:8.1f} s  {news['state']:8}  {shown}", err=True)
