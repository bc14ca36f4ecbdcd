"""Hosts whose clock is wrong."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import answering, hearing
from pydantic import SecretStr
from test_processes import Process

from app.service import running
from app.settings import Settings
from libvirt_amqp.client import connect
from libvirt_amqp.errors import DeadlinePassed
from libvirt_amqp.fleet import Fleet, Snapshot
from libvirt_amqp.keys import Address

SETTABLE = Path(__file__).parents[2] / "bench" / "faults" / "clock"
"""What makes the clock of a Python program settable."""


class Clock:
    """The clock of the agents that are started beside it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    def set(self, ahead: int) -> None:
        self._file.write_text(str(ahead))


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setenv("PYTHONPATH", str(SETTABLE))
    monkeypatch.setenv("CLOCK_FILE", str(tmp_path / "clock"))
    return Clock(tmp_path / "clock")


@pytest.fixture
def agents() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for agent in started:
        agent.close()


async def test_a_host_whose_clock_is_ahead_takes_the_calls_of_our_client(
    broker_url: str, tmp_path: Path, clock: Clock, agents: list[Process]
) -> None:
    clock.set(3600)
    agents.append(Process(tmp_path, broker_url))
    await answering(broker_url, "p1")
    async with connect(broker_url) as client:
        assert await client.call(Address("p1", "connect"), "virConnectGetType", timeout=5) == "TEST"
        with pytest.raises(DeadlinePassed):
            await client.call(Address("p1", "connect"), "virConnectGetType", timeout=-1)


async def test_a_subscriber_gets_the_snapshot_of_a_host_whose_clock_is_ahead(
    broker_url: str, tmp_path: Path, clock: Clock, agents: list[Process]
) -> None:
    clock.set(3600)
    agents.append(Process(tmp_path, broker_url))
    async with Fleet(broker_url) as fleet, asyncio.timeout(20):
        async for item in fleet.events(hosts=["p1"]):
            if isinstance(item, Snapshot):
                assert item.objects
                break


async def test_two_runs_that_can_keep_nothing_have_two_epochs(broker_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    settings = Settings(broker_url=SecretStr(broker_url), host="p1", uri="test:///default", state_dir=tmp_path / "file")
    async with hearing(broker_url, "p1.#") as heard:
        for _ in range(2):
            async with running(settings):
                await answering(broker_url, "p1")
        first, second = [m.body["id"].partition("-")[0] for m in await heard.of_type("agent.started", 2)]
        assert first < second
