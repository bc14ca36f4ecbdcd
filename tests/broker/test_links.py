"""Links at their worst moments: what is lost, frozen or refused becomes one error and never more than that."""

import asyncio

import pytest
from line import Line

from libvirt_amqp.broker import BrokerUnavailable, open_link


async def test_closing_a_link_to_a_frozen_broker_can_be_cancelled(broker_url: str) -> None:
    """Else whoever holds the link goes on, and SIGTERM never ends the agent."""
    async with Line(broker_url) as line:
        link = await open_link(line.url, "test")
        line.freeze()
        closing = asyncio.create_task(link.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait({closing}, timeout=5)
        assert closing.cancelled()


async def test_a_queue_on_a_channel_that_is_gone_is_an_error_of_the_broker(broker_url: str) -> None:
    link = await open_link(broker_url, "test")
    channel = await link.channel()
    await link.close()
    with pytest.raises(BrokerUnavailable):
        await channel.declare_queue("libvirt.rpc.h1")
