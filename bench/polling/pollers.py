"""Programs that poll a node: the barest ones, and the agent as its users run it.  Each makes or awaits rounds."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import NamedTuple

from measure import HOST, answering, python, raw_client, ready, running, running_agent, tell, until

from app.settings import Settings
from libvirt_amqp.keys import STATS
from polling.cost import Missing
from polling.nodes import Node

NEVER = "86400"
FREE = {"stats_cpu_share": "100"}
"""Settings without which the agent would stretch the interval; one that it does not have is left out."""


class Rig(NamedTuple):
    """What all programs of one comparison share."""

    node: Node
    broker_url: str
    interval: float

    @property
    def patience(self) -> float:
        """Seconds in which a round of the slowest has to come."""
        return 60 + 3 * self.interval


class Done(NamedTuple):
    rounds: int
    messages: int


class Poller(NamedTuple):
    """A running program; `rounds` returns what was really done, at the end of a round."""

    pid: int | None
    rounds: Callable[[int], Awaitable[Done]]


Program = Callable[[Rig], AbstractAsyncContextManager[Poller]]


async def on_beats(rig: Rig, count: int, beat: Callable[[], Awaitable[None]]) -> None:
    """Make some rounds, one every interval."""
    for _ in range(count):
        begun = time.monotonic()
        await beat()
        await asyncio.sleep(max(0, begun + rig.interval - time.monotonic()))


def reader(*way: str) -> Program:
    """Return a bare program."""

    @asynccontextmanager
    async def start(rig: Rig) -> AsyncIterator[Poller]:
        with running(python("polling/reader.py", rig.node.uri, *way)) as process:
            ready(process)

            async def beat() -> None:
                answer = (await tell(process, "")).strip()
                if answer != str(rig.node.size):
                    raise Missing(f"not {rig.node.size} domains read, but: {answer}")

            async def rounds(count: int) -> Done:
                await on_beats(rig, count, beat)
                return Done(count, 0)

            yield Poller(process.pid, rounds)

    return start


class Tally:
    """What was published on `libvirt.stats`: a round ends with the host's own figures."""

    def __init__(self) -> None:
        self.rounds, self.messages, self.domains = 0, 0, 0

    def __call__(self, _correlation_id: str, body: bytes) -> None:
        self.messages += 1
        self.domains += body.count(b'"uuid"')
        self.rounds += b'"org.libvirt.connect.info"' in body


def settings(**wanted: str) -> dict[str, str]:
    """Return those that the agent has."""
    return {name: value for name, value in wanted.items() if name in Settings.model_fields}


def agent(**wanted: str) -> Program:
    """Return the agent that publishes every interval."""

    @asynccontextmanager
    async def start(rig: Rig) -> AsyncIterator[Poller]:
        tally = Tally()
        given = {"uri": rig.node.uri, "stats_interval": str(rig.interval), "heartbeat_interval": NEVER}
        async with raw_client(rig.broker_url) as raw:
            raw.on_message = tally
            await raw.listen(STATS, f"{HOST}.#")
            with running_agent(rig.broker_url, **(given | settings(**FREE) | wanted)) as process:

                async def rounds(count: int) -> Done:
                    begun, messages, domains = tally.rounds, tally.messages, tally.domains
                    await until(lambda: tally.rounds >= begun + count, count * rig.patience)
                    done = tally.rounds - begun
                    if begun and tally.domains - domains != done * rig.node.size:
                        raise Missing(f"{tally.domains - domains} domains' figures in {done} rounds of the agent")
                    return Done(done, tally.messages - messages)

                yield Poller(process.pid, rounds)

    return start


@asynccontextmanager
async def resting_agent(rig: Rig) -> AsyncIterator[Poller]:
    """Run the agent without statistics: what it costs to be there."""
    given = {"uri": rig.node.uri, "stats_interval": NEVER, "heartbeat_interval": NEVER}
    with running_agent(rig.broker_url, **given) as process:
        await answering(rig.broker_url)

        async def rounds(count: int) -> Done:
            await asyncio.sleep(count * rig.interval)
            return Done(count, 0)

        yield Poller(process.pid, rounds)


@asynccontextmanager
async def nobody(rig: Rig) -> AsyncIterator[Poller]:
    """Poll nothing: what the node costs by itself."""

    async def rounds(count: int) -> Done:
        await asyncio.sleep(count * rig.interval)
        return Done(count, 0)

    yield Poller(None, rounds)
