"""`libvirt-amqp watch`: what comes over the bus, live, for people or as JSON lines."""

import asyncio
import re
import time
from typing import Any

import click
import orjson

from libvirt_amqp.broker import BrokerUnavailable
from libvirt_amqp.cli import broker_again, kinds, run
from libvirt_amqp.client import Message, connect
from libvirt_amqp.keys import ANY, EVENTS, STATS, encode_word, is_of
from libvirt_amqp.objects import CLASSES

RECONNECT_SECONDS = 1.0
REFUSED_WITHIN_SECONDS = 1.0
"""A broker that does not let us listen says so at once; after that it is a broker that was lost."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WORD = re.compile(r"[a-z0-9-]+")


@click.command("watch")
@click.option("--host", help="Only this host.")
@click.option("--class", "cls", metavar="CLASS", help="Only objects of this class: domain, network, ...; agent.")
@click.option("--object", "object_", metavar="NAME|UUID", help="Only this object.")
@click.option("--event", help="Only this event: lifecycle, reboot, ...; info and heartbeat are statistics.")
@click.option("--events", "only", flag_value=EVENTS, help="Only events, no statistics.")
@click.option("--stats", "only", flag_value=STATS, help="Only statistics and heartbeats.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: exchange, key and the CloudEvent.")
@broker_again
@click.pass_obj
def command(  # noqa: PLR0913 (an option each)
    broker: str,
    host: str | None,
    cls: str | None,
    object_: str | None,
    event: str | None,
    only: str | None,
    *,
    as_json: bool,
) -> None:
    """Show events, statistics and heartbeats as they come.  Ends with Ctrl-C; a lost broker is waited for.

    \b
    libvirt-amqp watch --host host1 --class domain --event lifecycle
    libvirt-amqp watch --object web --json
    """  # noqa: D301 (click's mark for a paragraph that is not wrapped again)
    exchanges = [only] if only else [EVENTS, STATS]
    if host is not None and host in {"", ANY}:
        raise click.UsageError(f"--host {host!r}: no host has this name")
    check_filters(exchanges, cls, object_, event)
    if object_ is not None and _UUID.fullmatch(object_.lower()):
        object_ = object_.lower()
    key = f"{encode_word(host) if host else '*'}.{cls or '*'}.#"
    run(_watch(broker, {exchange: [key] for exchange in exchanges}, object_, event, as_json=as_json))


def check_filters(exchanges: list[str], cls: str | None, object_: str | None, event: str | None) -> None:
    """Refuse filters that nothing can pass; an event that only a newer libvirt may have is waited for, with a word."""
    names: dict[str, set[str]] = {}
    for exchange in exchanges:
        for name, events in kinds.known(exchange).items():
            names[name] = names.get(name, set()) | events
    if cls is not None and cls not in names:
        raise click.UsageError(f"--class {cls!r}: nothing comes of this class (of {', '.join(sorted(names))} it does)")
    classes = {cls} if cls is not None else set(names)
    if object_ is not None:
        _check_object(object_, classes)
        classes = {name for name in classes if CLASSES[name].word}
    if event is None or any(event in names[name] for name in classes):
        return
    there = ", ".join(sorted(set().union(*(names[name] for name in classes))))
    if EVENTS not in exchanges or not classes & kinds.OPEN or not _WORD.fullmatch(event):
        raise click.UsageError(f"--event {event!r}: there is none (known: {there})")
    click.echo(
        f"libvirt-amqp: no event {event!r} is known, only a newer libvirt may have it (known: {there})", err=True
    )


def _check_object(text: str, classes: set[str]) -> None:
    name, slash, rest = text.partition("/")
    if not text:
        raise click.UsageError("--object: a name or uuid is needed")
    if slash and name in CLASSES:
        raise click.UsageError(f"--object {text!r}: write --class {name} --object {rest}")
    if not any(CLASSES[name].word for name in classes):
        raise click.UsageError(f"--object: every host has one {' and one '.join(sorted(classes))}, without a name")
    if classes == {"secret"} and not _UUID.fullmatch(text.lower()):
        raise click.UsageError(f"--object {text!r}: a secret is named by its uuid")


async def _watch(
    broker: str,
    bindings: dict[str, list[str]],
    object_: str | None,
    event: str | None,
    *,
    as_json: bool,
) -> None:
    listening_from: float | None = None
    while True:
        try:
            async with connect(broker, "libvirt-amqp watch") as client:
                listening_from = listening_from or time.monotonic() + REFUSED_WITHIN_SECONDS
                async for message in client.subscribe(bindings):
                    if is_wanted(message, object_, event):
                        click.echo(as_line(message) if as_json else as_text(message))
        except BrokerUnavailable as error:
            if listening_from is None or time.monotonic() < listening_from:
                raise
            click.echo(f"libvirt-amqp: {error}; trying again", err=True)
            await asyncio.sleep(RECONNECT_SECONDS)


def is_wanted(message: Message, object_: str | None, event: str | None) -> bool:
    """Say whether a message is of the host that it names, and passes the filters that a binding key cannot express."""
    identity = message.body["data"]["object"]
    if not is_of(message.key, identity["host"]):
        return False
    if object_ is not None and object_ not in {identity.get("name"), identity.get("uuid")}:
        return False
    return event is None or message.body["type"].rpartition(".")[2] == event


def as_line(message: Message) -> str:
    """Return a message as one line of JSON."""
    return orjson.dumps(message._asdict()).decode()


def as_text(message: Message) -> str:
    """Return a message as people read it: time, host, object, what happened."""
    body = message.body
    data = body["data"]
    identity = data["object"]
    time = body["time"][11:23]
    kind = body["type"].removeprefix("org.libvirt.").partition(".")[2]
    name = identity.get("name") or identity.get("uuid") or ""
    what = f"{identity['class']} {name}".strip()
    return f"{time}  {identity['host']:<16} {what:<24} {_happened(kind, message, data)}"


def _happened(kind: str, message: Message, data: dict[str, Any]) -> str:
    if kind == "info":
        return f"info       {_age(data)}{_figures(data)}".rstrip()
    if "domains" in data:
        return f"{kind:<10} {len(data['domains'])} domains, part {data['part']} of {data['parts']}"
    if kind == "stats":
        return f"stats      {_age(data)}{' '.join(f'{k}={v}' for k, v in data.get('stats', {}).items())}".rstrip()
    if kind == "heartbeat":
        libvirt = "libvirt connected" if data["libvirt"]["connected"] else "LIBVIRT NOT CONNECTED"
        return f"heartbeat  {data['counter']}, {libvirt}, agent {data['versions']['agent']}"
    if kind == "lifecycle":
        word, detail = message.key.rpartition(".")[2], data["names"].get("detail")
        return f"{word:<10} {_short(detail).removeprefix(f'{word}-') if detail else ''}".rstrip()
    fields = {k: v for k, v in data.items() if k not in {"object", "names", "versions", "instance"} and v is not None}
    fields |= {k: _short(v) for k, v in data.get("names", {}).items() if v}
    return f"{kind:<10} {' '.join(f'{k}={v}' for k, v in fields.items())}".rstrip()


def _age(data: dict[str, Any]) -> str:
    """Say that figures are old: their domain did not answer."""
    if not data.get("stale"):
        return ""
    return "NO ANSWER" if data["age"] is None else f"NO ANSWER for {data['age']:.0f} s: "


def _figures(data: dict[str, Any]) -> str:
    if "cpuTime" in data:
        state = _short(data["names"]["state"] or str(data["state"]))
        memory = f"{data['memory'] / 1024:.0f} of {data['maxMem'] / 1024:.0f} MiB"
        return f"{state}, {data['nrVirtCpu']} vCPU, {memory}, {data['cpuTime'] / 1e9:.1f} s CPU"
    parts = []
    if "virNodeGetFreeMemory" in data:
        parts.append(f"{data['virNodeGetFreeMemory'] / 2**20:.0f} MiB free")
    if "loadavg" in data:
        parts.append("load " + " ".join(f"{value:.2f}" for value in data["loadavg"]))
    return ", ".join(parts)


def _short(name: str) -> str:
    """Return a C constant as a person reads it: its last word or two in lower case."""
    return name.removeprefix("VIR_DOMAIN_EVENT_").removeprefix("VIR_DOMAIN_").lower().replace("_", "-")
