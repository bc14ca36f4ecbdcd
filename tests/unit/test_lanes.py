"""Lanes of worker threads, on libvirt's test driver."""

import queue
import threading
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


class LateQueue(queue.SimpleQueue[Any]):
    """A queue whose readers are slow to go on with what they got, as any thread may be."""

    def __init__(self) -> None:
        self.on_time = threading.Event()

    def get(self, *arguments: Any) -> Any:
        item = super().get(*arguments)
        self.on_time.wait()
        return item


async def test_a_job_does_not_wait_behind_a_long_one_while_a_thread_is_left(lane: Lane) -> None:
    lane._queue = late = LateQueue()
    release = threading.Event()
    ended: list[Job] = []
    late.on_time.set()
    lane.submit(Job(lambda _: None, ended.append))
    await eventually(lambda: ended)
    late.on_time.clear()
    lane.submit(Job(lambda _: release.wait(), ended.append))
    await eventually(late.empty)
    lane.submit(Job(lambda _: None, ended.append))
    late.on_time.set()
    try:
        await eventually(lambda: len(ended) == 2)
    finally:
        release.set()
