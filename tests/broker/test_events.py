import libvirt
import pytest
from conftest import TEST_UUID, Start, answering, hearing

from libvirt_amqp.client import Client
from libvirt_amqp.keys import Address

CONNECT = Address("h1", "connect")
TEST = Address("h1", "domain", (TEST_UUID,))


@pytest.mark.feature("events arrive in order")
async def test_lifecycle_arrives_in_order_as_cloudevents(broker_url: str, client: Client, start_agent: Start) -> None:
    await start_agent("h1")
    async with hearing(broker_url, "h1.#") as heard:
        await client.call(TEST, "virDomainSuspend")
        await client.call(TEST, "virDomainResume")
        suspended, resumed = await heard.of_type("domain.lifecycle", 2)
        assert suspended.key == f"h1.domain.{TEST_UUID}.lifecycle.suspended"
        assert resumed.key == f"h1.domain.{TEST_UUID}.lifecycle.resumed"
        body = suspended.body
        assert body["specversion"] == "1.0"
        assert body["source"] == "h1"
        assert body["subject"] == f"domain/{TEST_UUID}"
        assert body["id"] == body["sequence"]
        assert resumed.body["previous"] == body["sequence"]
        assert body["data"]["object"]["name"] == "test"
        assert (body["data"]["event"], body["data"]["detail"]) == (3, 0)
        assert body["data"]["names"] == {
            "event": "VIR_DOMAIN_EVENT_SUSPENDED",
            "detail": "VIR_DOMAIN_EVENT_SUSPENDED_PAUSED",
        }


async def test_sequences_are_contiguous_over_all_classes(broker_url: str, client: Client, start_agent: Start) -> None:
    async with hearing(broker_url, "h1.#") as heard:
        await start_agent("h1")
        network = Address.of(await client.call(CONNECT, "virNetworkLookupByName", {"name": "default"}))
        pool = Address.of(await client.call(CONNECT, "virStoragePoolLookupByName", {"name": "default-pool"}))
        await client.call(network, "virNetworkDestroy")
        await client.call(network, "virNetworkCreate")
        await client.call(pool, "virStoragePoolRefresh")
        await client.call(TEST, "virDomainSetMetadata", {"type": 0, "metadata": "described", "flags": 0})
        await heard.of_type("network.lifecycle", 2)
        await heard.of_type("storage-pool.refresh")
        await heard.of_type("domain.metadata-change")
        numbers = [m.body["sequence"].split("-") for m in heard.events]
        assert len({epoch for epoch, _ in numbers}) == 1
        assert [int(n) for _, n in numbers] == list(range(1, len(numbers) + 1))
        assert [m.body["type"] for m in heard.events][:2] == [
            "org.libvirt.agent.started",
            "org.libvirt.agent.libvirt-found",
        ]


async def test_a_change_made_by_someone_else_is_announced_too(
    broker_url: str, start_agent: Start, beside: libvirt.virConnect
) -> None:
    await start_agent("h1")
    async with hearing(broker_url, "h1.domain.#") as heard:
        beside.lookupByName("test").suspend()
        beside.lookupByName("test").resume()
        await heard.of_type("domain.lifecycle", 2)


@pytest.mark.feature("statistics and heartbeats come on a schedule")
async def test_statistics_and_heartbeats_come_on_a_schedule(broker_url: str, start_agent: Start) -> None:
    await start_agent("h1")
    async with hearing(broker_url, "h1.#") as heard:
        sample = (await heard.of_type("domain.info", 2))[-1]
        assert sample.key == f"h1.domain.{TEST_UUID}.info"
        assert {"state", "maxMem", "memory", "nrVirtCpu", "cpuTime"} <= set(sample.body["data"])
        assert sample.body["data"]["names"] == {"state": "VIR_DOMAIN_RUNNING"}
        assert "sequence" not in sample.body
        host = (await heard.of_type("connect.info"))[0].body["data"]
        assert {"virNodeGetFreeMemory", "virNodeGetCPUStats", "loadavg"} <= set(host)
        first, second = (m.body["data"] for m in (await heard.of_type("agent.heartbeat", 2))[:2])
        assert second["counter"] == first["counter"] + 1
        assert second["libvirt"]["connected"] is True
        assert {"agent", "libvirt"} <= set(second["versions"])


async def test_an_agent_that_stops_says_so_after_everything_else(broker_url: str, start_agent: Start) -> None:
    agent = await start_agent("h1")
    async with hearing(broker_url, "h1.#") as heard:
        await agent.stop()
        await heard.of_type("agent.stopping")
        assert heard.events[-1].body["type"] == "org.libvirt.agent.stopping"


async def test_a_later_run_has_a_later_epoch(broker_url: str, start_agent: Start) -> None:
    async with hearing(broker_url, "h1.#") as heard:
        first = await start_agent("h1")
        await first.stop()
        await start_agent("h1")
        await answering(broker_url, "h1")
        one, two = (m.body["sequence"] for m in await heard.of_type("agent.started", 2))
        assert one < two
        assert two.endswith("-" + "1".rjust(15, "0"))
