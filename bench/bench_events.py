"""An event's way from libvirt to a subscriber, beside bare programs that hear and publish the same events.

All of them listen to one libvirtd, one after the other; a process of its own makes it announce.  The aims of the outbox
on disk: 12 000 events at once at 0.6 of the rate of bare callbacks or more, the last one at the subscriber within
0.5 s, a single one in 1.5 times what the bare publisher takes or less.
"""

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial

from measure import (
    AGENT,
    HOST,
    Raw,
    Row,
    agent_environment,
    answering,
    cpu_seconds,
    interleaved,
    python,
    raw_client,
    ready,
    run,
    running,
    show,
    tell,
    until,
)
from private_libvirtd import PrivateLibvirtd

from libvirt_amqp.keys import EVENTS

ROUNDS = 5
PACED, PAUSE = 200, 0.004
FLOOD = 12_000
SLOWEST_SECONDS = 120.0
BARE = {
    "bare callback, nothing published": "callback",
    "aio-pika, confirmed, pipelined": "pipelined",
    "aio-pika, confirmed, one by one": "one-by-one",
}
ON_DISK, IN_MEMORY = "agent", "agent without a place for its state"
AIMS = {"rate": 0.6, "lag": 500.0, "p50": 1.5}

Process = subprocess.Popen[str]
Trigger = Callable[[int, float], Awaitable[list[int]]]
Wait = Callable[[int], Awaitable[list[int]]]
"""Waits until so many events have come to the end of their way, and returns when each did."""


async def measured(process: Process, trigger: Trigger, wait: Wait) -> Row:
    """Cause some events one after the other, then many at once."""
    triggered = await trigger(PACED, PAUSE)
    delays = [there - then for then, there in zip(triggered, await wait(PACED), strict=True)]
    cpu = cpu_seconds(process.pid)
    triggered = await trigger(FLOOD, 0)
    arrived = await wait(FLOOD)
    first, last = triggered[0], triggered[-1]
    return {
        "p50": statistics.median(delays) / 1e3,
        "p95": statistics.quantiles(delays, n=20)[-1] / 1e3,
        "caused": FLOOD / (last - first) * 1e9,
        "rate": FLOOD / (arrived[-1] - first) * 1e9,
        "lag": (arrived[-1] - last) / 1e6,
        "cpu": (cpu_seconds(process.pid) - cpu) / FLOOD * 1e6,
    }


class Subscriber:
    """Listens to all events of domains."""

    def __init__(self, client: Raw) -> None:
        self._arrived: list[int] = []
        client.on_message = lambda _correlation_id, _body: self._arrived.append(time.monotonic_ns())

    async def wait(self, count: int) -> list[int]:
        """Wait for so many since the last time."""
        await until(lambda: len(self._arrived) >= count, SLOWEST_SECONDS)
        arrived, self._arrived[:] = list(self._arrived), []
        return arrived


async def bare(kind: str, uri: str, url: str, trigger: Trigger, subscriber: Subscriber) -> Row:
    """Measure one of the bare programs."""
    with running(python("event_listener.py", kind, uri, url)) as process:
        ready(process)

        async def heard(count: int) -> list[int]:
            moments: list[int] = json.loads(await tell(process, str(count)))
            return moments

        return await measured(process, trigger, heard if kind == "callback" else subscriber.wait)


@contextmanager
def agent_process(uri: str, url: str, *, on_disk: bool) -> Iterator[Process]:
    """Run the agent as its users do; not `on_disk`: it can write nowhere."""
    with tempfile.TemporaryDirectory(prefix="libvirt-amqp-bench-") as state:
        place = state if on_disk else "/dev/null"
        environment = agent_environment(url, place, uri=uri, log_level="error")
        with running(AGENT, environment) as process:
            yield process


async def agent(uri: str, url: str, trigger: Trigger, subscriber: Subscriber, *, on_disk: bool) -> Row:
    """Measure the agent, once it has looked at what is there and is quiet."""
    with agent_process(uri, url, on_disk=on_disk) as process:
        await answering(url)
        await trigger(2, PAUSE)
        await subscriber.wait(2)
        return await measured(process, trigger, subscriber.wait)


async def main(url: str) -> None:
    """Measure and print."""
    async with AsyncExitStack() as stack:
        daemon = stack.enter_context(PrivateLibvirtd())
        client = await stack.enter_async_context(raw_client(url))
        subscriber = Subscriber(client)
        await client.listen(EVENTS, f"{HOST}.domain.#")
        source = stack.enter_context(running(python("event_trigger.py", daemon.test_uri)))
        ready(source)

        async def trigger(count: int, pause: float) -> list[int]:
            moments: list[int] = json.loads(await tell(source, f"{count} {pause}"))
            return moments

        where = (daemon.test_uri, url, trigger, subscriber)
        programs: dict[str, Callable[[], Awaitable[Row]]] = {
            ON_DISK: partial(agent, *where, on_disk=True),
            IN_MEMORY: partial(agent, *where, on_disk=False),
            **{name: partial(bare, kind, *where) for name, kind in BARE.items()},
        }
        report(await interleaved(programs, ROUNDS))


def report(figures: dict[str, dict[str, float]]) -> None:
    """Print the table, and what became of the aims."""
    columns = ("p50", "p95", "caused", "rate", "lag", "cpu")
    title = f"Events: trigger to subscriber, {PACED} one by one, then {FLOOD} at once, medians of {ROUNDS} rounds"
    header = ("program", "p50 us", "p95 us", "caused/s", "arrived/s", "lag of the last ms", "CPU us/event")
    show(title, header, [[name, *(row[column] for column in columns)] for name, row in figures.items()])
    callbacks, single = figures["bare callback, nothing published"], figures["aio-pika, confirmed, one by one"]
    for name in (ON_DISK, IN_MEMORY):
        row = figures[name]
        rate, latency = row["rate"] / callbacks["rate"], row["p50"] / single["p50"]
        print(f"{name}: {rate:.2f} of the bare callbacks' rate (aim {AIMS['rate']}), the last one after")
        print(
            f"  {row['lag']:.0f} ms (aim {AIMS['lag']:.0f}), a single one in {latency:.2f} of the bare publisher's time"
        )
        print(f"  (aim {AIMS['p50']})")


if __name__ == "__main__":
    run(main)
