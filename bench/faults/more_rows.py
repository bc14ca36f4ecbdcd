"""The faults of libvirtd, of the disk and of the clock, and of a cluster, whose rigs are more than the usual one."""

import asyncio
import os
import resource
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from account import Account, Happening
from cluster import cluster
from private_libvirtd import PrivateLibvirtd
from relay import Relay
from rig import Rig, rig
from rows import BEFORE_SECONDS, FAULTS, RATE, Scale, fault, with_port

QEMU_RATE = 5.0
"""A guest's start takes some tenths of a second."""
RUNNING_SECONDS = 6.0
"""So long guests come and go before the daemon is lost."""
KEEPALIVE_SECONDS = 25.0
"""The agent gives a daemon up that has been silent for 15 to 20 s."""
CLOCK = Path(__file__).parent / "clock"
BACK_SECONDS = 3600


def of_libvirtd(name: str) -> Callable[[Callable[[Rig, PrivateLibvirtd], Awaitable[str]]], None]:
    """Make a row on QEMU guests, which survive their daemon."""

    def make(do: Callable[[Rig, PrivateLibvirtd], Awaitable[str]]) -> None:
        async def run(name: str, _: Scale, url: str | None) -> Account:
            with PrivateLibvirtd() as daemon:
                async with rig(name, url) as one:
                    await one.begin(daemon, daemon.uri, QEMU_RATE)
                    await asyncio.sleep(RUNNING_SECONDS)
                    note = await do(one, daemon)
                    await one.until(lambda: one.said("libvirt_connected") > 1)
                    await asyncio.sleep(2 * BEFORE_SECONDS)
                    return await one.account(note)

        FAULTS[name] = run

    return make


async def _lose_a_guest(one: Rig, daemon: PrivateLibvirtd) -> None:
    """End a guest while its daemon cannot say so."""
    running = [subject for subject, (active, _, _) in one.last.items() if active and subject.startswith("domain/")]
    for process in daemon.processes():
        words = Path(f"/proc/{process}/cmdline").read_bytes().decode().split("\0")
        subject = f"domain/{words[words.index('-uuid') + 1]}" if "-uuid" in words else ""
        if subject in running:
            os.kill(process, 9)
            one.silent.append(Happening(time.time(), subject, "stopped"))
            return
    raise RuntimeError("no guest runs")


async def _quiet(one: Rig) -> None:
    """Let nothing change, as soon as a guest runs: what there is is known while nobody can ask."""
    while True:
        await one.rate(0)
        one.last = await one.now()
        if any(active for subject, (active, *_) in one.last.items() if subject.startswith("domain/")):
            return
        await one.rate(QEMU_RATE)
        await asyncio.sleep(BEFORE_SECONDS / 2)


@of_libvirtd("libvirtd SIGKILL")
async def libvirtd_killed(one: Rig, daemon: PrivateLibvirtd) -> str:
    await _quiet(one)
    daemon.kill()
    await _lose_a_guest(one, daemon)
    await asyncio.sleep(BEFORE_SECONDS)
    daemon.start()
    await one.rate(QEMU_RATE)
    return "QEMU guests; one of them was killed while the daemon was dead"


@of_libvirtd("libvirtd SIGKILL under load")
async def libvirtd_killed_under_load(_one: Rig, daemon: PrivateLibvirtd) -> str:
    for _ in range(3):
        daemon.kill()
        daemon.start()
        await asyncio.sleep(3 * BEFORE_SECONDS)
    return "three times, while guests are being started and stopped"


@of_libvirtd("libvirtd restart")
async def libvirtd_restart(one: Rig, daemon: PrivateLibvirtd) -> str:
    await _quiet(one)
    daemon.stop()
    await _lose_a_guest(one, daemon)
    daemon.start()
    await one.rate(QEMU_RATE)
    return "SIGTERM; one guest was killed before its return"


