"""Statistics of the test driver, over a broker, by every setting."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aio_pika
import libvirt
import pytest
from brokers import Broker
from conftest import TEST_UUID, Heard, Start, eventually, hearing
from contract import check_published
from private_rabbitmq import PrivateRabbitMQ

from libvirt_amqp.client import Client
from libvirt_amqp.keys import STATS, Address
from libvirt_amqp.messages import parse_time, timestamp

INFO = f"h1.domain.{TEST_UUID}.info"


@pytest.fixture
async def heard(broker_url: str) -> AsyncIterator[Heard]:
    """Yield what comes from the host; in the end all of it has to be as the contract says."""
    async with hearing(broker_url, "h1.#") as heard:
        yield heard
        for message in heard:
            check_published(message.body)


def of_key(heard: Heard, key: str) -> list[dict[str, Any]]:
    return [message.body for message in heard if message.key == key]


async def test_figures_name_the_call_that_gave_them_and_the_host_its_interval(heard: Heard, start_agent: Start) -> None:
    await start_agent()
    (figures, *_) = await heard.of_type("domain.info")
    assert figures.body["data"]["call"] == "virDomainGetInfo"
    (host, *_) = await heard.of_type("connect.info")
    assert (host.body["data"]["interval"], host.body["data"]["interval_in_force"]) == (0.5, 0.5)


async def test_a_heartbeat_says_what_polling_costs(heard: Heard, start_agent: Start) -> None:
    await start_agent()
    beats = await eventually(
        lambda: [m.body for m in heard if m.key == "h1.agent.heartbeat" and m.body["data"]["polling"]["share"] > 0]
    )
    polling = beats[0]["data"]["polling"]
    assert polling["ceiling"] == 1.0
    assert polling["round_cpu_ms"] > 0
    assert polling["share"] == pytest.approx(polling["round_cpu_ms"] / 1e3 / 0.5, abs=1e-5)
    assert (polling["stale"], polling["libvirtd"]) == (0, False)
    assert "groups" not in polling


async def test_a_ceiling_that_a_round_is_above_stretches_the_interval_and_every_message_says_so(
    heard: Heard, start_agent: Start
) -> None:
    await start_agent(stats_interval=0.1, stats_cpu_share=0.2)
    hosts = await eventually(
        lambda: [b for b in of_key(heard, "h1.connect.info") if b["data"]["interval_in_force"] > 0.1]
    )
    stretched = hosts[0]["data"]["interval_in_force"]
    assert stretched / 0.1 == pytest.approx(round(stretched / 0.1))
    assert hosts[0]["data"]["interval"] == 0.1
    beat = (await heard.of_type("agent.heartbeat", len(of_key(heard, "h1.agent.heartbeat")) + 1))[-1]
    assert beat.body["data"]["polling"]["interval_in_force"] > 0.1
    assert beat.body["data"]["polling"]["share"] <= 0.002


async def test_all_domains_of_a_host_come_in_one_message_where_that_is_wanted(heard: Heard, start_agent: Start) -> None:
    await start_agent(stats_per_host=True, stats_groups=("state",), stats_groups_interval=0.5)
    (message, *_) = await heard.of_type("connect.domains", 2)
    data = message.body["data"]
    assert message.key == "h1.connect.domains"
    assert data["object"] == {"class": "connect", "host": "h1"}
    assert (data["call"], data["part"], data["parts"], data["full"]) == ("virDomainGetInfo", 1, 1, True)
    (domain,) = [d for d in data["domains"] if d["object"]["uuid"] == TEST_UUID]
    assert (domain["names"], domain["nrVirtCpu"]) == ({"state": "VIR_DOMAIN_RUNNING"}, 2)
    (stats, *_) = await heard.of_type("connect.stats")
    assert stats.body["data"]["domains"][0]["stats"]["state.state"] == 1
    assert not [m.key for m in heard if ".domain." in m.key and m.exchange == STATS]


async def test_groups_come_under_libvirts_own_names(heard: Heard, start_agent: Start) -> None:
    await start_agent(stats_groups=("state", "vcpu"), stats_groups_interval=0.3)
    (message, *_) = [m for m in await heard.of_type("domain.stats") if m.body["data"]["object"]["uuid"] == TEST_UUID]
    assert message.key == f"h1.domain.{TEST_UUID}.stats"
    assert message.body["data"]["stats"] == {"state.state": 1, "state.reason": 0}, "what the test driver has of these"
    assert message.body["data"]["call"] == "virDomainListGetStats"
    beat = await eventually(
        lambda: [b for b in of_key(heard, "h1.agent.heartbeat") if b["data"]["polling"]["groups"]["share"]]
    )
    assert beat[0]["data"]["polling"]["groups"]["interval"] == 0.3


async def test_unchanged_figures_come_only_when_all_are_due(heard: Heard, client: Client, start_agent: Start) -> None:
    await start_agent(
        stats_interval=0.1,
        stats_only_changed=True,
        stats_full_every=3600,
        stats_groups=("state",),
        stats_groups_interval=0.1,
    )
    key = f"h1.domain.{TEST_UUID}.stats"
    await heard.of_type("connect.info", 10)
    assert len(of_key(heard, key)) == 1
    await client.call(Address("h1", "domain", (TEST_UUID,)), "virDomainSuspend")
    await eventually(lambda: len(of_key(heard, key)) == 2)
    assert of_key(heard, key)[-1]["data"]["stats"]["state.state"] == libvirt.VIR_DOMAIN_PAUSED
    await client.call(Address("h1", "domain", (TEST_UUID,)), "virDomainResume")
    await eventually(lambda: len(of_key(heard, key)) == 3)


async def test_all_figures_come_again_when_they_are_due(heard: Heard, start_agent: Start) -> None:
    await start_agent(
        stats_interval=0.1,
        stats_only_changed=True,
        stats_full_every=0.5,
        stats_groups=("state",),
        stats_groups_interval=0.1,
    )
    key = f"h1.domain.{TEST_UUID}.stats"
    await eventually(lambda: len(of_key(heard, key)) == 3)
    assert len(of_key(heard, "h1.connect.info")) > 6


@pytest.mark.only("rabbitmq", "rabbitmq4", because="Broker-J is told the moment at which a sample ends")
async def test_a_sample_lives_one_interval_and_is_kept_by_no_broker(broker_url: str, start_agent: Start) -> None:
    await start_agent(stats_interval=0.5, heartbeat_interval=1)
    came: dict[str, tuple[float | None, int]] = {}
    async with await aio_pika.connect(broker_url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        lives = {INFO: 0.5, "h1.connect.info": 0.5, "h1.agent.heartbeat": 2}
        for key in lives:
            await queue.bind(STATS, key)

        async def note(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            came[message.routing_key or ""] = (message.expiration, int(message.delivery_mode or 0))

        await queue.consume(note, no_ack=True)
        await eventually(lambda: len(came) == 3)
    assert came == {key: (seconds, 1) for key, seconds in lives.items()}


@pytest.mark.only("rabbitmq", "rabbitmq4", because="Broker-J has no alarm that it tells its clients of")
async def test_samples_are_dropped_and_not_queued_while_the_broker_takes_nothing(
    own_broker: PrivateRabbitMQ, start_agent: Start
) -> None:
    agent = await start_agent("h9", broker_url=own_broker.url, stats_interval=0.1, heartbeat_interval=0.1)
    async with hearing(own_broker.url, "h9.#") as heard:
        await heard.of_type("connect.info")
        await asyncio.to_thread(own_broker.ctl, "set_vm_memory_high_watermark", "absolute", "1")
        await eventually(lambda: agent._bus._is_blocked)
        blocked_from = timestamp()
        await asyncio.sleep(2)  # twenty rounds
        blocked_to = timestamp()
        await asyncio.to_thread(own_broker.ctl, "set_vm_memory_high_watermark", "0.6")
        await eventually(lambda: [m for m in heard if m.body["time"] > blocked_to], 30)
        assert [m.key for m in heard if m.exchange == STATS and blocked_from < m.body["time"] < blocked_to] == []


async def test_what_a_broker_that_stands_still_does_not_read_is_dropped(own_broker: Broker, start_agent: Start) -> None:
    await start_agent(broker_url=own_broker.url)
    async with hearing(own_broker.url, INFO) as heard:
        await eventually(lambda: len(heard) > 2)
        own_broker.freeze()
        frozen_at = datetime.now(UTC)
        await asyncio.sleep(4)  # as long as it stands still
        thawed_at = datetime.now(UTC)
        own_broker.thaw()
        await eventually(lambda: parse_time(heard[-1].body["time"]) > thawed_at)
        old = [m for m in heard if frozen_at + timedelta(seconds=2) < parse_time(m.body["time"]) < thawed_at]
        assert old == []
