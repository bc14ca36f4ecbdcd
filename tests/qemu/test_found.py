import contextlib
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Heard, eventually
from contract import check_published
from private_libvirtd import PrivateLibvirtd

from app.events.ledger import CLASSES
from app.events.listing import list_objects
from app.hypervisor import Connection, event_loop
from libvirt_amqp import errors
from libvirt_amqp.client import Client, Message
from libvirt_amqp.keys import Address
from qemu.conftest import AGENT, HOST, Qemu, assert_contiguous, create, guest_xml, virsh, words_of

NETWORK = "<network><name>{0}</name><bridge name='{0}'/></network>"
POOL = "<pool type='dir'><name>{}</name><target><path>{}</path></target></pool>"
SECRET = "<secret><uuid>{}</uuid><usage type='volume'><volume>/{}</volume></usage></secret>"


class Door:
    """The way from the agent to a libvirtd: while it is closed others change what they like."""

    def __init__(self, daemon: PrivateLibvirtd, folder: Path) -> None:
        self.daemon = daemon
        self._link = folder / "libvirt-sock"
        self.open()

    def uri(self, driver: str = "qemu", path: str = "/session") -> str:
        return f"{driver}+unix://{path}?socket={self._link}"

    def open(self) -> None:
        self._link.symlink_to(self.daemon.socket)

    def shut(self) -> None:
        """The connection is lost with the daemon, and the next one is not found."""
        self._link.unlink()
        self.daemon.kill()
        self.daemon.start()


@pytest.fixture
def door(daemon: PrivateLibvirtd, tmp_path: Path) -> Iterator[Door]:
    """Yield the door to a libvirtd that is left without anything of ours."""
    yield Door(daemon, tmp_path)
    if not daemon.running:
        daemon.start()
    for line in virsh(daemon.uri, "list", "--all", "--name").split():
        if line != "shared":
            _try(daemon.uri, "destroy", line)
            _try(daemon.uri, "undefine", line)
    for line in virsh(daemon.uri, "net-list", "--all", "--name").split():
        virsh(daemon.uri, "net-undefine", line)
    for line in virsh(daemon.uri, "pool-list", "--all", "--name").split():
        _try(daemon.uri, "pool-destroy", line)
        virsh(daemon.uri, "pool-undefine", line)
    for line in virsh(daemon.uri, "secret-list").splitlines():
        virsh(daemon.uri, "secret-undefine", line.split()[0])


