"""Durable queues, as users declare them; none is left on a broker that is not ours."""

import asyncio
import contextlib
from typing import Any

from aiormq.exceptions import ChannelNotFoundEntity

from libvirt_amqp.broker import open_link
from libvirt_amqp.keys import EVENTS

_declared: set[str] = set()


async def declare(url: str, name: str, *keys: str, **arguments: Any) -> None:
    """Declare a durable queue, as its user would; what a former run has left is gone."""
    await delete(url, name)
    link = await open_link(url, "the user of the queue")
    channel = await link.channel()
    await channel.declare_exchange(EVENTS)
    await channel._underlay.queue_declare(name, durable=True, arguments=arguments)
    _declared.add(name)
    for key in keys:
        await channel.bind(name, EVENTS, key)
    await link.close()


async def delete(url: str, name: str) -> None:
    """Delete a queue, if there is one."""
    link = await open_link(url, "the user of the queue")
    channel = await link.channel()
    with contextlib.suppress(ChannelNotFoundEntity):  # Broker-J; RabbitMQ deletes what is not there without a word
        await channel._underlay.queue_delete(name)
    await link.close()


def delete_all(url: str) -> None:
    """Delete every queue that was declared."""

    async def run() -> None:
        for name in _declared:
            await delete(url, name)

    asyncio.run(run())
