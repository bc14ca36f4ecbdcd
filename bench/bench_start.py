"""From the agent's spawn to its first heartbeat at a subscriber, and what it holds then, beside a bare skeleton."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from tempfile import TemporaryDirectory

from measure import (
    AGENT,
    HOST,
    Row,
    agent_environment,
    answering,
    cpu_seconds,
    interleaved,
    memory,
    python,
    raw_client,
    run,
    running,
    show,
    until,
)

from libvirt_amqp.client import connect
from libvirt_amqp.keys import STATS, Address

ROUNDS = 7
CALLS = 2000
AT_ONCE = 100
DOMAIN = Address(HOST, "domain", ("6695eb01-f6a4-8304-79aa-97f2502e193f",))


async def start(arrived: list[float], command: Sequence[str], environment: Mapping[str, str] | None = None) -> Row:
    """Start a program, wait for its first message, look at it, and stop it."""
    arrived.clear()
    begun = time.perf_counter()
    with running(command, environment) as process:
        await until(lambda: bool(arrived))
        held = memory(process.pid)
        cpu = cpu_seconds(process.pid)
    return {"ready": (arrived[0] - begun) * 1e3, "cpu": cpu * 1e3, "rss": held.rss, "pss": held.pss}


async def used(url: str, environment: Mapping[str, str]) -> Row:
    """Return what an agent holds after some calls."""
    with running(AGENT, environment) as process:
        await answering(url)
        async with connect(url, "bench") as client:
            for _ in range(CALLS // AT_ONCE):
                await asyncio.gather(*(client.call(DOMAIN, "virDomainGetInfo") for _ in range(AT_ONCE)))
        held = memory(process.pid)
    return {"rss": held.rss, "pss": held.pss}


async def main(url: str) -> None:
    """Measure and print."""
    async with AsyncExitStack() as stack:
        state = stack.enter_context(TemporaryDirectory(prefix="libvirt-amqp-bench-"))
        environment = agent_environment(url, state)
        module = (sys.executable, "-m", "app")
        arrived: list[float] = []
        raw = await stack.enter_async_context(raw_client(url))
        raw.on_message = lambda _correlation_id, _body: arrived.append(time.perf_counter())
        await raw.listen(STATS, f"{HOST}.agent.heartbeat")
        programs: dict[str, Callable[[], Awaitable[Row]]] = {
            "agent, libvirt-amqp serve": partial(start, arrived, AGENT, environment),
            "agent, python -m app": partial(start, arrived, module, environment),
            "skeleton, aio-pika and libvirt": partial(start, arrived, python("skeleton.py", url)),
        }
        for program in programs.values():  # bytecode written, files in the page cache
            await program()
        figures = await interleaved(programs, ROUNDS)
        later = await used(url, environment)
    rows: list[list[str | float]] = [
        [name, row["ready"], row["cpu"], row["rss"], row["pss"]] for name, row in figures.items()
    ]
    rows.append([f"agent after {CALLS} calls", "-", "-", later["rss"], later["pss"]])
    title = f"Start: spawn to the first heartbeat at a subscriber, medians of {ROUNDS}"
    show(title, ("program", "ready ms", "CPU ms", "RSS MiB", "PSS MiB"), rows)


if __name__ == "__main__":
    run(main)