@of_libvirtd("libvirtd SIGSTOP")
async def libvirtd_frozen(one: Rig, daemon: PrivateLibvirtd) -> str:
    await _quiet(one)
    daemon.freeze()
    await _lose_a_guest(one, daemon)
    await one.until(lambda: one.said("libvirt_lost"), KEEPALIVE_SECONDS)
    daemon.thaw()
    await one.rate(QEMU_RATE)
    return "until the agent gave it up; one guest was killed meanwhile"


@fault("disk full")
async def disk_full(one: Rig, daemon: PrivateLibvirtd, scale: Scale) -> str:
    """A small disk of its own where one can be made, else a limit to the size of files."""
    is_mounted = os.geteuid() == 0 and _mount(one)
    await one.begin(daemon, daemon.test_uri, RATE)
    await asyncio.sleep(BEFORE_SECONDS)
    if one.has_broker:
        await asyncio.to_thread(one.broker.stop)
    _fill(one, is_mounted=is_mounted)
    await one.until(lambda: one.said("outbox_not_on_disk"))
    await asyncio.sleep(scale.alarm)
    _empty(one, is_mounted=is_mounted)
    await one.until(lambda: one.said("outbox_on_disk_again"))
    if one.has_broker:
        await asyncio.to_thread(one.broker.start)
        await one.until(one.is_answering)
    how = "ENOSPC on a small disk" if is_mounted else "EFBIG by a limit"
    return f"{how} for {scale.alarm:.0f} s" + (", the broker away meanwhile" if one.has_broker else "")


def _mount(one: Rig) -> bool:
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(one.state)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        return False
    one.stack.callback(subprocess.run, ["umount", "-l", str(one.state)], check=True)
    return True


def _fill(one: Rig, *, is_mounted: bool) -> None:
    if not is_mounted:
        _, hard = resource.prlimit(one.agent.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(one.agent.pid, resource.RLIMIT_FSIZE, (1024, hard))
        return
    with (one.state / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def _empty(one: Rig, *, is_mounted: bool) -> None:
    if is_mounted:
        (one.state / "filler").unlink()
        return
    _, hard = resource.prlimit(one.agent.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(one.agent.pid, resource.RLIMIT_FSIZE, (hard, hard))


@fault("clock stepped back")
async def clock_back(one: Rig, daemon: PrivateLibvirtd, _: Scale) -> str:
    """Calls have deadlines: an agent whose clock is behind takes them, one whose clock is ahead does not."""
    clock = one.state.parent / "clock"
    clock.write_text("0")
    one.clock_steps = BACK_SECONDS
    one.environment = {"PYTHONPATH": str(CLOCK), "CLOCK_FILE": str(clock)}
    await one.begin(daemon, daemon.test_uri, RATE)
    await asyncio.sleep(BEFORE_SECONDS)
    for steps in (1, 2):
        one.kill_agent()
        clock.write_text(str(-(2 * steps - 1) * BACK_SECONDS))
        one.start_agent()
        await one.until(one.is_answering)
        clock.write_text(str(-2 * steps * BACK_SECONDS))
        await asyncio.sleep(BEFORE_SECONDS)
    return f"by {BACK_SECONDS} s between two runs (SIGKILL) and again in the middle of one, twice"


async def a_node_lost(name: str, _: Scale, __: str | None) -> Account:
    with cluster() as nodes, PrivateLibvirtd() as daemon:
        first, second, third = nodes
        async with rig(name, second.url) as one:
            one.queue_arguments = {"x-queue-type": "quorum"}
            relay = await one.stack.enter_async_context(Relay(first.port, third.port))
            one.agent_url = with_port(first.url, relay.port)
            await one.begin(daemon, daemon.test_uri, RATE)
            await asyncio.sleep(BEFORE_SECONDS)
            await asyncio.to_thread(first.kill)
            relay.cut()
            await one.until(one.is_answering)
            await asyncio.sleep(3 * BEFORE_SECONDS)
            await asyncio.to_thread(first.start)
            await asyncio.sleep(BEFORE_SECONDS)
            return await one.account(
                "the agent's, by SIGKILL; a proxy leads it to another; the queue is a quorum queue"
            )


FAULTS["cluster loses a node"] = a_node_lost
