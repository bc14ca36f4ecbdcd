"""The peer of a statistics round: list the active domains and ask each for its virDomainGetInfo.

poller.py bare|aio-pika URI URL

A line on standard input makes one round; `done` on standard output ends it.  `aio-pika` also publishes a message per
domain, unconfirmed.
"""

import asyncio
import sys
from typing import Any

import aio_pika
import libvirt
import orjson
from measure import HOST

from libvirt_amqp.keys import STATS

Infos = list[tuple[str, Any]]


def read(connection: libvirt.virConnect) -> Infos:
    """Ask every active domain."""
    domains = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
    return [(domain.UUIDString(), domain.info()) for domain in domains]


async def publish(exchange: aio_pika.abc.AbstractExchange, infos: Infos) -> None:
    """Publish a message per domain."""
    for uuid, info in infos:
        message = aio_pika.Message(orjson.dumps({"uuid": uuid, "info": info}), content_type="application/json")
        await exchange.publish(message, f"{HOST}.domain.{uuid}.info", mandatory=False)


def bare(uri: str) -> None:
    """Make rounds until standard input ends: no broker, no asyncio."""
    handle = libvirt.openReadOnly(uri)
    print("ready", flush=True)
    while sys.stdin.readline():
        read(handle)
        print("done", flush=True)


async def published(uri: str, url: str) -> None:
    """Make rounds until standard input ends, and publish them."""
    handle = libvirt.openReadOnly(uri)
    connection = await aio_pika.connect(url)
    channel = await connection.channel(publisher_confirms=False)
    exchange = await channel.declare_exchange(STATS, aio_pika.ExchangeType.TOPIC, durable=True)
    print("ready", flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        await publish(exchange, read(handle))
        print("done", flush=True)


if __name__ == "__main__":
    what, uri, url = sys.argv[1:]
    if what == "bare":
        bare(uri)
    else:
        asyncio.run(published(uri, url))
