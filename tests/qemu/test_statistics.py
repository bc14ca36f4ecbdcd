"""Statistics of QEMU guests: what hangs delays nobody, and libvirtd is asked for nothing that is heavy."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import libvirt
import pytest
from conftest import Heard, eventually
from contract import check_published
from private_libvirtd import PrivateLibvirtd
from structlog.testing import capture_logs

from app.hypervisor import Connection, DaemonClock, event_loop
from app.pollers.trial import compare
from libvirt_amqp.client import Client
from libvirt_amqp.keys import Address
from qemu.conftest import CONNECT, HOST, Qemu, create, guest_xml, virsh

LIST, INFO, FREE_MEMORY, CPU_STATS = 273, 16, 102, 227
"""REMOTE_PROC_CONNECT_LIST_ALL_DOMAINS, DOMAIN_GET_INFO, NODE_GET_FREE_MEMORY, NODE_GET_CPU_STATS."""
WATCHED = {52, 71, 111, 139, 157}
"""NUM_OF_NETWORKS, NUM_OF_STORAGE_POOLS, NODE_NUM_OF_DEVICES, NUM_OF_SECRETS, GET_LIB_VERSION: signs of life."""
XML, BULK = 14, 344
"""REMOTE_PROC_DOMAIN_GET_XML_DESC, CONNECT_GET_ALL_DOMAIN_STATS."""
GROUPS = ("state", "cpu-total", "balloon", "vcpu")


@pytest.fixture
def guests(daemon: PrivateLibvirtd, tmp_path: Path) -> Iterator[list[str]]:
    """Yield the uuids of two guests of the test's own, one-0 and one-1."""
    names = ["one-0", "one-1"]
    yield [create(daemon.uri, name, tmp_path) for name in names]
    for name in names:
        os.kill(pid_of(daemon, name), signal.SIGCONT)
        virsh(daemon.uri, "destroy", name)


def pid_of(daemon: PrivateLibvirtd, name: str) -> int:
    (file,) = daemon._path.rglob(f"qemu/run/{name}.pid")
    return int(file.read_text())


def told(heard: Heard, uuid: str, event: str) -> list[dict[str, Any]]:
    return [m.body["data"] for m in heard if m.key == f"{HOST}.domain.{uuid}.{event}"]


def fresh(heard: Heard, uuid: str) -> list[dict[str, Any]]:
    return [d for d in told(heard, uuid, "stats") if not d.get("stale")]


async def test_a_frozen_guest_grows_old_alone_and_recovers_by_itself(
    heard: Heard, client: Client, daemon: PrivateLibvirtd, qemu_agent: Qemu, guests: list[str]
) -> None:
    await qemu_agent(stats_groups=GROUPS, stats_groups_interval=0.3)
    frozen, other = guests
    await eventually(lambda: fresh(heard, frozen) and fresh(heard, other))
    os.kill(pid_of(daemon, "one-0"), signal.SIGSTOP)
    await eventually(lambda: len([d for d in told(heard, frozen, "stats") if d.get("age")]) >= 4)
    others, rounds = len(told(heard, other, "stats")), len(told(heard, frozen, "stats"))
    await eventually(lambda: len(told(heard, frozen, "stats")) >= rounds + 5)
    old = [d for d in told(heard, frozen, "stats") if d.get("age") is not None]
    ages = [d["age"] for d in old]
    assert ages == sorted(ages)
    assert ages[-1] > ages[0] > 0
    assert {d["stats"]["cpu.time"] for d in old} == {old[0]["stats"]["cpu.time"]}
    assert len(told(heard, other, "stats")) >= others + 4, "the other one keeps its period"
    assert not any(d.get("age") for d in told(heard, other, "stats")[others:])
    assert not told(heard, frozen, "info")[-1].get("stale"), "virDomainGetInfo answers all the same"
    await client.call(Address(HOST, "domain", (other,)), "virDomainMemoryStats", timeout=3)  # the monitor's
    assert await client.call(CONNECT, "virConnectGetType", timeout=3) == "QEMU"
    os.kill(pid_of(daemon, "one-0"), signal.SIGCONT)
    await eventually(lambda: not told(heard, frozen, "stats")[-1].get("stale"))
    for message in heard:
        check_published(message.body)


