"""Lanes of worker threads, on libvirt's test driver."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from conftest import eventually
from structlog.testing import capture_logs

from app.hypervisor import Connection, event_loop
from app.hypervisor.lanes import Job, Lane
from libvirt_amqp.errors import Busy


def connect() -> Connection:
    return Connection("test:///default", read_only=False)


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    event_loop.start()
    lane = Lane("test", 2, 100, connect)
    yield lane
    lane.close()
    lane.join(5)


def breaks(_job: Job) -> None:
    raise RuntimeError("whoever waited for it breaks")


async def test_whoever_breaks_over_a_finished_job_is_logged_and_takes_nothing_from_the_others(lane: Lane) -> None:
    ended: list[Job] = []
    with capture_logs() as logs:
        lane.submit(Job(lambda _: None, breaks))
        lane.submit(Job(lambda _: None, ended.append))
        await eventually(lambda: ended)
        await eventually(lambda: logs)
        assert [(line["event"], line["lane"], line["exc_info"]) for line in logs] == [("job_broke", "test", True)]
        await eventually(lambda: lane.open_jobs == 0)


async def test_whoever_breaks_over_a_refused_job_takes_nothing_from_the_others(lane: Lane) -> None:
    ended: list[Any] = []
    lane.submit(Job(lambda _: None, breaks))
    lane.submit(Job(lambda _: None, ended.append))
    lane.submit(Job(lambda _: None, breaks))
    lane.refuse_waiting(Busy("the test says"))
    await eventually(lambda: ended and lane.open_jobs == 0)
