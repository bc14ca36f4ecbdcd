"""Workers that are kept free: for what libvirt serves with high priority, and one for what ends a job or a domain."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from conftest import TEST_UUID, Start

from app.hypervisor import CALLS, PRIORITY, Hypervisor
from libvirt_amqp import errors
from libvirt_amqp.client import Client
from libvirt_amqp.keys import Address

CONNECT, TEST = Address("h1", "connect"), Address("h1", "domain", (TEST_UUID,))

Occupy = Callable[[Hypervisor, str, int], Any]


@pytest.fixture
async def occupy() -> AsyncIterator[Occupy]:
    """Yield what makes workers of a lane hang, as libvirt calls do, until the test is over."""
    release = threading.Event()
    hanging: list[asyncio.Task[Any]] = []

    async def hang(hypervisor: Hypervisor, lane: str, count: int) -> None:
        begun = threading.Semaphore(0)

        def work(_connection: object) -> None:
            begun.release()
            release.wait()

        hanging.extend(asyncio.create_task(hypervisor.call(work, lane)) for _ in range(count))
        for _ in range(count):
            await asyncio.to_thread(begun.acquire)

    yield hang
    release.set()
    await asyncio.gather(*hanging)


async def test_a_function_of_high_priority_passes_eight_stuck_workers_and_others_wait(
    client: Client, start_agent: Start, occupy: Occupy
) -> None:
    agent = await start_agent()
    await occupy(agent._hypervisor, CALLS, 8)
    assert await client.call(CONNECT, "virConnectGetType") == "TEST"
    with pytest.raises(errors.DeadlinePassed):
        await client.call(CONNECT, "virConnectGetCapabilities", timeout=0.5)


async def test_destroying_a_domain_passes_all_workers_of_high_priority_too(
    client: Client, start_agent: Start, occupy: Occupy
) -> None:
    agent = await start_agent()
    await occupy(agent._hypervisor, CALLS, 8)
    await occupy(agent._hypervisor, PRIORITY, 2)
    with pytest.raises(errors.DeadlinePassed):
        await client.call(CONNECT, "virConnectGetType", timeout=0.5)
    assert await client.call(TEST, "virDomainDestroy") == 0
    with pytest.raises(errors.LibvirtFailed):  # libvirt's own answer: no job
        await client.call(TEST, "virDomainAbortJob")
    await agent._hypervisor.call(lambda connection: connection.lookupByName("test").create())
