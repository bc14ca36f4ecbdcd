"""An event's way from libvirt to a subscriber, beside bare programs that hear and publish the same events.

The aims of the outbox on disk: 12 000 events at once at 0.6 of the rate of bare callbacks or more, the last one at the
subscriber within 0.5 s, a single one in 1.5 times what the bare publisher takes or less.
"""

import json
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from measure import (
    IN_MEMORY,
    Raw,
    Row,
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

from libvirt_amqp.keys import EVENTS

ROUNDS = 3
PACED, PAUSE = 100, 0.004
FLOOD = 12_000
SLOWEST_SECONDS = 120.0
SOURCES = {
    "agent": "agent",
    "agent without a place for its state": "agent-in-memory",
    "bare callback, nothing published": "callback",
    "aio-pika, confirmed, pipelined": "pipelined",
    "aio-pika, confirmed, one by one": "one-by-one",
}

Process = subprocess.Popen[str]


async def cause(process: Process, arrived: list[int], count: int, pause: float, *, publishes: bool) -> dict[str, Any]:
    """Have events caused; returns the moments of triggers, callbacks and arrivals, and the CPU used."""
    arrived.clear()
    cpu = cpu_seconds(process.pid)
    moments: dict[str, Any] = json.loads(await tell(process, f"{count} {pause}"))
    if publishes:
        await until(lambda: len(arrived) >= count, SLOWEST_SECONDS)
    moments["arrived"] = list(arrived) if publishes else moments["heard"]
    moments["cpu"] = cpu_seconds(process.pid) - cpu
    return moments


async def measured(process: Process, arrived: list[int], *, publishes: bool) -> Row:
    """Cause some events one after the other, then many at once."""
    paced = await cause(process, arrived, PACED, PAUSE, publishes=publishes)
    delays = [there - then for then, there in zip(paced["triggered"], paced["arrived"], strict=True)]
    flood = await cause(process, arrived, FLOOD, 0, publishes=publishes)
    first, last = flood["triggered"][0], flood["triggered"][-1]
    return {
        "p50": statistics.median(delays) / 1e3,
        "p95": statistics.quantiles(delays, n=20)[-1] / 1e3,
        "heard": FLOOD / (flood["heard"][-1] - first) * 1e9,
        "rate": FLOOD / (flood["arrived"][-1] - first) * 1e9,
        "lag": (flood["arrived"][-1] - last) / 1e6,
        "cpu": flood["cpu"] / FLOOD * 1e6,
    }


async def subscriber(stack: AsyncExitStack, url: str) -> list[int]:
    """Listen to all events of domains; returns the moments of their arrival, a list that grows."""
    arrived: list[int] = []
    raw: Raw = await stack.enter_async_context(raw_client(url))
    raw.on_message = lambda _correlation_id, _body: arrived.append(time.monotonic_ns())
    await raw.listen(EVENTS, "*.domain.#")
    return arrived


async def main(url: str) -> None:
    """Measure and print."""
    async with AsyncExitStack() as stack:
        arrived = await subscriber(stack, url)
        programs: dict[str, Callable[[], Awaitable[Row]]] = {}
        for name, kind in SOURCES.items():
            process = stack.enter_context(running(python("event_source.py", kind, url)))
            ready(process)
            programs[name] = partial(measured, process, arrived, publishes=kind != "callback")
        await answering(url)
        await answering(url, IN_MEMORY)
        figures = await interleaved(programs, ROUNDS)
    columns = ("p50", "p95", "heard", "rate", "lag", "cpu")
    title = f"Events: trigger to subscriber, {PACED} one by one, then {FLOOD} at once, medians of {ROUNDS} rounds"
    header = (
        "program",
        "p50 us",
        "p95 us",
        "callbacks/s",
        "arrived/s",
        "lag of the last ms",
        "CPU us/event, trigger included",
    )
    show(title, header, [[name, *(figures[name][column] for column in columns)] for name in SOURCES])
    bare, single = figures["bare callback, nothing published"], figures["aio-pika, confirmed, one by one"]
    for name, kind in SOURCES.items():
        if kind.startswith("agent"):
            row = figures[name]
            heard, rate, latency = (row[f] / of[f] for f, of in (("heard", bare), ("rate", bare), ("p50", single)))
            print(f"{name}: callbacks at {heard:.2f} and arrivals at {rate:.2f} of the bare callbacks' rate,")
            print(f"  a single event in {latency:.2f} of the bare publisher's time")


if __name__ == "__main__":
    run(main)