async def test_a_heartbeat_counts_who_does_not_answer(
    heard: Heard, daemon: PrivateLibvirtd, qemu_agent: Qemu, guests: list[str]
) -> None:
    await qemu_agent(stats_groups=GROUPS, stats_groups_interval=0.3)
    await eventually(lambda: fresh(heard, guests[0]))
    os.kill(pid_of(daemon, "one-0"), signal.SIGSTOP)

    def stale() -> list[int]:
        beats = [m.body["data"]["polling"] for m in heard if m.key == f"{HOST}.agent.heartbeat"]
        return [beat["groups"]["stale"] for beat in beats]

    await eventually(lambda: stale()[-1] == 1)
    os.kill(pid_of(daemon, "one-0"), signal.SIGCONT)
    await eventually(lambda: stale()[-1] == 0)


async def test_a_frozen_guest_that_was_never_asked_has_only_a_name(
    heard: Heard, daemon: PrivateLibvirtd, qemu_agent: Qemu, guests: list[str]
) -> None:
    os.kill(pid_of(daemon, "one-0"), signal.SIGSTOP)
    await qemu_agent(stats_groups=GROUPS, stats_groups_interval=0.3)
    (first, *_) = await eventually(lambda: told(heard, guests[0], "stats"))
    assert {name: value for name, value in first.items() if name != "object"} == {"stale": True, "age": None}
    await eventually(lambda: told(heard, guests[1], "stats"))


async def test_all_figures_grow_old_when_libvirtd_itself_does_not_answer(
    heard: Heard, daemon: PrivateLibvirtd, qemu_agent: Qemu, guest: Address
) -> None:
    await qemu_agent()
    await eventually(lambda: told(heard, guest.words[0], "info"))
    daemon.freeze()
    try:
        old = await eventually(lambda: [d for d in told(heard, guest.words[0], "info") if d.get("stale")][2:])
        assert old[0]["age"] > 0.5
    finally:
        daemon.thaw()
    await eventually(lambda: not told(heard, guest.words[0], "info")[-1].get("stale"))


@asynccontextmanager
async def hanging_start(daemon: PrivateLibvirtd, tmp_path: Path) -> AsyncIterator[None]:
    """Start a guest whose disk does not answer: libvirtd waits in open(2), and holds the guest's lock."""
    disk, xml = daemon.socket.parent / f"dead-{os.urandom(3).hex()}", tmp_path / "dead.xml"
    os.mkfifo(disk)
    disk.chmod(0o666)
    source = f"<source file='{disk}'/><target dev='hda' bus='ide'/>"
    drive = f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>{source}</disk>"
    xml.write_text(guest_xml("dead").replace("</devices>", f"{drive}</devices>"))
    starting = await asyncio.create_subprocess_exec("virsh", "--connect", daemon.uri, "create", xml, stderr=DEVNULL)
    try:
        await eventually(lambda: listing_hangs(daemon), 20)
        yield
    finally:
        while starting.returncode is None:  # it opens the disk more than once
            os.close(os.open(disk, os.O_RDWR | os.O_NONBLOCK))
            await asyncio.sleep(0.02)


async def listing_hangs(daemon: PrivateLibvirtd) -> bool:
    """Say whether somebody else cannot list either."""
    listing = await asyncio.create_subprocess_exec("virsh", "--connect", daemon.uri, "list", stdout=DEVNULL)
    try:
        await asyncio.wait_for(listing.wait(), 4)  # any start holds it up for 2 s
    except TimeoutError:
        listing.kill()
        await listing.wait()
        return True
    return False


