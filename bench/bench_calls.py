"""A whole call of libvirt by the agent, beside an aio-pika program that only sends the request back."""

import asyncio
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial

from measure import (
    FRAME_MAX,
    HOST,
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
    running_agent,
    show,
)

from libvirt_amqp.keys import RPC, Address
from libvirt_amqp.messages import CALL_CONTENT_TYPE, request
from libvirt_amqp.wire import Properties, publish_frames

ROUNDS, SECONDS = 5, 0.5
CONCURRENCY = (1, 16, 128)
DOMAIN = Address(HOST, "domain", ("6695eb01-f6a4-8304-79aa-97f2502e193f",))
METHOD = "virDomainGetInfo"
AGENT, DEFAULTS, TUNED = "agent, virDomainGetInfo", "aio-pika echo, defaults", "aio-pika echo, tuned"


def body() -> bytes:
    """Return what every server gets: the request that the project's own client would send."""
    return request(METHOD, {}, call_id=1, deadline=datetime.now(UTC) + timedelta(seconds=60))


async def load(raw: Raw, exchange: str, key: str, pid: int, concurrency: int) -> Row:
    """Keep so many requests open for a while, and return what a call took and what it cost the server."""
    content, sent, took = body(), [0.0] * concurrency, []
    frames = [
        publish_frames(1, FRAME_MAX, exchange, key, content, properties)
        for properties in (
            Properties(CALL_CONTENT_TYPE, correlation_id=str(slot), reply_to=raw.queue) for slot in range(concurrency)
        )
    ]
    done, open_slots = asyncio.Event(), concurrency
    cpu, start = cpu_seconds(pid), time.perf_counter()
    end = start + SECONDS

    def send(slot: int) -> None:
        sent[slot] = time.perf_counter()
        raw.write(frames[slot])

    def receive(correlation_id: str, answer: bytes) -> None:
        nonlocal open_slots
        if b'"error":' in answer:
            raise RuntimeError(answer.decode())
        slot, now = int(correlation_id), time.perf_counter()
        took.append(now - sent[slot])
        if now < end:
            send(slot)
            return
        open_slots -= 1
        if not open_slots:
            done.set()

    raw.on_message = receive
    for slot in range(concurrency):
        send(slot)
    raw.flush()
    await asyncio.wait_for(done.wait(), SECONDS + 10)
    elapsed, used = time.perf_counter() - start, cpu_seconds(pid) - cpu
    return {"p50": statistics.median(took) * 1e6, "rate": len(took) / elapsed, "cpu": used / len(took) * 1e6}


def echo(stack: AsyncExitStack, url: str, mode: str) -> tuple[str, str, int]:
    """Start an echo; returns exchange, key and process."""
    process: subprocess.Popen[str] = stack.enter_context(running(python("echo.py", url, f"echo-{mode}", mode)))
    ready(process)
    return "", f"echo-{mode}", process.pid


async def main(url: str) -> None:
    """Measure and print."""
    async with AsyncExitStack() as stack:
        agent = stack.enter_context(running_agent(url))
        await answering(url)
        servers = {
            AGENT: (RPC, DOMAIN.key(METHOD), agent.pid),
            DEFAULTS: echo(stack, url, "defaults"),
            TUNED: echo(stack, url, "tuned"),
        }
        raw = await stack.enter_async_context(raw_client(url))
        for server in servers.values():  # threads started, caches warm
            await load(raw, *server, 16)
        programs: dict[str, Callable[[], Awaitable[Row]]] = {
            f"{name} c{concurrency}": partial(load, raw, *server, concurrency)
            for concurrency in CONCURRENCY
            for name, server in servers.items()
        }
        figures = await interleaved(programs, ROUNDS)
    rows: list[list[str | float]] = []
    for concurrency in CONCURRENCY:
        tuned = figures[f"{TUNED} c{concurrency}"]
        for name in servers:
            row = figures[f"{name} c{concurrency}"]
            rows.append([name, str(concurrency), row["p50"], row["rate"], row["cpu"], row["cpu"] / tuned["cpu"]])
    title = f"Calls: medians of {ROUNDS} rounds of {SECONDS} s, {len(body())} bytes each, a RabbitMQ on this machine"
    show(title, ("server", "open", "p50 us", "calls/s", "server CPU us/call", "CPU / tuned echo"), rows)


if __name__ == "__main__":
    run(main)
