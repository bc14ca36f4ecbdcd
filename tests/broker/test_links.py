"""Links at their worst moments: what is lost, frozen or refused becomes one error and never more than that."""

import asyncio
import contextlib
import gc
import warnings
from collections.abc import Awaitable, Callable

import pytest
from line import Line
from yarl import URL

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


async def test_looking_whether_a_link_is_blocked_loses_no_cancellation(broker_url: str) -> None:
    """Whichever turn of the event loop it comes in; else what looks again and again never ends."""
    link = await open_link(broker_url, "test")

    async def look() -> None:
        while True:
            assert not await link.is_blocked()
            await asyncio.sleep(0.01)

    for turns in range(6):
        looking = asyncio.create_task(look())
        for _ in range(turns):
            await asyncio.sleep(0)
        looking.cancel()
        await asyncio.wait({looking}, timeout=1)
        ended = looking.done()
        looking.cancel()
        assert ended, f"cancelled after {turns} turns"
    await link.close()


async def _nobody_listens(url: str) -> None:
    with contextlib.suppress(BrokerUnavailable):
        await open_link(str(URL(url).with_port(1)), "test")


async def _is_refused(url: str) -> None:
    with contextlib.suppress(BrokerUnavailable):
        await open_link(str(URL(url).with_password("wrong")), "test")


@pytest.mark.parametrize("fail", [_nobody_listens, _is_refused])
async def test_a_link_that_never_opened_writes_nothing_when_it_is_collected(
    broker_url: str, fail: Callable[[str], Awaitable[None]]
) -> None:
    """Whatever thread that happens in: standard error is the agent's log, JSON line by line."""
    with warnings.catch_warnings(record=True) as written:
        warnings.simplefilter("always")
        gc.disable()
        try:
            await fail(broker_url)
            await asyncio.to_thread(gc.collect)
        finally:
            gc.enable()
    assert [str(warning.message) for warning in written] == []


async def test_a_link_whose_end_was_cut_short_is_closed_all_the_same(broker_url: str) -> None:
    async with Line(broker_url) as line:
        link = await open_link(line.url, "test")
        line.freeze()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await link.close()
        assert link._connection.is_closed


async def test_a_queue_on_a_channel_that_is_gone_is_an_error_of_the_broker(broker_url: str) -> None:
    link = await open_link(broker_url, "test")
    channel = await link.channel()
    await link.close()
    with pytest.raises(BrokerUnavailable):
        await channel.declare_queue("libvirt.rpc.h1")
