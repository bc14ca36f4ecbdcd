"""The peer of a call: what aio-pika needs to send a message back, and nothing else.

echo.py URL QUEUE defaults|tuned
"""

import asyncio
import sys

import aio_pika
from aio_pika.abc import AbstractIncomingMessage


async def defaults(url: str, queue_name: str) -> None:
    """As in aio-pika's own example of RPC: robust, acknowledged, every reply confirmed."""
    connection = await aio_pika.connect_robust(url)
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=256)

    async def answer(message: AbstractIncomingMessage) -> None:
        async with message.process():
            reply = aio_pika.Message(message.body, correlation_id=message.correlation_id)
            await channel.default_exchange.publish(reply, routing_key=message.reply_to or "")

    await _serve(channel, queue_name, answer, no_ack=False)


async def tuned(url: str, queue_name: str) -> None:
    """As cheap as aio-pika gets: no ack, no confirm, not mandatory."""
    connection = await aio_pika.connect(url)
    channel = await connection.channel(publisher_confirms=False)

    async def answer(message: AbstractIncomingMessage) -> None:
        reply = aio_pika.Message(message.body, correlation_id=message.correlation_id)
        await channel.default_exchange.publish(reply, routing_key=message.reply_to or "", mandatory=False)

    await _serve(channel, queue_name, answer, no_ack=True)


async def _serve(channel: aio_pika.abc.AbstractChannel, name: str, answer: object, *, no_ack: bool) -> None:
    queue = await channel.declare_queue(name, exclusive=True)
    await queue.consume(answer, no_ack=no_ack)  # type: ignore[arg-type]
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run({"defaults": defaults, "tuned": tuned}[sys.argv[3]](*sys.argv[1:3]))
