"""A subscription of the client: it ends with its iterator."""

import pytest
from conftest import Start, hearing

from libvirt_amqp.client import Client
from libvirt_amqp.keys import STATS, Address


@pytest.mark.parametrize("how", ["closed", "forgotten"])
async def test_a_subscription_that_is_left_does_not_disturb_later_calls(
    broker_url: str, client: Client, start_agent: Start, how: str
) -> None:
    await start_agent("h1", heartbeat_interval=0.05)
    messages = client.subscribe({STATS: ["h1.agent.heartbeat"]}, limit=1)
    await anext(messages)
    if how == "closed":
        await messages.aclose()
    else:
        del messages
    async with hearing(broker_url, "h1.agent.heartbeat") as heard:
        await heard.of_type("agent.heartbeat", 3)
    assert await client.call(Address("h1", "connect"), "virConnectGetType") == "TEST"
