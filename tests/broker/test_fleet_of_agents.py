"""The subscriber of the client library, against real agents: copies, restarts, many hosts, a broker that dies."""

import asyncio
import random
import time
from pathlib import Path

import libvirt
import orjson
import pytest
from brokers import Broker
from conftest import TEST_UUID, Start, eventually
from followed import Followed, cut, following
from hand_made import hand_made
from line import Line

from libvirt_amqp.client import Client
from libvirt_amqp.fleet import Event, Missed, Snapshot
from libvirt_amqp.keys import Address

TEST = Address("h1", "domain", (TEST_UUID,))


async def test_an_agents_events_come_behind_its_state(broker_url: str, client: Client, start_agent: Start) -> None:
    await start_agent("h1")
    async with following(broker_url, hosts=["h1"], classes=["domain"]) as followed:
        snapshot = (await followed.count(Snapshot, 1))[0]
        assert [(s.object["name"], s.state["active"]) for s in snapshot.objects] == [("test", True)]
        await client.call(TEST, "virDomainSuspend")
        await client.call(TEST, "virDomainResume")
        await followed.count(Event, 2)
        assert followed[0] is snapshot
        assert followed.happened("h1") == ["suspended", "resumed"]


async def test_an_agents_event_that_comes_again_is_given_once(
    broker_url: str, client: Client, start_agent: Start
) -> None:
    await start_agent("h1")
    async with hand_made(broker_url, "copier") as copier, following(broker_url, hosts=["h1"]) as followed:
        await followed.count(Snapshot, 1)
        await client.call(TEST, "virDomainSuspend")
        event = (await followed.count(Event, 1))[0]
        copier.publish(event.key, orjson.dumps(event.body))
        await client.call(TEST, "virDomainResume")
        await followed.count(Event, 2)
        assert followed.happened("h1") == ["suspended", "resumed"]
        assert followed.of(Missed) == []


async def test_an_agent_that_is_started_again_is_told_once_with_the_state_after(
    broker_url: str, start_agent: Start, tmp_path: Path
) -> None:
    first = await start_agent("h1", state_dir=tmp_path / "one")
    async with following(broker_url, hosts=["h1"]) as followed:
        await followed.count(Snapshot, 1)
        await first.stop()
        await start_agent("h1", state_dir=tmp_path / "one")
        await followed.count(Snapshot, 2)
        assert followed.happened("h1")[:4] == ["stopping", "started", "libvirt-found", "gap"]
        [missed] = followed.of(Missed)
        assert missed.reason == "agent-restart"
        assert missed.since < missed.until


async def test_an_agent_that_lost_its_memory_is_told(broker_url: str, start_agent: Start, tmp_path: Path) -> None:
    first = await start_agent("h1", state_dir=tmp_path / "one")
    async with following(broker_url, hosts=["h1"]) as followed:
        await followed.count(Snapshot, 1)
        await first.stop()
        await eventually(lambda: int(time.time()) > first._state.epoch)  # an epoch is a second at least
        await start_agent("h1", state_dir=tmp_path / "two")
        await followed.count(Snapshot, 2)
        assert [missed.reason for missed in followed.of(Missed)] == ["restart"]


async def test_many_agents_are_followed_each_in_its_order(broker_url: str, client: Client, start_agent: Start) -> None:
    """The test driver's default connection is one for the whole process, so that each agent announces everything."""
    hosts = [f"many{number}" for number in range(6)]
    for host in hosts:
        await start_agent(host)
    domain = Address(hosts[0], "domain", (TEST_UUID,))
    async with following(broker_url) as followed:
        for host in hosts:
            await followed.count(Snapshot, 1, host)
        for _ in range(20):
            await client.call(domain, "virDomainSuspend")
            await client.call(domain, "virDomainResume")
        for host in hosts:
            await followed.count(Event, 40, host)
            assert followed.happened(host) == ["suspended", "resumed"] * 20
        assert followed.of(Missed) == []


