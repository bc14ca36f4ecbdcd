"""A process in which libvirt announces something: a thread suspends and resumes a domain of the test driver.

event_source.py callback|one-by-one|pipelined|agent|agent-in-memory URL

A line `COUNT PAUSE` on standard input causes COUNT events, PAUSE seconds apart; when libvirt has announced them all,
the moments of the triggers and of the callbacks go to standard output, in nanoseconds of the monotonic clock.  What is
done with the events is the first argument: nothing, a confirmed publish by aio-pika, or the agent in this process.
"""

import asyncio
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import aio_pika
import libvirt
import orjson
from measure import HOST, IN_MEMORY

from app import logs, service
from app.hypervisor import event_loop
from app.settings import Settings
from libvirt_amqp.keys import EVENTS

URI = "test:///default"
WINDOW = 1000
"""Confirms outstanding."""

Use = Callable[[str, int, int], None]
"""What is done with an event, in libvirt's thread: uuid, event, detail."""


class Source:
    """Our own ear for the events, and the thread that causes them."""

    def __init__(self, use: Use) -> None:
        event_loop.start()
        self._use = use
        self._heard: list[int] = []
        self._all = threading.Event()
        self._expected = 0
        self._connection = libvirt.open(URI)
        self._domain = self._connection.lookupByName("test")
        kind = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
        self._connection.domainEventRegisterAny(None, kind, self._on_event, None)

    def _on_event(self, _connection: object, domain: libvirt.virDomain, event: int, detail: int, _: object) -> None:
        self._heard.append(time.monotonic_ns())
        self._use(domain.UUIDString(), event, detail)
        if len(self._heard) == self._expected:
            self._all.set()

    def serve(self) -> None:
        """Do what standard input says until it ends."""
        print("ready", flush=True)
        for line in sys.stdin:
            count, pause = line.split()
            print(json.dumps(self._cause(int(count), float(pause))), flush=True)

    def _cause(self, count: int, pause: float) -> dict[str, list[int]]:
        self._heard, self._expected = [], count
        self._all.clear()
        triggered = []
        for number in range(count):
            triggered.append(time.monotonic_ns())
            if number % 2:
                self._domain.resume()
            else:
                self._domain.suspend()
            if pause:
                time.sleep(pause)
        if not self._all.wait(60):
            raise TimeoutError(f"libvirt announced {len(self._heard)} of {count} events")
        return {"triggered": triggered, "heard": self._heard}


def callback(_url: str) -> None:
    """Only hear."""
    Source(lambda _uuid, _event, _detail: None).serve()


async def publisher(url: str, window: int) -> None:
    """Publish every event, confirmed, with the names and fields of the agent's; `window` confirms outstanding."""
    connection = await aio_pika.connect(url)
    channel = await connection.channel()
    exchange = await channel.declare_exchange(EVENTS, aio_pika.ExchangeType.TOPIC, durable=True)
    loop, free, tasks = asyncio.get_running_loop(), asyncio.Semaphore(window), set()
    queue: asyncio.Queue[tuple[str, int, int] | None] = asyncio.Queue()

    async def publish(uuid: str, event: int, detail: int) -> None:
        whose = {"class": "domain", "host": HOST, "uuid": uuid, "name": "test", "id": 1}
        data = {"object": whose, "event": event, "detail": detail}
        event_ = {"specversion": "1.0", "type": "org.libvirt.domain.lifecycle", "source": HOST, "data": data}
        body = orjson.dumps(event_)
        message = aio_pika.Message(body, delivery_mode=2, content_type="application/cloudevents+json")
        await exchange.publish(message, f"{HOST}.domain.{uuid}.lifecycle.{event}", mandatory=False)

    def done(task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        free.release()
        task.result()

    def use(uuid: str, event: int, detail: int) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, (uuid, event, detail))

    served = asyncio.create_task(asyncio.to_thread(Source(use).serve))
    served.add_done_callback(lambda _: queue.put_nowait(None))
    while (event := await queue.get()) is not None:
        await free.acquire()
        task = asyncio.create_task(publish(*event))
        tasks.add(task)
        task.add_done_callback(done)
    await served


async def agent(url: str, *, on_disk: bool) -> None:
    """Run the agent in this process, where the test driver is the same; not `on_disk`: it can write nowhere."""
    logs.configure("json", "error")
    with tempfile.TemporaryDirectory(prefix="libvirt-amqp-bench-") as state:
        place = Path(state) if on_disk else Path("/dev/null")
        settings = Settings(broker_url=url, uri=URI, host=HOST if on_disk else IN_MEMORY, state_dir=place)
        async with service.running(settings):
            await asyncio.to_thread(Source(lambda _uuid, _event, _detail: None).serve)


if __name__ == "__main__":
    what, url = sys.argv[1:]
    if what == "callback":
        callback(url)
    else:
        window = WINDOW if what == "pipelined" else 1
        asyncio.run(agent(url, on_disk=what == "agent") if what.startswith("agent") else publisher(url, window))
