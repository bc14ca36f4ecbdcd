"""What a round of statistics costs the agent, beside a bare loop of virDomainGetInfo over the same domains."""

import asyncio
import subprocess
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from measure import (
    HOST,
    Row,
    answering,
    cpu_seconds,
    interleaved,
    memory,
    python,
    raw_client,
    ready,
    run,
    running,
    running_agent,
    show,
    tell,
    until,
)

from libvirt_amqp.keys import STATS

SIZES = (100, 1000)
ROUNDS, BEATS, INTERVAL = 3, 3, 0.3
AGENT, BARE, PEER = "agent", "bare virDomainGetInfo", "the same, published by aio-pika"

Process = subprocess.Popen[str]


def node_file(folder: str, size: int) -> str:
    """Write a node of the test driver with so many running domains; returns its URI."""
    domain = (
        "<domain type='test'><name>guest{number}</name><uuid>{uuid}</uuid><memory unit='MiB'>64</memory>"
        "<vcpu>1</vcpu><os><type>hvm</type></os></domain>"
    )
    names = [(number, uuid.uuid5(uuid.NAMESPACE_OID, str(number))) for number in range(size)]
    domains = "".join(domain.format(number=number, uuid=its) for number, its in names)
    path = Path(folder) / f"node-{size}.xml"
    path.write_text(f"<node>{domains}</node>")
    return f"test://{path}"


async def agent_rounds(process: Process, seen: list[bytes]) -> Row:
    """Watch some rounds of the agent, from the end of one to the end of another: `seen` grows by one message each."""
    start = len(seen)
    await until(lambda: len(seen) > start)
    cpu = cpu_seconds(process.pid)
    await until(lambda: len(seen) > start + BEATS)
    return {"cpu": (cpu_seconds(process.pid) - cpu) / BEATS * 1e3, "pss": memory(process.pid).pss}


async def peer_rounds(process: Process, _seen: list[bytes]) -> Row:
    """Have some rounds made at the agent's pace."""
    cpu = cpu_seconds(process.pid)
    for _ in range(BEATS):
        begun = time.monotonic()
        await tell(process, "")
        await asyncio.sleep(begun + INTERVAL - time.monotonic())
    return {"cpu": (cpu_seconds(process.pid) - cpu) / BEATS * 1e3, "pss": memory(process.pid).pss}


async def measured(url: str, folder: str, size: int) -> dict[str, dict[str, float]]:
    """Measure an agent and its peers on a node of one size."""
    uri = node_file(folder, size)
    async with AsyncExitStack() as stack:
        seen: list[bytes] = []
        raw = await stack.enter_async_context(raw_client(url))
        raw.on_message = lambda _correlation_id, body: seen.append(body)
        await raw.listen(STATS, f"{HOST}.connect.info")
        settings = {"uri": uri, "stats_interval": str(INTERVAL), "stats_cpu_share": "100"}
        agent = stack.enter_context(running_agent(url, **settings))
        programs: dict[str, Callable[[], Awaitable[Row]]] = {AGENT: partial(agent_rounds, agent, seen)}
        for name, kind in ((BARE, "bare"), (PEER, "aio-pika")):
            process = stack.enter_context(running(python("poller.py", kind, uri, url)))
            ready(process)
            programs[name] = partial(peer_rounds, process, seen)
        await answering(url)
        for program in programs.values():  # threads started, caches warm
            await program()
        return await interleaved(programs, ROUNDS)


async def main(url: str) -> None:
    """Measure and print."""
    rows: list[list[str | float]] = []
    with tempfile.TemporaryDirectory(prefix="libvirt-amqp-bench-") as folder:
        for size in SIZES:
            figures = await measured(url, folder, size)
            for name, row in figures.items():
                per_domain = row["cpu"] / size * 1e3
                rows.append([name, str(size), row["cpu"], per_domain, row["cpu"] / figures[BARE]["cpu"], row["pss"]])
    title = f"Statistics: a round every {INTERVAL} s, medians of {ROUNDS} times {BEATS} rounds; bare publishes nothing"
    header = ("program", "domains", "CPU ms/round", "us/domain", "CPU / bare", "PSS MiB")
    show(title, header, rows)


if __name__ == "__main__":
    run(main)
