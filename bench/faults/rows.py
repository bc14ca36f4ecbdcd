"""The faults.  Each is put into a running rig, and ends with the account of what came."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from account import Account
from private_libvirtd import PrivateLibvirtd
from relay import Relay
from rig import Rig, rig

RATE = 50.0
"""Changes a second."""
BEFORE_SECONDS = 1.0
"""Things change for so long before a fault and behind it."""


@dataclass(frozen=True)
class Scale:
    """How long and how often."""

    broker_away: float
    frozen: float
    alarm: float
    cuts: int
    kills: int


FULL = Scale(broker_away=600, frozen=60, alarm=60, cuts=100, kills=100)
QUICK = Scale(broker_away=10, frozen=15, alarm=5, cuts=5, kills=10)

Fault = Callable[[str, Scale, str | None], Awaitable[Account]]
FAULTS: dict[str, Fault] = {}


def fault(name: str) -> Callable[[Callable[[Rig, PrivateLibvirtd, Scale], Awaitable[str]]], Fault]:
    """Make a row of a function that does something to a rig on the test driver and returns a note."""

    def make(do: Callable[[Rig, PrivateLibvirtd, Scale], Awaitable[str]]) -> Fault:
        async def run(name: str, scale: Scale, url: str | None) -> Account:
            with PrivateLibvirtd() as daemon:
                async with rig(name, url) as one:
                    note = await do(one, daemon, scale)
                    await asyncio.sleep(BEFORE_SECONDS)
                    return await one.account(note)

        FAULTS[name] = run
        return run

    return make


async def _begin(one: Rig, daemon: PrivateLibvirtd) -> None:
    await one.begin(daemon, daemon.test_uri, RATE)
    await asyncio.sleep(BEFORE_SECONDS)


@fault("broker restart")
async def broker_restart(one: Rig, daemon: PrivateLibvirtd, _: Scale) -> str:
    await _begin(one, daemon)
    for how in (one.broker.stop, one.broker.kill):
        await asyncio.to_thread(how)
        await asyncio.to_thread(one.broker.start)
        await one.until(one.is_answering)
        await asyncio.sleep(BEFORE_SECONDS)
    return "once in good order, once by SIGKILL"


@fault("broker away")
async def broker_away(one: Rig, daemon: PrivateLibvirtd, scale: Scale) -> str:
    await _begin(one, daemon)
    await asyncio.to_thread(one.broker.stop)
    await asyncio.sleep(scale.broker_away)
    await asyncio.to_thread(one.broker.start)
    await one.until(one.is_answering)
    return f"stopped for {scale.broker_away:.0f} s"


@fault("connection cut")
async def connection_cut(one: Rig, daemon: PrivateLibvirtd, scale: Scale) -> str:
    relay = await one.stack.enter_async_context(Relay(port_of(one.broker_url)))
    one.agent_url = with_port(one.broker_url, relay.port)
    await one.begin(daemon, daemon.test_uri, 4 * RATE)
    for _ in range(scale.cuts):
        await asyncio.sleep(random.uniform(0.3, 0.6))
        relay.cut_after(random.randrange(1, 60_000))
        await one.until(lambda: relay.is_cut)
        await one.until(one.is_answering)
    return f"reset {scale.cuts} times by a proxy, in the middle of what was sent"


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2].strip("/"))


def with_port(url: str, port: int) -> str:
    return f"{url.rpartition(':')[0]}:{port}/"


@fault("broker frozen")
async def broker_frozen(one: Rig, daemon: PrivateLibvirtd, scale: Scale) -> str:
    one.agent_url = f"{one.broker_url}?heartbeat=3"
    await _begin(one, daemon)
    one.broker.freeze()
    await asyncio.sleep(scale.frozen)
    one.broker.thaw()
    return f"SIGSTOP for {scale.frozen:.0f} s, heartbeats every 3 s"


@fault("memory alarm")
async def memory_alarm(one: Rig, daemon: PrivateLibvirtd, scale: Scale) -> str:
    await _begin(one, daemon)
    await asyncio.to_thread(one.broker.ctl, "set_vm_memory_high_watermark", "0.0001")
    await asyncio.sleep(scale.alarm)
    await asyncio.to_thread(one.broker.ctl, "set_vm_memory_high_watermark", "0.4")
    return f"for {scale.alarm:.0f} s"


@fault("agent SIGKILL")
async def agent_killed(one: Rig, daemon: PrivateLibvirtd, scale: Scale) -> str:
    await _begin(one, daemon)
    for _ in range(scale.kills):
        one.kill_agent()
        await asyncio.sleep(random.uniform(0, 0.5))
        one.start_agent()
        await asyncio.sleep(random.uniform(0.3, 3))
    return f"{scale.kills} times, 0.3 to 3 s after the start"
