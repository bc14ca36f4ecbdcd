"""A bare program that hears libvirt's events: what is done with them is nothing, or a confirmed publish by aio-pika.

event_listener.py callback|one-by-one|pipelined LIBVIRT_URI BROKER_URL

`callback` answers a line `COUNT` on standard input, as soon as it has heard COUNT events since the last line, with the
moments of their callbacks, in nanoseconds of the monotonic clock.
"""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable

import aio_pika
import libvirt
import orjson
from measure import HOST

from app.hypervisor import event_loop
from libvirt_amqp.keys import EVENTS

WINDOW = 1000
"""Confirms outstanding."""

Use = Callable[[libvirt.virDomain, int, int], None]
"""What is done with an event, in libvirt's thread: whose, event, detail."""


def listen(uri: str, use: Use) -> libvirt.virConnect:
    """Register for lifecycle events, in libvirt's own event loop in a thread."""
    event_loop.start()
    connection = libvirt.open(uri)

    def heard(_connection: object, domain: libvirt.virDomain, event: int, detail: int, _opaque: object) -> None:
        use(domain, event, detail)

    connection.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, heard, None)
    print("ready", flush=True)
    return connection


def callback(uri: str) -> None:
    """Only hear."""
    heard: list[int] = []
    news = threading.Condition()

    def use(_domain: libvirt.virDomain, _event: int, _detail: int) -> None:
        heard.append(time.monotonic_ns())
        if len(heard) == expected:
            with news:
                news.notify()

    def is_all() -> bool:
        return len(heard) >= expected

    expected = 0
    connection = listen(uri, use)
    for line in sys.stdin:
        expected = int(line)
        with news:
            news.wait_for(is_all, timeout=60)
        print(json.dumps(heard), flush=True)
        heard.clear()
    connection.close()


async def publisher(uri: str, url: str, window: int) -> None:
    """Publish every event, confirmed, with the names and fields of the agent's; `window` confirms outstanding."""
    amqp = await aio_pika.connect(url)
    channel = await amqp.channel()
    exchange = await channel.declare_exchange(EVENTS, aio_pika.ExchangeType.TOPIC, durable=True)
    loop, free, tasks = asyncio.get_running_loop(), asyncio.Semaphore(window), set()
    queue: asyncio.Queue[tuple[str, str, int, int, int]] = asyncio.Queue()

    async def publish(uuid: str, name: str, domain_id: int, event: int, detail: int) -> None:
        whose = {"class": "domain", "host": HOST, "uuid": uuid, "name": name, "id": domain_id}
        data = {"object": whose, "event": event, "detail": detail}
        event_ = {"specversion": "1.0", "type": "org.libvirt.domain.lifecycle", "source": HOST, "data": data}
        body = orjson.dumps(event_)
        message = aio_pika.Message(body, delivery_mode=2, content_type="application/cloudevents+json")
        await exchange.publish(message, f"{HOST}.domain.{uuid}.lifecycle.{event}", mandatory=False)

    def done(task: asyncio.Task[None]) -> None:
        tasks.discard(task)
        free.release()
        task.result()

    def use(domain: libvirt.virDomain, event: int, detail: int) -> None:
        values = (domain.UUIDString(), domain.name(), domain.ID(), event, detail)
        loop.call_soon_threadsafe(queue.put_nowait, values)

    connection = listen(uri, use)
    while connection.isAlive():
        event = await queue.get()
        await free.acquire()
        task = asyncio.create_task(publish(*event))
        tasks.add(task)
        task.add_done_callback(done)


if __name__ == "__main__":
    what, uri, url = sys.argv[1:]
    if what == "callback":
        callback(uri)
    else:
        asyncio.run(publisher(uri, url, WINDOW if what == "pipelined" else 1))
