"""Long calls on a real libvirtd: how they go, what may be aborted, and who gets through while workers are stuck."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import libvirt
import pytest
from conftest import eventually
from private_libvirtd import PrivateLibvirtd

from libvirt_amqp import errors
from libvirt_amqp.client import Client
from libvirt_amqp.keys import Address
from qemu.conftest import AGENT, CONNECT, Qemu, define, guest_xml

EVERY_WORKER = 8
MIB = 1024 * 1024
MONITOR = {"cmd": '{"execute": "query-status"}', "flags": 0}
DIRTY = bytes.fromhex("ba0010 8ec2 31ff b90080 43 89d8 f3ab 80c610 80fe90 72ec ebe7")
"""A boot sector: write through 512 KiB of memory again and again, faster than a slow line can send it."""


@pytest.fixture
async def stuck_guest(client: Client, daemon: PrivateLibvirtd, qemu_agent: Qemu) -> Any:
    """Yield a guest whose QEMU is stopped: what needs its monitor hangs until it goes on."""
    await qemu_agent(secrets=True)
    guest = await define(client, f"stuck-{os.urandom(3).hex()}")
    await client.call(guest, "virDomainCreate")
    (qemu,) = [p for p in daemon.processes() if guest.words[0].encode() in Path(f"/proc/{p}/cmdline").read_bytes()]
    os.kill(qemu, signal.SIGSTOP)
    yield guest
    with contextlib.suppress(ProcessLookupError):
        os.kill(qemu, signal.SIGCONT)
    await client.call(guest, "virDomainUndefineFlags", {"flags": 0})


@pytest.fixture
async def disk_guest(client: Client, daemon: PrivateLibvirtd, qemu_agent: Qemu) -> Any:
    """Yield a running guest with a qcow2 disk of 64 MiB, 32 of which are written, over a backing file."""
    await qemu_agent()
    folder = daemon.socket.parent / f"disk-{os.urandom(3).hex()}"
    folder.mkdir()
    folder.chmod(0o777)
    base = folder / "base.img"
    base.write_bytes(os.urandom(32 * MIB).ljust(64 * MIB, b"\0"))
    base.chmod(0o666)
    pool_xml = f"<pool type='dir'><name>{folder.name}</name><target><path>{folder}</path></target></pool>"
    pool = Address.of(await client.call(CONNECT, "virStoragePoolCreateXML", {"xmlDesc": pool_xml}))
    volume_xml = f"""<volume><name>top.qcow2</name><capacity>{64 * MIB}</capacity>
        <target><format type='qcow2'/></target>
        <backingStore><path>{base}</path><format type='raw'/></backingStore></volume>"""
    volume = await client.call(pool, "virStorageVolCreateXML", {"xmlDesc": volume_xml})
    disk = f"""<disk type='file'><driver name='qemu' type='qcow2'/><source file='{volume["path"]}'/>
        <target dev='vda' bus='virtio'/></disk></devices>"""
    xml = guest_xml(f"disk-{os.urandom(3).hex()}").replace("</devices>", disk)
    guest = Address.of(await client.call(CONNECT, "virDomainCreateXML", {"xmlDesc": xml}))
    yield guest
    await client.call(guest, "virDomainDestroy")


async def test_a_stuck_call_tells_that_it_runs_and_is_not_lost(client: Client, stuck_guest: Address) -> None:
    news: list[dict[str, Any]] = []
    call = asyncio.create_task(
        client.call(stuck_guest, "virDomainQemuMonitorCommand", MONITOR, timeout=1, progress=news.append)
    )
    await eventually(lambda: len(news) >= 3, 15)
    assert [n["number"] for n in news[:3]] == [1, 2, 3]
    assert {n["state"] for n in news} == {"running"}
    assert news[2]["elapsed"] > news[0]["elapsed"] >= 1
    assert not call.done()
    await client.call(stuck_guest, "virDomainDestroy")
    with pytest.raises(errors.LibvirtFailed):
        await call


async def test_a_migration_tells_its_figures_and_can_be_aborted_while_the_call_runs(
    client: Client, qemu_agent: Qemu, daemon: PrivateLibvirtd, fresh_daemon: PrivateLibvirtd
) -> None:
    fresh_daemon.start()
    await qemu_agent()
    disk = daemon.socket.parent / f"dirty-{os.urandom(3).hex()}.img"
    disk.write_bytes(DIRTY.ljust(510, b"\0") + b"\x55\xaa")
    disk.chmod(0o666)
    source = f"""<disk type='file'><driver name='qemu' type='raw'/><source file='{disk}'/>
        <target dev='hda' bus='ide'/><shareable/></disk></devices>"""
    xml = guest_xml(f"dirty-{os.urandom(3).hex()}").replace("</devices>", source)
    guest = Address.of(await client.call(CONNECT, "virDomainCreateXML", {"xmlDesc": xml}))
    plan = {
        "dconnuri": fresh_daemon.uri,
        "params": {"migrate_uri": f"unix://{daemon.socket.parent}/slow.sock", "bandwidth": 1},
        "flags": libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER | libvirt.VIR_MIGRATE_UNSAFE,
    }
    news: list[dict[str, Any]] = []
    call = asyncio.create_task(client.call(guest, "virDomainMigrateToURI3", plan, progress=news.append))
    await eventually(lambda: any(n["job"] and n["job"]["params"].get("memory_processed") for n in news), 30)
    assert await client.call(guest, "virDomainAbortJob") == 0
    with pytest.raises(errors.LibvirtFailed, match=r"abort|cancel"):
        await call
    assert (await client.call(guest, "virDomainGetState"))["state"] == libvirt.VIR_DOMAIN_RUNNING
    await client.call(guest, "virDomainDestroy")


async def test_a_block_job_is_followed_until_it_has_ended(client: Client, disk_guest: Address) -> None:
    news: list[dict[str, Any]] = []
    pull = {"disk": "vda", "bandwidth": 1}
    call = asyncio.create_task(client.call(disk_guest, "virDomainBlockPull", pull, progress=news.append))
    await eventually(lambda: any(n["job"] and n["job"]["end"] for n in news), 20)
    assert not call.done()
    await client.call(disk_guest, "virDomainBlockJobAbort", {"disk": "vda"})
    assert await call == 0
    assert (news[-1]["state"], news[-1]["job"]) == ("ended", None)


async def test_a_call_that_starts_a_job_is_followed_until_it_is_ready(
    client: Client, disk_guest: Address, daemon: PrivateLibvirtd
) -> None:
    copy = daemon.socket.parent / f"copy-{os.urandom(3).hex()}.img"
    xml = f"<disk type='file'><source file='{copy}'/><driver type='raw'/></disk>"
    news: list[dict[str, Any]] = []
    arguments = {"disk": "vda", "destxml": xml, "flags": libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB}
    assert await client.call(disk_guest, "virDomainBlockCopy", arguments, progress=news.append) == 0
    assert news[-1]["state"] == "ready"
    assert news[-1]["job"]["cur"] == news[-1]["job"]["end"] > 0
    await client.call(disk_guest, "virDomainBlockJobAbort", {"disk": "vda", "flags": 0})


async def test_the_repeat_of_a_call_tells_its_progress_and_has_its_answer(client: Client, disk_guest: Address) -> None:
    news: list[dict[str, Any]] = []
    for _ in range(2):
        pull = client.call(disk_guest, "virDomainBlockPull", {"disk": "vda"}, progress=news.append, idempotency_key="p")
        assert await pull == 0
        assert news[-1]["state"] == "ended"


async def test_one_stuck_guest_does_not_hide_how_another_ones_job_goes(
    client: Client, stuck_guest: Address, disk_guest: Address
) -> None:
    stuck = asyncio.create_task(client.call(stuck_guest, "virDomainSuspend", progress=lambda _: None))
    news: list[dict[str, Any]] = []
    pull = asyncio.create_task(
        client.call(disk_guest, "virDomainBlockPull", {"disk": "vda", "bandwidth": 1}, progress=news.append)
    )
    await eventually(lambda: any(n["job"] for n in news), 20)
    await client.call(disk_guest, "virDomainBlockJobAbort", {"disk": "vda"})
    await pull
    assert news[-1]["state"] == "ended"
    await _let_go(client, stuck_guest, [stuck])


async def test_a_progress_callback_that_raises_is_the_callers_and_the_connection_goes_on(
    client: Client, stuck_guest: Address
) -> None:
    def raises(_news: dict[str, Any]) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await client.call(stuck_guest, "virDomainSuspend", progress=raises)
    assert await client.call(CONNECT, "virConnectGetType") == "QEMU"
    await client.call(stuck_guest, "virDomainDestroy")


async def test_a_call_that_waits_for_a_worker_is_aborted_by_its_caller(client: Client, stuck_guest: Address) -> None:
    stuck = await _stuck_workers(client, stuck_guest)
    news: list[dict[str, Any]] = []
    waiting = asyncio.create_task(
        client.call(stuck_guest, "virDomainQemuMonitorCommand", MONITOR, progress=news.append)
    )
    await eventually(lambda: news)
    assert news[0]["state"] == "waiting"
    assert await client.call(AGENT, "abort", {"id": news[0]["id"]}) == "aborted"
    with pytest.raises(errors.Aborted):
        await waiting
    assert await client.call(AGENT, "abort", {"id": news[0]["id"]}) == "unknown"
    await _let_go(client, stuck_guest, stuck)


async def test_a_call_that_runs_is_not_aborted_by_the_agent_but_said_to_run(
    client: Client, stuck_guest: Address
) -> None:
    news: list[dict[str, Any]] = []
    call = asyncio.create_task(client.call(stuck_guest, "virDomainQemuMonitorCommand", MONITOR, progress=news.append))
    await eventually(lambda: news)
    assert await client.call(AGENT, "abort", {"id": news[0]["id"]}) == "running"
    await _let_go(client, stuck_guest, [call])


async def test_what_is_marked_high_priority_gets_through_while_every_ordinary_worker_is_stuck(
    client: Client, stuck_guest: Address
) -> None:
    stuck = await _stuck_workers(client, stuck_guest)
    assert await client.call(CONNECT, "virConnectGetType", timeout=5) == "QEMU"
    assert await client.call(stuck_guest, "virDomainDestroy") == 0  # libvirt waits 10 s before it kills
    await _let_go(client, stuck_guest, stuck, destroyed=True)


async def _stuck_workers(client: Client, guest: Address) -> list[asyncio.Task[Any]]:
    """Make calls that hang until an ordinary one gets no worker any more, and return them."""
    calls = [
        asyncio.create_task(client.call(guest, "virDomainQemuMonitorCommand", MONITOR)) for _ in range(EVERY_WORKER)
    ]

    async def is_stuck() -> bool:
        try:
            await client.call(CONNECT, "virConnectGetCapabilities", timeout=0.3)
        except errors.DeadlinePassed:
            return True
        return False

    await eventually(is_stuck)
    return calls


async def _let_go(client: Client, guest: Address, calls: list[asyncio.Task[Any]], *, destroyed: bool = False) -> None:
    if not destroyed:
        await client.call(guest, "virDomainDestroy")
    await asyncio.gather(*calls, return_exceptions=True)
