"""Lanes of worker threads, on libvirt's test driver."""

import gc
import queue
import threading
import time
import traceback
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import libvirt
import pytest
from conftest import eventually
from structlog.testing import capture_logs

from app.hypervisor import Connection, event_loop
from app.hypervisor.lanes import Job, Lane
from libvirt_amqp.errors import Busy, InvalidParams


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


async def test_jobs_that_ended_while_every_worker_was_stuck_do_not_pile_up(lane: Lane) -> None:
    release, ended = threading.Event(), 0

    def done(_job: Job) -> None:
        nonlocal ended
        ended += 1

    for _ in range(2):
        lane.submit(Job(lambda _: release.wait(20), done))
    try:
        for turn in range(3):
            for _ in range(90):
                lane.submit(Job(lambda _: None, done, time.monotonic()))
            await eventually(lambda turn=turn: ended == 90 * (turn + 1))
        await eventually(lambda: lane._queue.qsize() <= 100)
        late: list[Job] = []
        lane.submit(Job(lambda _: "still works", late.append))
    finally:
        release.set()
    await eventually(lambda: late and late[0].result == "still works")
    await eventually(lambda: lane._spare == 2)


def refused(domains: list[weakref.ref[Any]]) -> Callable[[Any], None]:
    """Return work that libvirt refuses, as a handler does it; it notes the domain that it had."""

    def call(connection: Any) -> None:
        domain = connection.lookupByName("test")
        domains.append(weakref.ref(domain))
        domain.create()

    def work(connection: Any) -> None:
        try:
            call(connection)
        except libvirt.libvirtError as error:
            raise InvalidParams("as the handlers translate it") from error

    return work


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_garbage_collection")
async def test_a_refused_call_holds_nothing_of_libvirts(lane: Lane) -> None:
    domains: list[weakref.ref[Any]] = []
    ended: list[Job] = []
    lane.submit(Job(refused(domains), ended.append))
    await eventually(lambda: ended)
    assert [domain() for domain in domains] == [None]
    text = "".join(traceback.format_exception(ended[0].error))
    assert "domain.create()" in text, "a log shows where it came from all the same"


@pytest.mark.usefixtures("no_garbage_collection")
async def test_a_refused_call_is_gone_with_its_job(lane: Lane) -> None:
    work = refused([])
    traces = weakref.ref(work)
    ended: list[bool] = []
    lane.submit(Job(work, lambda job: ended.append(job.error is not None)))
    del work
    await eventually(lambda: ended)
    assert ended == [True]
    await eventually(lambda: traces() is None)


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
