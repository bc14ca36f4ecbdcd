"""What these tests use beside the broker: libvirtds of our own, agents on them, and guests of 16 MiB without a disk."""

import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Heard, Start, hearing
from private_libvirtd import PrivateLibvirtd

from app.service import Agent
from libvirt_amqp.client import Client
from libvirt_amqp.keys import Address
from libvirt_amqp.messages import parse_time

HOST = "qemu1"
CONNECT = Address(HOST, "connect")
AGENT = Address(HOST, "agent")


def guest_xml(name: str) -> str:
    """16 MiB, one CPU by TCG, no disk; a USB controller, from which a device comes off without a guest's help."""
    return f"""<domain type='qemu'>
  <name>{name}</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <cpu mode='custom' match='exact'><model>qemu64</model></cpu>
  <devices><controller type='usb' model='piix3-uhci'/><memballoon model='none'/></devices>
</domain>"""


def virsh(uri: str, *arguments: str) -> str:
    """Do something to libvirt past the agent."""
    command = ["virsh", "--quiet", "--connect", uri, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


@pytest.fixture(scope="session")
def _daemon() -> Iterator[PrivateLibvirtd]:
    """One for all: its first start of a guest takes 2 s, in which it learns what QEMU can do."""
    with PrivateLibvirtd() as daemon:
        yield daemon


@pytest.fixture
def daemon(_daemon: PrivateLibvirtd) -> Iterator[PrivateLibvirtd]:
    """Yield a libvirtd with QEMU; a test may kill it, the next one gets it alive."""
    yield _daemon
    if not _daemon.running:
        _daemon.start()


@pytest.fixture
def fresh_daemon(_daemon: PrivateLibvirtd) -> Iterator[PrivateLibvirtd]:
    """Yield a libvirtd of the test's own, not started, for the test driver in it or for a second host."""
    daemon = PrivateLibvirtd(_daemon.cache)
    yield daemon
    daemon.close()


Qemu = Callable[..., Any]


@pytest.fixture
def qemu_agent(daemon: PrivateLibvirtd, start_agent: Start) -> Qemu:
    """Return what starts an agent on the libvirtd and waits until it answers."""

    async def start(host: str = HOST, **settings: Any) -> Agent:
        return await start_agent(
            host, **{"uri": daemon.uri, "stats_interval": 0.25, "heartbeat_interval": 0.25, **settings}
        )

    return start


@pytest.fixture
async def heard(broker_url: str) -> AsyncIterator[Heard]:
    """Yield what comes from the host, from before the agent's start on."""
    async with hearing(broker_url, f"{HOST}.#") as heard:
        yield heard


@pytest.fixture(scope="session")
def _guest(_daemon: PrivateLibvirtd, tmp_path_factory: pytest.TempPathFactory) -> str:
    return create(_daemon.uri, "shared", tmp_path_factory.mktemp("guest"))


@pytest.fixture
def guest(daemon: PrivateLibvirtd, _guest: str) -> Address:  # noqa: ARG001 (it has to run)
    """Return the address of a guest that runs, and that every test leaves running."""
    return Address(HOST, "domain", (_guest,))


def create(uri: str, name: str, folder: Path) -> str:
    """Create a transient guest past the agent, and return its uuid."""
    xml = folder / f"{name}.xml"
    xml.write_text(guest_xml(name))
    virsh(uri, "create", str(xml))
    return virsh(uri, "domuuid", name).strip()


async def define(client: Client, name: str) -> Address:
    """Define a guest over the bus."""
    return Address.of(await client.call(CONNECT, "virDomainDefineXML", {"xml": guest_xml(name)}))


def words_of(heard: Heard, address: Address) -> list[str]:
    """Return what happened to an object: the last words of its events' keys, in their order."""
    prefix = f"{address.key()}."
    return [m.key.removeprefix(prefix) for m in heard.events if m.key.startswith(prefix)]


def assert_contiguous(heard: Heard) -> None:
    """No sequence is missing or twice, and `previous` is the last one of the same object."""
    numbers = [int(m.body["sequence"].partition("-")[2]) for m in heard.events]
    assert numbers == list(range(1, len(numbers) + 1))
    last: dict[str, str] = {}
    for message in heard.events:
        assert message.body.get("previous") == last.get(message.body["subject"])
        last[message.body["subject"]] = message.body["sequence"]


def seconds_between(earlier: dict[str, Any], later: dict[str, Any]) -> float:
    """Return how long after one event another was heard."""
    return (parse_time(later["time"]) - parse_time(earlier["time"])).total_seconds()
