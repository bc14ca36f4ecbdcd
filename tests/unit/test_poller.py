"""What a poller tells of its rounds, on libvirt's test driver and without a broker."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import libvirt
import orjson
import pytest
from conftest import eventually
from listings import SlowToList
from structlog.testing import capture_logs

from app.hypervisor import POLLING, DaemonClock, Hypervisor
from app.pollers.figures import Five
from app.pollers.heartbeat import Heartbeat
from app.pollers.latest import Latest
from app.pollers.poller import Poller, Shape
from app.pollers.polling import Plan, Polling
from app.pollers.samples import Samples
from app.pollers.schedule import Schedule
from libvirt_amqp import catalogue

API = catalogue.load()


@pytest.fixture
async def hypervisor() -> AsyncIterator[Hypervisor]:
    hypervisor = Hypervisor("test:///default", read_only=False)
    hypervisor.watch(lambda _: lambda: None, lambda *_: None, lambda _: None, lambda _: None)
    await eventually(lambda: hypervisor.connected)
    yield hypervisor
    await hypervisor.close()


class BusyForOthers(DaemonClock):
    """The CPU time of a daemon that works on four CPUs, whoever asks."""

    def read(self) -> float | None:
        return time.monotonic() * 4


class Polled:
    """A poller, and what it has published: key, data and seconds to live."""

    def __init__(
        self,
        hypervisor: Hypervisor,
        *,
        allowed: float = 100,
        is_per_host: bool = False,
        clock: DaemonClock | None = None,
    ) -> None:
        self.sent: list[tuple[str, dict[str, Any], float]] = []
        self.walk = SlowToList(hypervisor, "h1", POLLING, Five(API).source())
        self.schedule = Schedule("statistics", 0.5, "h1")
        self.poller = Poller(
            hypervisor,
            clock or DaemonClock(),
            self.schedule,
            allowed,
            self.walk,
            Latest(None),
            Samples("h1", 1, self._publish),
            Shape("info", "domains", is_per_host),
        )

    def _publish(self, key: str, body: bytes, lives: float) -> None:
        self.sent.append((key, orjson.loads(body)["data"], lives))


async def test_samples_of_the_round_that_stretches_the_interval_live_until_the_next_one(hypervisor: Hypervisor) -> None:
    polled = Polled(hypervisor, allowed=1e-5)
    await polled.poller.beat()
    polled.sent.clear()
    await polled.poller.beat()
    assert polled.schedule.interval_in_force > 0.5
    assert {lives for _, _, lives in polled.sent} == {polled.schedule.interval_in_force}


async def test_what_libvirtd_does_for_others_while_a_round_waits_is_not_the_rounds_cost(hypervisor: Hypervisor) -> None:
    polled = Polled(hypervisor, clock=BusyForOthers())
    await polled.poller.beat()
    costs = polled.poller.budget._costs
    costs.clear()
    begun = time.monotonic()
    with polled.walk.hanging():
        await polled.poller.beat()
    took = time.monotonic() - begun
    assert took > 0.2, "it waited for the listing"
    assert 0 < costs[0] < took - 0.2 + 0.05


async def test_a_host_whose_domains_could_never_be_listed_says_nothing_of_them(hypervisor: Hypervisor) -> None:
    polled = Polled(hypervisor, is_per_host=True)
    with polled.walk.hanging():
        await polled.poller.beat()
        assert polled.sent == []
        assert polled.poller.health()["listed"] is False
    await eventually(lambda: not polled.walk._stuck)
    await polled.poller.beat()
    [(key, data, _)] = polled.sent
    assert (key, data["full"]) == ("h1.connect.domains", True)
    assert polled.poller.health()["listed"] is True


async def test_domains_of_an_old_listing_are_not_all_that_are_active(hypervisor: Hypervisor) -> None:
    polled = Polled(hypervisor, is_per_host=True)
    await polled.poller.beat()
    with polled.walk.hanging():
        await polled.poller.beat()
    (_, first, _), (_, second, _) = polled.sent
    assert (first["full"], second["full"]) == (True, False)
    assert [domain["object"]["name"] for domain in second["domains"]] == ["test"]
    assert not any(domain.get("stale") for domain in second["domains"])


async def test_a_trial_on_a_former_connection_decides_nothing_on_the_new_one(hypervisor: Hypervisor) -> None:
    plan = Plan(10, (), 60, 0.01, is_per_host=False, full_every=None)
    polling = Polling(hypervisor, "h1", 1, plan, API, lambda *_: None, lambda *_: None)
    polling._light.is_bulk = True
    trial = asyncio.create_task(polling._try_both())
    await asyncio.sleep(0)  # it has begun
    hypervisor.since = datetime.now(UTC)
    await trial
    assert polling._light.is_bulk


async def test_when_a_bulk_call_that_hung_has_come_back_the_calls_are_compared_again(hypervisor: Hypervisor) -> None:
    plan = Plan(10, (), 60, 0.01, is_per_host=False, full_every=None)
    polling = Polling(hypervisor, "h1", 1, plan, API, lambda *_: None, lambda *_: None)
    free = threading.Event()

    def bulk(_connection: libvirt.virConnect) -> Any:
        free.wait(20)
        return ()

    walk = polling._light._walk
    walk._source = walk._source._replace(bulk=bulk)
    polling._light.schedule.interval = 0.4
    with capture_logs() as lines:
        await polling._beat()
        await eventually(lambda: compared(lines) == 1)
        polling._light.is_bulk = True
        for _ in range(2):
            await polling._beat()
        assert not polling._light.is_bulk
        assert polling._is_tried, "there is nothing to compare yet"
        free.set()
        await eventually(lambda: not walk._stuck)
        await polling._beat()
        await eventually(lambda: compared(lines) == 2)


def compared(lines: list[Any]) -> int:
    return len([line for line in lines if line["event"] == "calls_compared"])


async def test_a_heartbeats_uptime_is_the_agents(hypervisor: Hypervisor) -> None:
    bodies: list[bytes] = []
    started = time.monotonic() - 3600  # an hour of waiting for libvirt to tell its name
    await Heartbeat(hypervisor, "h1", 1, 5, dict, lambda _key, body, _lives: bodies.append(body), started).beat()
    assert orjson.loads(bodies[0])["data"]["uptime"] >= 3600
