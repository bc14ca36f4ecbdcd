"""Links at their worst moments: what is lost, frozen or refused becomes one error and never more than that."""

import asyncio

import pytest
from conftest import Start, eventually
from line import Line

from libvirt_amqp.broker import BrokerUnavailable, open_link


async def test_an_agent_stops_while_a_link_to_a_frozen_broker_is_closing(broker_url: str, start_agent: Start) -> None:
    async with Line(broker_url) as line:
        agent = await start_agent("h1", broker_url=line.url)
        line.freeze()
        agent._bus._session.link.fail("lost, the test says")
        await eventually(lambda: not agent._bus.linked.is_set())
        try:
            async with asyncio.timeout(5):
                await agent.stop()
        finally:
            line.thaw()


async def test_a_queue_on_a_channel_that_is_gone_is_an_error_of_the_broker(broker_url: str) -> None:
    link = await open_link(broker_url, "test")
    channel = await link.channel()
    await link.close()
    with pytest.raises(BrokerUnavailable):
        await channel.declare_queue("libvirt.rpc.h1")
