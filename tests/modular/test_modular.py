"""Beside libvirt's modular daemons: those behind virtqemud die without its telling, and their events with them.

`make test-modular` runs this: Debian 12 does not have them, so that they are made from source once.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from conftest import Heard, Start, eventually, hearing
from private_modular import BEHIND, PrivateModular
from qemu.conftest import virsh

from app.service import Agent
from libvirt_amqp.client import Client
from libvirt_amqp.errors import LibvirtFailed
from libvirt_amqp.keys import Address
from libvirt_amqp.messages import parse_time

HOST = "modular1"
CONNECT = Address(HOST, "connect")
CLASSES = {
    "virtnetworkd": "network",
    "virtstoraged": "storage-pool",
    "virtnodedevd": "node-device",
    "virtsecretd": "secret",
}


@pytest.fixture(scope="module")
def _daemons() -> Iterator[PrivateModular]:
    with PrivateModular() as daemons:
        yield daemons


@pytest.fixture
def daemons(_daemons: PrivateModular) -> PrivateModular:
    for name in (*BEHIND, "virtqemud"):
        if not _daemons[name].running:
            _daemons[name].start()
    return _daemons


@pytest.fixture
async def heard(broker_url: str) -> AsyncIterator[Heard]:
    async with hearing(broker_url, f"{HOST}.#") as heard:
        yield heard


@pytest.fixture
async def agent(heard: Heard, daemons: PrivateModular, start_agent: Start) -> Agent:
    agent: Agent = await start_agent(HOST, uri=daemons.uri)
    await heard.of_type("agent.heartbeat", 2)
    await eventually(lambda: agent._hypervisor.facts and agent._hypervisor.facts.hypervisor_version, 30)
    return agent


class Networks:
    """Networks that are defined past virtqemud."""

    def __init__(self, daemons: PrivateModular, folder: Path) -> None:
        self._uri = daemons.uri_of("virtnetworkd", "network")
        self._folder = folder

    def define(self, name: str) -> None:
        file = self._folder / f"{name}.xml"
        file.write_text(f"<network><name>{name}</name></network>")
        virsh(self._uri, "net-define", str(file))

    def undefine(self, name: str) -> None:
        virsh(self._uri, "net-undefine", name)


def told(heard: Heard, word: str) -> list[tuple[str, bool]]:
    """Return the networks that had such an event, and whether it was found."""
    return [
        (m.body["data"]["object"]["name"], m.body.get("found", False))
        for m in heard.events
        if m.key.startswith(f"{HOST}.network.") and m.key.endswith(f".{word}")
    ]


@pytest.mark.usefixtures("agent")
async def test_a_network_daemon_that_was_started_again_is_heard_again(
    heard: Heard, client: Client, daemons: PrivateModular, tmp_path: Path
) -> None:
    networks = Networks(daemons, tmp_path)
    networks.define("before")
    await eventually(lambda: told(heard, "defined") == [("before", False)])
    daemons["virtnetworkd"].kill()
    daemons["virtnetworkd"].start()
    networks.define("meanwhile")
    lost = (await heard.of_type("agent.libvirt-lost"))[0].body
    found = (await heard.of_type("agent.libvirt-found", 2))[1].body
    gap = (await heard.of_type("agent.gap"))[0].body["data"]
    assert lost["data"]["reason"].startswith("network: ")
    assert gap["reason"] == "libvirt-lost"
    await eventually(lambda: told(heard, "defined") == [("before", False), ("meanwhile", True)])
    defined = next(m.body for m in heard.events if m.body["data"]["object"].get("name") == "meanwhile")
    assert parse_time(gap["from"]) < parse_time(lost["time"]) < parse_time(found["time"]) < parse_time(defined["time"])
    networks.define("after")
    await eventually(lambda: told(heard, "defined")[2:] == [("after", False)])
    assert await client.call(CONNECT, "virConnectNumOfDefinedNetworks") == 3
    for name in ("before", "meanwhile", "after"):
        networks.undefine(name)
    await eventually(lambda: len(told(heard, "undefined")) == 3)


@pytest.mark.usefixtures("agent")
async def test_a_network_daemon_that_stays_away_is_unknown_and_takes_nothing_of_the_others(
    heard: Heard, client: Client, daemons: PrivateModular, tmp_path: Path
) -> None:
    networks = Networks(daemons, tmp_path)
    networks.define("kept")
    await eventually(lambda: told(heard, "defined") == [("kept", False)])
    daemons["virtnetworkd"].kill()
    await heard.of_type("agent.gap")
    snapshot = await client.call(Address(HOST, "agent"), "snapshot")
    assert snapshot["unknown"] == ["network"]
    with pytest.raises(LibvirtFailed, match="virtnetworkd-sock"):
        await client.call(CONNECT, "virConnectNumOfNetworks")
    assert await client.call(CONNECT, "virConnectNumOfDomains") == 0
    assert told(heard, "undefined") == []
    daemons["virtnetworkd"].start()
    networks.define("new")
    lost = (await heard.of_type("agent.libvirt-lost", 2))[1].body
    assert lost["data"]["reason"] == "network answers again"
    first, second = (message.body["data"] for message in await heard.of_type("agent.gap", 2))
    assert first["from"] == second["from"], "nobody heard it in between"
    await eventually(lambda: told(heard, "defined")[1:] == [("new", True)])
    assert (await client.call(Address(HOST, "agent"), "snapshot"))["unknown"] == []
    for name in ("kept", "new"):
        networks.undefine(name)
    await eventually(lambda: told(heard, "undefined") == [("kept", False), ("new", False)])


@pytest.mark.usefixtures("agent")
async def test_virtqemud_itself_is_lost_and_found_like_libvirtd(
    heard: Heard, client: Client, daemons: PrivateModular
) -> None:
    daemons["virtqemud"].kill()
    assert (await heard.of_type("agent.libvirt-lost"))[0].body["data"]["reason"] == "eof"
    daemons["virtqemud"].start()
    await heard.of_type("agent.gap")
    assert await client.call(CONNECT, "virConnectNumOfNetworks") == 0


@pytest.mark.parametrize("name", BEHIND)
@pytest.mark.usefixtures("agent")
async def test_each_of_the_daemons_is_asked(heard: Heard, daemons: PrivateModular, name: str) -> None:
    await asyncio.to_thread(daemons[name].kill)
    await asyncio.to_thread(daemons[name].start)
    reason = (await heard.of_type("agent.libvirt-lost"))[0].body["data"]["reason"]
    assert reason.partition(":")[0] == CLASSES[name]