async def test_what_others_did_to_guests_while_libvirt_was_lost_is_found(  # noqa: PLR0913
    heard: Heard,
    client: Client,
    qemu_agent: Qemu,
    door: Door,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    uri = door.daemon.uri
    steady, gone = (_address(create(uri, name, tmp_path)) for name in ("steady", "gone"))
    stopped, rerun, removed, paused = (_defined(uri, n, tmp_path) for n in ("stopped", "rerun", "removed", "paused"))
    for name in ("stopped", "rerun", "paused"):
        virsh(uri, "start", name)
    await qemu_agent(uri=door.uri())
    await _said(capsys, "compared")
    door.shut()
    for name in ("gone", "stopped", "rerun"):
        await _destroyed(uri, name)
    virsh(uri, "start", "rerun")
    virsh(uri, "undefine", "removed")
    virsh(uri, "suspend", "paused")
    new = _defined(uri, "new", tmp_path)
    virsh(uri, "start", "new")
    virsh(uri, "suspend", "new")
    kept = _defined(uri, "stopped", tmp_path)
    door.open()
    expected = {
        gone: ["stopped"],
        stopped: ["stopped"],
        rerun: ["stopped", "started"],
        removed: ["undefined"],
        paused: ["suspended"],
        new: ["defined", "started", "suspended"],
    }
    assert kept == stopped
    await eventually(lambda: len(_found(heard)) >= sum(map(len, expected.values())))
    assert {address: words_of(heard, address) for address in expected} == {
        address: [f"lifecycle.{word}" for word in words] for address, words in expected.items()
    }
    assert words_of(heard, steady) == []
    gap = (await heard.of_type("agent.gap"))[0].body["data"]
    assert gap["reason"] == "libvirt-lost"
    for event in _found(heard):
        assert check_published(event.body) == "domain.lifecycle"
        assert event.body["data"]["detail"] is None
        assert event.body["data"]["names"]["detail"] is None
        assert event.body["time"] >= gap["to"]
    assert_contiguous(heard)
    await _agrees(heard, client)


async def test_what_others_did_to_networks_pools_and_secrets_is_found(
    heard: Heard, qemu_agent: Qemu, door: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri, old_secret, new_secret = door.daemon.uri, str(uuid.uuid4()), str(uuid.uuid4())
    _make(uri, "net-define", NETWORK.format("old"), tmp_path)
    _make(uri, "pool-define", POOL.format("turned", door.daemon.cache), tmp_path)
    _make(uri, "secret-define", SECRET.format(old_secret, "old"), tmp_path)
    old = Address(HOST, "network", (virsh(uri, "net-uuid", "old").strip(),))
    turned = Address(HOST, "storage-pool", (virsh(uri, "pool-uuid", "turned").strip(),))
    await qemu_agent(uri=door.uri())
    await _said(capsys, "compared")
    door.shut()
    virsh(uri, "net-undefine", "old")
    _make(uri, "net-define", NETWORK.format("new"), tmp_path)
    virsh(uri, "secret-undefine", old_secret)
    _make(uri, "secret-define", SECRET.format(new_secret, "new"), tmp_path)
    door.open()
    await eventually(lambda: len(_found(heard)) >= 5)
    new = Address(HOST, "network", (virsh(uri, "net-uuid", "new").strip(),))
    assert words_of(heard, old) == ["lifecycle.undefined"]
    assert words_of(heard, new) == ["lifecycle.defined"]
    assert words_of(heard, turned) == ["lifecycle.started"]  # a daemon that starts finds the folder, and says nothing
    assert words_of(heard, Address(HOST, "secret", (old_secret,))) == ["lifecycle.undefined"]
    assert words_of(heard, Address(HOST, "secret", (new_secret,))) == ["lifecycle.defined"]
    assert len(_found(heard)) == 5
    for event in _found(heard):
        check_published(event.body)


async def test_a_libvirtd_that_was_restarted_with_nothing_changed_is_no_news(
    heard: Heard, qemu_agent: Qemu, door: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = door.daemon.uri
    create(uri, "steady", tmp_path)
    _defined(uri, "idle", tmp_path)
    _make(uri, "net-define", NETWORK.format("idle"), tmp_path)
    await qemu_agent(uri=door.uri())
    await _said(capsys, "compared")
    for _ in range(3):
        door.shut()
        door.open()
        await _said(capsys, "compared")
    assert not _found(heard)


async def test_a_libvirtd_that_dies_again_and_again_while_it_is_compared_makes_nothing_gone(
    heard: Heard, qemu_agent: Qemu, door: Door, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(20):
        _defined(door.daemon.uri, f"idle{number}", tmp_path)
    await qemu_agent(uri=door.uri())
    await _said(capsys, "compared")
    for outage in range(1, 9):
        door.daemon.kill()
        await heard.of_type("agent.libvirt-lost", outage)
        door.daemon.start()
        await heard.of_type("agent.libvirt-found", outage + 1)  # the next kill comes while it is asked
    await _said(capsys, "compared")
    assert not _found(heard)


@pytest.mark.parametrize("end", ["kill", "freeze"])
def test_a_listing_whose_libvirtd_ends_under_it_is_whole_or_unknown(door: Door, tmp_path: Path, end: str) -> None:
    for number in range(20):
        _defined(door.daemon.uri, f"idle{number}", tmp_path)
    event_loop.start()
    connection = Connection(door.uri(), read_only=True)
    handle = connection.open()
    whole = list_objects(handle, HOST, CLASSES)
    assert not whole.unknown
    ending = threading.Timer(0.05, getattr(door.daemon, end))
    ending.start()
    while not (listing := list_objects(handle, HOST, CLASSES)).unknown:
        assert listing.seen == whole.seen
    for cls in CLASSES:
        seen = {s: state for s, state in listing.seen.items() if s.startswith(f"{cls}/")}
        assert cls in listing.unknown or seen == {s: w for s, w in whole.seen.items() if s.startswith(f"{cls}/")}
        assert cls not in listing.unknown or not seen
    ending.join()
    if end == "freeze":
        door.daemon.thaw()
    del handle
    connection.close()


async def test_a_test_driver_that_is_as_new_after_a_restart_has_its_objects_changed_back(
    heard: Heard, client: Client, fresh_daemon: PrivateLibvirtd, qemu_agent: Qemu
) -> None:
    fresh_daemon.start()
    await qemu_agent(uri=fresh_daemon.test_uri)
    test = Address.of(await client.call(Address(HOST, "connect"), "virDomainLookupByName", {"name": "test"}))
    await client.call(test, "virDomainSuspend")
    xml = guest_xml("extra").replace("type='qemu'", "type='test'")
    extra = Address.of(await client.call(Address(HOST, "connect"), "virDomainDefineXML", {"xml": xml}))
    await client.call(extra, "virDomainCreate")
    await eventually(lambda: words_of(heard, extra) == ["lifecycle.defined", "lifecycle.started"])
    fresh_daemon.kill()
    fresh_daemon.start()
    await eventually(lambda: len(_found(heard)) >= 3)
    assert words_of(heard, extra)[2:] == ["lifecycle.stopped", "lifecycle.undefined"]
    assert words_of(heard, test) == ["lifecycle.suspended", "lifecycle.resumed"]
    assert len(_found(heard)) == 3
    assert_contiguous(heard)


async def test_a_snapshot_is_refused_while_libvirt_is_lost(
    client: Client, fresh_daemon: PrivateLibvirtd, qemu_agent: Qemu, heard: Heard
) -> None:
    fresh_daemon.start()
    await qemu_agent(uri=fresh_daemon.test_uri)
    fresh_daemon.kill()
    await heard.of_type("agent.libvirt-lost")
    with pytest.raises(errors.LibvirtLost):
        await client.call(AGENT, "snapshot")


def _found(heard: Heard) -> list[Message]:
    """What was found, but for the machine's own devices: somebody may start a container beside us."""
    return [m for m in heard.events if m.body.get("found") and ".node-device." not in m.key]


def _address(domain_uuid: str) -> Address:
    return Address(HOST, "domain", (domain_uuid,))


def _make(uri: str, command: str, xml: str, folder: Path) -> None:
    """Give libvirt a description past the agent."""
    file = folder / "description.xml"
    file.write_text(xml)
    virsh(uri, command, str(file))


def _defined(uri: str, name: str, folder: Path) -> Address:
    """Define a guest, anew if there is one, and return its address."""
    xml = guest_xml(name)
    if name in virsh(uri, "list", "--all", "--name").split():
        own = virsh(uri, "domuuid", name).strip()
        xml = xml.replace("<memory", f"<uuid>{own}</uuid><memory")
    _make(uri, "define", xml, folder)
    return _address(virsh(uri, "domuuid", name).strip())


def _try(uri: str, *arguments: str) -> None:
    with contextlib.suppress(subprocess.CalledProcessError):
        virsh(uri, *arguments)


async def _destroyed(uri: str, name: str) -> None:
    """Destroy a guest; a libvirtd that has just come back may do so and say that it does not know it."""
    _try(uri, "destroy", name)
    await eventually(lambda: name not in virsh(uri, "list", "--name").split())


async def _said(capsys: pytest.CaptureFixture[str], word: str) -> None:
    """Wait for a line of the agent's log that has not been read yet."""
    await eventually(lambda: f"] {word} " in capsys.readouterr().out)


async def _agrees(heard: Heard, client: Client) -> None:
    """A reader of all events knows the same domains as a snapshot, and whether they run."""
    known: dict[str, bool] = {}
    for message in heard.events:
        if message.body["type"] == "org.libvirt.domain.lifecycle":
            known[message.body["data"]["object"]["uuid"]] = message.key.rpartition(".")[2] not in _ENDS
    snapshot = await client.call(AGENT, "snapshot", {"classes": ["domain"]})
    active = {o["object"]["uuid"]: o["state"]["active"] for o in snapshot["objects"]}
    assert {uuid: is_active for uuid, is_active in known.items() if is_active} == {
        uuid: True for uuid, is_active in active.items() if is_active and uuid in known
    }


_ENDS = {"defined", "undefined", "stopped"}