@pytest.mark.feature("a subscriber is told what a kill of the broker lost")
async def test_a_broker_that_is_killed_loses_nothing_that_is_not_told(
    own_broker: Broker, start_agent: Start, beside: libvirt.virConnect
) -> None:
    await start_agent("h1", broker_url=own_broker.url)
    async with following(own_broker.url, hosts=["h1"]) as followed:
        await followed.count(Snapshot, 1)
        test = beside.lookupByName("test")
        await asyncio.to_thread(own_broker.kill)
        for _ in range(10):
            test.suspend()
            test.resume()
        await asyncio.to_thread(own_broker.start)

        async def caught_up() -> bool:
            given = {event.sequence for event in followed.of(Event)}
            told = sum(missed.count or 0 for missed in followed.of(Missed))
            return len(given) + told == 20

        await eventually(caught_up, 40)
        test.suspend()
        test.resume()
        await eventually(lambda: followed.happened("h1")[-2:] == ["suspended", "resumed"])
        assert {missed.reason for missed in followed.of(Missed)} <= {"outage"}


class Guests:
    """Ten domains of the test driver that come and go."""

    def __init__(self, connection: libvirt.virConnect) -> None:
        self._connection = connection
        self._dice = random.Random(1)
        self._names = [f"guest{number}" for number in range(10)]

    def _domains(self) -> dict[str, libvirt.virDomain]:
        return {domain.name(): domain for domain in self._connection.listAllDomains()}

    def change(self) -> None:
        """Define, start, stop or undefine one."""
        name = self._dice.choice(self._names)
        domain = self._domains().get(name)
        if domain is None:
            xml = f"<domain type='test'><name>{name}</name><memory>1</memory><os><type>hvm</type></os></domain>"
            self._connection.defineXML(xml)
        elif domain.isActive():
            domain.destroy()
        else:
            self._dice.choice([domain.create, domain.undefine])()

    def leave(self) -> None:
        """Destroy and undefine all."""
        for domain in self._domains().values():
            if domain.name() in self._names:
                _ = domain.isActive() and domain.destroy()
                domain.undefine()

    def are(self, followed: Followed) -> bool:
        """Say whether who applies the items knows what libvirt says: which domains there are, which of them run."""
        return active_domains(followed) == {name: bool(domain.isActive()) for name, domain in self._domains().items()}


def active_domains(followed: Followed) -> dict[str, bool]:
    known: dict[str, bool] = {}
    for item in followed:
        if isinstance(item, Snapshot):
            known = {s.object["name"]: s.state["active"] for s in item.objects if s.object["class"] == "domain"}
        elif isinstance(item, Event) and item.type == "domain.lifecycle":
            name = item.object["name"]
            known[name] = item.happened == "started" or (item.happened == "defined" and known.get(name, False))
            if item.happened == "undefined":
                del known[name]
    return known


async def test_whatever_happens_the_items_end_with_what_libvirt_says(
    broker_url: str, start_agent: Start, tmp_path: Path, beside: libvirt.virConnect
) -> None:
    """Domains come and go in a burst while connections are cut and the agent is started again."""
    agent = await start_agent("h1", state_dir=tmp_path / "one")
    guests = Guests(beside)
    async with Line(broker_url) as line, following(line.url, hosts=["h1"], limit=200) as followed:
        await followed.count(Snapshot, 1)
        for round_ in range(12):
            for _ in range(50):
                guests.change()
            if round_ % 3 == 1:
                cut(line)
                guests.change()
            if round_ == 8:
                await eventually(lambda: guests.are(followed), 30)  # listens again, or an outage were all it tells
                await agent.stop()
                guests.change()
                await start_agent("h1", state_dir=tmp_path / "one")
            count = len(followed)
            await eventually(lambda count=count: len(followed) > count)
        await eventually(lambda: guests.are(followed), 30)
        sequences = [event.sequence for event in followed.of(Event)]
        assert sequences == sorted(set(sequences))
        assert {missed.reason for missed in followed.of(Missed)} == {"outage", "agent-restart"}
        guests.leave()
        await eventually(lambda: guests.are(followed), 30)
