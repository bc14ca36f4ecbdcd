"""The peer of a start: connects to the broker and to libvirt by the same libraries, and says once that it is alive.

skeleton.py URL
"""

import asyncio
import sys

import aio_pika
import libvirt
import orjson
import pydantic  # noqa: F401 (an agent checks its settings, and logs)
import structlog  # noqa: F401


async def main(url: str) -> None:
    """Publish one message and wait for the end."""
    handle = libvirt.open("test:///default")
    connection = await aio_pika.connect(url)
    channel = await connection.channel()
    exchange = await channel.declare_exchange("libvirt.stats", aio_pika.ExchangeType.TOPIC, durable=True)
    await exchange.publish(aio_pika.Message(orjson.dumps({"host": handle.getHostname()})), "bench.agent.heartbeat")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
