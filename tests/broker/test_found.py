import asyncio
import random
import threading
import uuid
from typing import Any

import libvirt
import pytest
from conftest import TEST_UUID, Heard, Start, eventually, hearing
from contract import check_published, check_result

from libvirt_amqp import errors
from libvirt_amqp.client import Client, Message
from libvirt_amqp.keys import Address

AGENT = Address("h1", "agent")
XML = "<domain type='test'><name>{0}</name><uuid>{1}</uuid><memory>65536</memory><os><type>hvm</type></os></domain>"


@pytest.fixture
async def heard(broker_url: str) -> Any:
    async with hearing(broker_url, "h1.#") as heard:
        yield heard


async def test_what_is_there_at_the_very_first_start_is_no_news(
    heard: Heard, start_agent: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    await start_agent("h1")
    await _said(capsys, "compared")
    started = (await heard.of_type("agent.started"))[0]
    assert started.body["data"]["former"] is None
    assert [m.body["type"] for m in heard.events] == ["org.libvirt.agent.started", "org.libvirt.agent.libvirt-found"]


async def test_what_changed_while_no_agent_ran_is_found_after_the_gap_is_told(
    heard: Heard, start_agent: Start, beside: libvirt.virConnect, capsys: pytest.CaptureFixture[str]
) -> None:
    old = beside.defineXML(XML.format("old", uuid.uuid4()))
    agent = await start_agent("h1")
    await _said(capsys, "compared")
    await agent.stop()
    last = (await heard.of_type("agent.stopping"))[0].body
    beside.lookupByName("test").suspend()
    old.undefine()
    beside.createXML(XML.format("new", uuid.uuid4()))
    beside.networkLookupByName("default").destroy()
    beside.storagePoolLookupByName("default-pool").destroy()
    await start_agent("h1")
    await eventually(lambda: len(_found(heard)) >= 5)
    started, gap = (await heard.of_type("agent.started", 2))[1], (await heard.of_type("agent.gap"))[0]
    assert started.body["data"]["former"] == last["sequence"]
    assert gap.body["data"]["reason"] == "agent-restart"
    assert gap.body["data"]["from"] < started.body["time"] < gap.body["data"]["to"]
    assert [(m.body["data"]["object"]["name"], m.key.rpartition(".")[2]) for m in _found(heard)] == [
        ("old", "undefined"),
        ("new", "started"),
        ("test", "suspended"),
        ("default", "stopped"),
        ("default-pool", "stopped"),
    ]
    assert heard.events.index(gap) < heard.events.index(_found(heard)[0])
    for message in heard.events:
        check_published(message.body)


async def test_previous_survives_a_restart(heard: Heard, start_agent: Start, beside: libvirt.virConnect) -> None:
    agent = await start_agent("h1")
    domain = beside.lookupByName("test")
    domain.suspend()
    before = (await heard.of_type("domain.lifecycle"))[0].body
    await agent.stop()
    await start_agent("h1")
    domain.resume()
    after = (await heard.of_type("domain.lifecycle", 2))[1].body
    assert after["previous"] == before["sequence"]
    assert after["sequence"].partition("-")[0] > before["sequence"].partition("-")[0]


async def test_a_restart_with_nothing_changed_finds_nothing(
    heard: Heard, start_agent: Start, beside: libvirt.virConnect, capsys: pytest.CaptureFixture[str]
) -> None:
    beside.defineXML(XML.format("idle", uuid.uuid4()))
    for _ in range(3):
        agent = await start_agent("h1")
        await _said(capsys, "compared")
        await agent.stop()
    assert not _found(heard)


async def test_a_rename_is_followed_and_one_that_nobody_heard_is_a_new_definition(
    heard: Heard, start_agent: Start, beside: libvirt.virConnect, capsys: pytest.CaptureFixture[str]
) -> None:
    domain = beside.defineXML(XML.format("one", uuid.uuid4()))
    agent = await start_agent("h1")
    await _said(capsys, "compared")
    domain.rename("two")
    await heard.of_type("domain.lifecycle", 2)
    await agent.stop()
    agent = await start_agent("h1")
    await _said(capsys, "compared")
    assert not _found(heard)
    await agent.stop()
    domain.rename("three")
    await start_agent("h1")
    await eventually(lambda: _found(heard))
    assert [(m.body["data"]["object"]["name"], m.key.rpartition(".")[2]) for m in _found(heard)] == [
        ("three", "defined")
    ]


async def test_a_snapshot_says_what_is_there_and_what_is_unknown(
    client: Client, start_agent: Start, beside: libvirt.virConnect
) -> None:
    test = beside.lookupByName("test")
    test.suspend()
    await start_agent("h1")
    snapshot = await client.call(AGENT, "snapshot")
    check_result("snapshot", snapshot)
    assert snapshot["unknown"] == ["secret"]  # the test driver has none
    states = {Address.of(one["object"]).subject: one["state"] for one in snapshot["objects"]}
    assert states[f"domain/{TEST_UUID}"] == {
        "state": libvirt.VIR_DOMAIN_PAUSED,
        "reason": libvirt.VIR_DOMAIN_PAUSED_USER,
        "active": True,
        "persistent": True,
        "names": {"state": "VIR_DOMAIN_PAUSED", "reason": "VIR_DOMAIN_PAUSED_USER"},
    }
    assert {subject.partition("/")[0] for subject in states} == {"domain", "network", "storage-pool", "node-device"}
    network = await client.call(AGENT, "snapshot", {"classes": ["network"]})
    assert [one["state"] for one in network["objects"]] == [{"active": True, "persistent": True}]
    assert network["unknown"] == []
    with pytest.raises(errors.InvalidParams):
        await client.call(AGENT, "snapshot", {"classes": "domain"})


async def test_a_snapshot_and_the_events_after_it_lead_to_libvirts_state_in_any_storm(
    heard: Heard, client: Client, start_agent: Start, beside: libvirt.virConnect
) -> None:
    await start_agent("h1")
    is_enough = threading.Event()
    storm = asyncio.create_task(asyncio.to_thread(_storm, beside, is_enough))
    try:
        snapshots = [await client.call(AGENT, "snapshot", {"classes": ["domain"]}) for _ in range(40)]
    finally:
        is_enough.set()
        await storm
    beside.defineXML(XML.format("last", uuid.uuid4()))
    await eventually(lambda: heard.events and heard.events[-1].body["data"]["object"].get("name") == "last")
    truth = {
        d.UUIDString(): (bool(d.isActive()), bool(d.isPersistent()), d.state()[0]) for d in beside.listAllDomains()
    }
    assert len({s["sequence"] for s in snapshots}) > 20
    for snapshot in snapshots:
        assert _read(snapshot, heard.events) == truth


async def test_ten_thousand_lifecycle_events_in_a_burst_lose_none(
    heard: Heard, start_agent: Start, beside: libvirt.virConnect
) -> None:
    await start_agent("h1")
    domain = beside.lookupByName("test")

    def burst() -> None:
        for _ in range(5000):
            domain.suspend()
            domain.resume()

    await asyncio.to_thread(burst)
    await eventually(lambda: len(heard.events) >= 10_002, seconds=60)
    words = [m.key.rpartition(".")[2] for m in heard.events if m.body["type"] == "org.libvirt.domain.lifecycle"]
    assert words == ["suspended", "resumed"] * 5000


def _found(heard: Heard) -> list[Message]:
    return [m for m in heard.events if m.body.get("found")]


async def _said(capsys: pytest.CaptureFixture[str], word: str) -> None:
    """Wait for a line of the agent's log that has not been read yet."""
    await eventually(lambda: f"] {word} " in capsys.readouterr().out)


def _storm(connection: libvirt.virConnect, is_enough: threading.Event) -> None:
    """In a thread: do to twelve domains whatever their state allows, and leave the loop its share of the interpreter.

    Without a pause the loop turns 500 times a second, and takes in less than Broker-J's single confirms.
    """
    chance = random.Random(5)
    ids = [str(uuid.uuid4()) for _ in range(12)]
    while not is_enough.wait(0.0005):
        own = chance.choice(ids)
        try:
            domain = connection.lookupByUUIDString(own)
        except libvirt.libvirtError:
            make = chance.choice([connection.defineXML, connection.createXML])
            make(XML.format(f"d{ids.index(own)}", own))
            continue
        state = domain.state()[0]
        active = [domain.destroy, domain.resume if state == libvirt.VIR_DOMAIN_PAUSED else domain.suspend]
        redefine = [lambda own=own: connection.defineXML(XML.format(f"d{ids.index(own)}", own))]
        undefine = [domain.undefine] if domain.isPersistent() else []
        chance.choice([*(active if domain.isActive() else [domain.create]), *redefine, *undefine])()


Known = dict[str, tuple[bool, bool, int]]
"""Uuid -> active, persistent, virDomainState."""


def _read(snapshot: dict[str, Any], events: list[Message]) -> Known:
    """Do what a late joiner does: begin with the snapshot, apply what is newer."""
    known: Known = {}
    for one in snapshot["objects"]:
        state = one["state"]
        known[one["object"]["uuid"]] = (state["active"], state["persistent"], state["state"])
    for message in events:
        if message.body["type"] != "org.libvirt.domain.lifecycle" or message.body["sequence"] <= snapshot["sequence"]:
            continue
        own = message.body["data"]["object"]["uuid"]
        active, persistent, state = known.pop(own, (False, False, libvirt.VIR_DOMAIN_SHUTOFF))
        word = message.key.rpartition(".")[2]
        if word in {"defined", "undefined"}:
            persistent = word == "defined"
        else:
            active, state = _AFTER[word]
        if active or persistent:
            known[own] = (active, persistent, state)
    return known


_AFTER = {
    "started": (True, libvirt.VIR_DOMAIN_RUNNING),
    "suspended": (True, libvirt.VIR_DOMAIN_PAUSED),
    "resumed": (True, libvirt.VIR_DOMAIN_RUNNING),
    "stopped": (False, libvirt.VIR_DOMAIN_SHUTOFF),
}
