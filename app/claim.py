"""Who serves a host's name: the queue of its requests is exclusive, and whoever holds it is asked."""

import asyncio

from libvirt_amqp.broker import BrokerUnavailable, QueueHeld, open_link
from libvirt_amqp.delivery import Delivery
from libvirt_amqp.errors import CallError
from libvirt_amqp.keys import RPC, Address, encode_word
from libvirt_amqp.messages import CALL_CONTENT_TYPE, read_reply, request
from libvirt_amqp.wire import Properties

ANSWERS_WITHIN = 3.0
CHECK_SECONDS = 1.5
"""What finding out at the start may take: nobody listens to libvirt meanwhile.  It is found out later, too."""


class HostTaken(Exception):
    """Another agent, which is alive, serves this host's name."""


def request_queue(host: str) -> str:
    """Return the name of the queue of a host's requests."""
    return f"libvirt.rpc.{encode_word(host)}"


def refusal(host: str, holder: str) -> str:
    """Say what is wrong, and what mends it."""
    return f"another agent serves host {host!r}: {holder}; every agent needs a HOST of its own"


async def refuse_if_taken(url: str, host: str, instance: str) -> None:
    """Raise HostTaken if another agent answers for the host, before anything is numbered or kept in its name."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            holder = None if await _is_free(url, host) else await ask_holder(url, host, instance)
    except (TimeoutError, BrokerUnavailable):
        return
    if holder is not None:
        raise HostTaken(refusal(host, holder))


async def _is_free(url: str, host: str) -> bool:
    link = await open_link(url, f"libvirt-amqp {host} (is it free?)")
    try:
        channel = await link.channel()
        await channel.declare_queue(request_queue(host))
    except QueueHeld:
        return False
    finally:
        await link.close()
    return True


async def ask_holder(url: str, host: str, instance: str) -> str | None:
    """Ping the host over the broker; return who answers, None when nobody does."""
    link = await open_link(url, f"libvirt-amqp {host} (who is there?)")
    try:
        channel = await link.channel()
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def receive(delivery: Delivery) -> None:
            if not answer.done():
                answer.set_result(delivery.body)

        queue = await channel.declare_queue()
        await channel.consume(queue, receive, no_ack=True)
        properties = Properties(CALL_CONTENT_TYPE, reply_to=queue)
        channel.outlet.publish(RPC, Address(host, "agent").key("ping"), request("ping", {}, call_id=1), properties)
        async with asyncio.timeout(ANSWERS_WITHIN):
            return _who(await answer, instance)
    except TimeoutError:
        return None
    finally:
        await link.close()


def _who(answer: bytes, instance: str) -> str | None:
    """Return who answered a ping; None when it is ourselves, or an agent that cannot serve (it stops)."""
    try:
        answered = read_reply(answer)["instance"]
    except CallError:
        return None
    except (ValueError, TypeError, LookupError):  # nothing binds the holder to answer as an agent does
        return "somebody who is no agent"
    return None if answered == instance else f"instance {answered}"