async def test_a_guest_that_hangs_in_its_start_makes_no_figures_old(
    heard: Heard, daemon: PrivateLibvirtd, qemu_agent: Qemu, guests: list[str], tmp_path: Path
) -> None:
    with capture_logs() as lines:
        await qemu_agent(stats_groups=("state",), stats_groups_interval=0.3)
        await eventually(lambda: [line for line in lines if line["event"] == "calls_compared"])
    await eventually(lambda: all(told(heard, uuid, "info") and fresh(heard, uuid) for uuid in guests))
    async with hanging_start(daemon, tmp_path):
        begun = len(heard)
        await eventually(lambda: len([m for m in list(heard)[begun:] if m.key == f"{HOST}.connect.info"]) >= 8)
        since = list(heard)[begun:]
        for uuid in guests:
            for event in ("info", "stats"):
                figures = [m.body["data"] for m in since if m.key == f"{HOST}.domain.{uuid}.{event}"]
                assert len(figures) >= 5
                assert not any(d.get("stale") for d in figures)
        assert not [m.key for m in since if m.body.get("found")], "nothing is concluded from an old listing"
        assert (last_beat(heard)["listed"], last_beat(heard)["stale"]) == (False, 0)
    await eventually(lambda: last_beat(heard)["listed"])
    for message in heard:
        check_published(message.body)


def last_beat(heard: Heard) -> dict[str, Any]:
    return [m.body["data"]["polling"] for m in heard if m.key == f"{HOST}.agent.heartbeat"][-1]


async def test_an_agent_that_starts_beside_such_a_guest_says_of_no_domain_that_it_has_ended(
    heard: Heard, daemon: PrivateLibvirtd, qemu_agent: Qemu, guests: list[str], tmp_path: Path
) -> None:
    async with hanging_start(daemon, tmp_path):
        await qemu_agent(stats_per_host=True)
        await heard.of_type("connect.info", 3)
        assert not [m for m in heard if m.key == f"{HOST}.connect.domains"]
        assert last_beat(heard)["listed"] is False
    await eventually(lambda: last_beat(heard)["listed"])
    full = await eventually(
        lambda: [m.body["data"] for m in heard if m.key == f"{HOST}.connect.domains" and m.body["data"]["full"]]
    )
    assert set(guests) <= {domain["object"]["uuid"] for domain in full[-1]["domains"]}


@asynccontextmanager
async def counted(daemon: PrivateLibvirtd) -> AsyncIterator[Callable[[], Counter[int]]]:
    """Yield what counts the procedures that libvirtd has been asked for since then, by its own log."""
    log = daemon._log
    begun = log.stat().st_size

    def count() -> Counter[int]:
        with log.open("rb") as file:
            file.seek(begun)
            lines = re.findall(rb"virNetServerProgramDispatch:.* prog=536903814 .* type=0 .* proc=(\d+)", file.read())
        return Counter(map(int, lines))

    yield count


@pytest.fixture
def talkative_daemon(fresh_daemon: PrivateLibvirtd) -> PrivateLibvirtd:
    """Return a libvirtd that logs every procedure it is asked for."""
    file = fresh_daemon._path / "libvirtd.conf"
    quiet = file.read_text()
    assert '"3:stderr"' in quiet
    file.write_text(quiet.replace('"3:stderr"', '"1:stderr"') + 'log_filters = "1:rpc.netserverprogram"\n')
    fresh_daemon.start()
    return fresh_daemon


async def test_libvirtd_is_asked_for_a_listing_five_figures_each_and_the_host_and_never_for_xml(
    heard: Heard, talkative_daemon: PrivateLibvirtd, qemu_agent: Qemu, tmp_path: Path
) -> None:
    for name in ("first", "second", "third"):
        create(talkative_daemon.uri, name, tmp_path)
    async with counted(talkative_daemon) as asked:
        with capture_logs() as lines:
            await qemu_agent(uri=talkative_daemon.uri, stats_interval=0.5)
            await eventually(lambda: [line for line in lines if line["event"] == "calls_compared"])
        assert XML not in asked(), "not even at the start"
    rounds = len(await heard.of_type("connect.info"))
    await heard.of_type("connect.info", rounds + 1)
    async with counted(talkative_daemon) as asked:
        await heard.of_type("connect.info", rounds + 7)
        procedures = asked()
    assert set(procedures) - WATCHED == {LIST, INFO, FREE_MEMORY, CPU_STATS}
    assert 5 <= procedures[LIST] <= 8
    assert abs(procedures[INFO] - 3 * procedures[LIST]) <= 3, "one may be under way"


