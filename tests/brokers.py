"""The brokers that the suite knows: how each is started, and which of them an address belongs to."""

import asyncio
from collections.abc import Callable, Iterable

import pytest
from private_brokerj import PrivateBrokerJ
from private_rabbitmq import PrivateRabbitMQ
from private_rabbitmq4 import PrivateRabbitMQ4

from libvirt_amqp.broker import Link, open_link

Broker = PrivateRabbitMQ | PrivateBrokerJ

KINDS: dict[str, Callable[[], Broker]] = {
    # AMQP 1.0 is a plugin of RabbitMQ 3 and a part of RabbitMQ 4 and Broker-J.
    "rabbitmq": lambda: PrivateRabbitMQ(plugins=("rabbitmq_amqp1_0",)),
    "rabbitmq4": PrivateRabbitMQ4,
    "brokerj": PrivateBrokerJ,
}
NAMES = {"rabbitmq": "RabbitMQ 3", "rabbitmq4": "RabbitMQ 4", "brokerj": "Broker-J"}

OWN = "own_broker"
"""The fixture of tests that kill, freeze or alarm the broker they use."""


def kind_of(link: Link) -> str:
    """Say which of the kinds a broker is, by what it says of itself."""
    if "rabbitmq" in link.product.lower():
        return "rabbitmq" if link.version.startswith("3.") else "rabbitmq4"
    return "brokerj"


def kind_at(url: str) -> str:
    """Connect to a broker that somebody else runs, and say which kind it is.  Raises BrokerUnavailable."""

    return kind_of(_ask(url))


def software_at(url: str) -> str:
    """Return a broker's name and version, as it says them."""
    link = _ask(url)
    return f"{link.product.removeprefix('Apache Qpid ').removesuffix(' Core')} {link.version}"


def _ask(url: str) -> Link:
    """Return a link that is closed again, and still knows what the broker said."""

    async def ask() -> Link:
        link = await open_link(url, "tests: which broker is it?")
        await link.close()
        return link

    return asyncio.run(ask())


def why_not(item: pytest.Item, kind: str, *, is_foreign: bool) -> str | None:
    """Say why a test cannot run on this broker; None: it can."""
    for mark in item.iter_markers("only"):
        if kind not in mark.args:
            return f"not on {NAMES[kind]}: {mark.kwargs['because']}"
    if is_foreign and OWN in getattr(item, "fixturenames", ()):
        return "not on a broker that is not ours: they kill, freeze or alarm it"
    return None


def divide(items: Iterable[pytest.Item], kind: str, *, is_foreign: bool) -> tuple[list[pytest.Item], dict[str, str]]:
    """Return the tests that can run, and for every other its id and why not."""
    kept: list[pytest.Item] = []
    left: dict[str, str] = {}
    for item in items:
        if reason := why_not(item, kind, is_foreign=is_foreign):
            left[item.nodeid] = reason
        else:
            kept.append(item)
    return kept, left
