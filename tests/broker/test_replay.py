"""docs/subscribing.md: a queue on the exchange keeps the last day, and is read again from any moment.

A stream queue on RabbitMQ; on Broker-J a ring that readers take nothing out of.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from conftest import TEST_UUID, Start, eventually
from followed import A, cut, following
from hand_made import hand_made
from line import Line
from queues import declare

from libvirt_amqp.client import connect
from libvirt_amqp.fleet import Event, Missed, Snapshot
from libvirt_amqp.keys import Address

STREAMS: dict[str, dict[str, Any]] = {
    "rabbitmq": {"x-queue-type": "stream", "x-max-age": "1D", "x-stream-max-segment-size-bytes": 50_000_000},
    "brokerj": {
        "qpid.ensure_nondestructive_consumers": True,
        "qpid.policy_type": "RING",
        "qpid.max_count": 1_000_000,
    },
}
DAY = timedelta(days=1)


@pytest.fixture
def stream(broker_kind: str) -> dict[str, Any]:
    """Return the arguments of a queue that can be read again."""
    return STREAMS["brokerj" if broker_kind == "brokerj" else "rabbitmq"]


@pytest.mark.feature("what nobody heard is replayed from a queue that keeps the last day")
async def test_what_an_agent_published_while_nobody_listened_is_replayed(
    broker_url: str, stream: dict[str, Any], start_agent: Start, record_property: Callable[[str, object], None]
) -> None:
    await declare(broker_url, "day", "#", **stream)
    await start_agent("h1", broker_url=broker_url)
    domain = Address("h1", "domain", (TEST_UUID,))
    async with connect(broker_url) as client:
        for _ in range(10):
            await client.call(domain, "virDomainSuspend")
            await client.call(domain, "virDomainResume")
    for _ in range(2):
        async with following(broker_url, hosts=["h1"], queue="day", replay=DAY) as followed:
            await eventually(lambda f=followed: len([e for e in f.of(Event) if e.type == "domain.lifecycle"]) == 20)
            assert followed.happened("h1")[:2] == ["started", "libvirt-found"]
            assert followed.happened("h1")[-2:] == ["suspended", "resumed"]
            assert followed.of(Missed) == []
    record_property("cell", f"`{', '.join(f'{name}={value}' for name, value in stream.items())}`")


async def test_a_replay_goes_on_with_what_comes(broker_url: str, stream: dict[str, Any]) -> None:
    await declare(broker_url, "on", "m1.#", **stream)
    async with hand_made(broker_url, "m1") as host:
        host.change(A, active=True)
        async with following(broker_url, queue="on", replay=DAY) as followed:
            await followed.count(Event, 1)
            host.change(A, active=False)
            await followed.count(Event, 2)
            host.beat()
            await followed.count(Snapshot, 1)
            assert followed.table == {"m1": host.states}


async def test_a_cut_replay_goes_on_where_it_was(broker_url: str, stream: dict[str, Any]) -> None:
    await declare(broker_url, "cut", "m2.#", **stream)
    async with hand_made(broker_url, "m2") as host, Line(broker_url) as line:
        for number in range(500):
            host.change(A, active=number % 2 == 0)
        async with following(line.url, hosts=["m2"], queue="cut", replay=DAY, limit=50) as followed:
            for count in (100, 300):
                await followed.count(Event, count)
                cut(line)
            await followed.count(Event, 500)
            assert [e.sequence for e in followed.of(Event)] == [f"0000000001-{n:015}" for n in range(1, 501)]
            assert followed.of(Missed) == []


async def test_what_is_older_than_the_replay_does_not_come(broker_url: str, stream: dict[str, Any]) -> None:
    await declare(broker_url, "old", "m3.#", **stream)
    async with hand_made(broker_url, "m3") as host:
        host.change(A, active=True)
        async with following(broker_url, hosts=["m3"], queue="old", replay=DAY) as followed:
            await followed.count(Event, 1)
        later = time.time() + 2  # the broker knows whole seconds
        await eventually(lambda: time.time() > later)
        async with following(broker_url, hosts=["m3"], queue="old", replay=timedelta(seconds=1)) as followed:
            await eventually(lambda: host.asked >= 2)
            host.change(A, active=False)
            await followed.count(Event, 1)
            assert followed.happened("m3") == ["stopped"]