async def test_groups_are_asked_of_each_guest_and_xml_of_none(
    heard: Heard, talkative_daemon: PrivateLibvirtd, qemu_agent: Qemu, tmp_path: Path
) -> None:
    create(talkative_daemon.uri, "first", tmp_path)
    async with counted(talkative_daemon) as asked:
        await qemu_agent(uri=talkative_daemon.uri, stats_groups=GROUPS, stats_groups_interval=0.3)
        await heard.of_type("domain.stats", 4)
        assert asked()[BULK] >= 4
        assert XML not in asked()


async def test_libvirtds_cpu_is_seen_and_counted(heard: Heard, qemu_agent: Qemu, guest: Address) -> None:
    await qemu_agent()
    assert guest
    beats = await eventually(
        lambda: [
            m.body["data"]["polling"]
            for m in heard
            if m.key == f"{HOST}.agent.heartbeat" and m.body["data"]["polling"]["round_cpu_ms"] > 0
        ]
    )
    assert beats[-1]["libvirtd"] is True


def test_the_daemon_behind_a_connection_is_found_and_its_clock_runs(daemon: PrivateLibvirtd) -> None:
    event_loop.start()
    connection = Connection(daemon.uri, read_only=True)
    handle = connection.open()
    clock = DaemonClock()
    clock.find()
    before = clock.read()
    assert before is not None
    for _ in range(50):
        handle.listAllDomains()
    after = clock.read()
    assert after is not None
    assert after > before
    del handle
    connection.close()


def test_a_daemon_that_has_ended_is_not_seen_any_more(fresh_daemon: PrivateLibvirtd) -> None:
    event_loop.start()
    fresh_daemon.start()
    connection = Connection(fresh_daemon.uri, read_only=True)
    connection.open()
    clock = DaemonClock()
    clock.find()
    assert clock.read() is not None
    connection.close()
    fresh_daemon.kill()
    assert clock.read() is None


@pytest.fixture
def far_uri(daemon: PrivateLibvirtd, tmp_path: Path) -> Iterator[str]:
    """Yield the URI of the libvirtd at the end of a long way: 20 ms there, 20 ms back."""
    path = tmp_path / "far-away"
    program = Path(__file__).parents[1] / "far_away.py"
    process = subprocess.Popen([sys.executable, program, path, daemon.socket, "0.02"])
    yield f"qemu+unix:///session?socket={path}"
    process.terminate()
    process.wait()


def test_on_this_machine_qemu_is_asked_one_by_one_as_the_bulk_call_asks_every_monitor(
    daemon: PrivateLibvirtd, guests: list[str]
) -> None:
    event_loop.start()
    connection = Connection(daemon.uri, read_only=True)
    clock = DaemonClock()
    handle = connection.open()
    clock.find()
    found = compare(handle, clock)
    assert found is not None
    assert (found.is_cpu, found.domains) == (True, len(libvirt.openReadOnly(daemon.uri).listAllDomains(1)))
    assert found.bulk is not None, "QEMU has all five in bulk"
    assert not found.is_for_bulk
    assert guests
    del handle
    connection.close()


async def test_a_long_way_off_all_are_asked_in_one_call_and_a_guest_that_hangs_ends_that(
    heard: Heard, daemon: PrivateLibvirtd, qemu_agent: Qemu, guests: list[str], far_uri: str
) -> None:
    await qemu_agent(uri=far_uri, stats_interval=1)

    def last_call() -> str:
        calls = [d["call"] for d in told(heard, guests[1], "info") if not d.get("stale")]
        return calls[-1] if calls else ""

    await eventually(lambda: last_call() == "virConnectGetAllDomainStats", 20)
    figures = told(heard, guests[1], "info")[-1]
    assert (figures["state"], figures["maxMem"], figures["nrVirtCpu"]) == (1, 16 * 1024, 1)
    os.kill(pid_of(daemon, "one-0"), signal.SIGSTOP)
    await eventually(lambda: last_call() == "virDomainGetInfo", 20)
    os.kill(pid_of(daemon, "one-0"), signal.SIGCONT)
    for message in heard:
        check_published(message.body)
