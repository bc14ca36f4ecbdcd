"""Worker threads, a connection each, and the queue they share: how a libvirt call leaves the asyncio loop.

A libvirt call cannot be cancelled and may take over a minute, so it runs in a thread; a lane is the set of threads that
one kind of work may occupy, so that stuck calls of one kind never hold up another.  Jobs go out through a queue and
come back in bursts: one wake-up of the loop for all that finished meanwhile.
"""

import asyncio
import contextlib
import queue
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

import libvirt
import structlog

from app.hypervisor.connection import Connection
from libvirt_amqp.errors import Busy, CallError, DeadlinePassed, LibvirtLost

log = structlog.get_logger()

Work = Callable[[libvirt.virConnect], Any]

_SWEEP_SECONDS = 0.5


class ConnectionDied(Exception):
    """The connection was lost while the call was running: nobody knows whether it was carried out."""


class Job:
    """One piece of work: `work` runs in a worker thread, `done` on the loop, exactly once, with result or error set."""

    __slots__ = ("_unclaimed", "deadline", "done", "error", "result", "work")

    def __init__(self, work: Work, done: Callable[["Job"], None], deadline: float | None = None) -> None:
        """`deadline`, in seconds of time.monotonic(), bounds the start of the work."""
        self.work = work
        self.done = done
        self.deadline = deadline
        self.result: Any = None
        self.error: BaseException | None = None
        self._unclaimed = [True]

    def claim(self) -> bool:
        """Take the job, from whatever thread; only the first one gets it."""
        try:
            return self._unclaimed.pop()
        except IndexError:
            return False

    @property
    def started(self) -> bool:
        """Whether somebody has taken the job."""
        return not self._unclaimed


class Lane:
    """Up to `size` threads for one kind of work, and up to `backlog` jobs that wait for them."""

    def __init__(self, name: str, size: int, backlog: int, connect: Callable[[], Connection]) -> None:
        self.name = name
        self._size = size
        self._backlog = backlog
        self._connect = connect
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._spare = 0
        """Threads that wait, less jobs that wait for one; the submitter counts, as a thread that wakes is late."""
        self._lock = threading.Lock()
        self._open_jobs: set[Job] = set()
        self._finished: deque[Job] = deque()
        self._wake_is_due = False
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    def submit(self, job: Job) -> None:
        """On the loop.  Raises Busy when too many jobs are waiting."""
        if len(self._open_jobs) >= self._size + self._backlog:
            raise Busy(f"{len(self._open_jobs)} calls are waiting or running already")
        self._open_jobs.add(job)
        with self._lock:
            self._spare -= 1
            is_short = self._spare < 0
        self._queue.put(job)
        if is_short and len(self._threads) < self._size:
            name = f"libvirt-{self.name}-{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            self._threads.append(thread)
            thread.start()

    @property
    def open_jobs(self) -> int:
        """How many jobs are waiting or running."""
        return len(self._open_jobs)

    @property
    def is_full(self) -> bool:
        """Whether a new job would have to wait."""
        return len(self._open_jobs) >= self._size

    def refuse_waiting(self, error: CallError) -> None:
        """End every job that has not started with `error`."""
        self._end([job for job in self._open_jobs if job.claim()], error)

    def withdraw(self, job: Job, error: CallError) -> bool:
        """End a job that has not started with `error`; False: it has started, or ended."""
        if not job.claim():
            return False
        self._end([job], error)
        return True

    def close(self) -> None:
        """Let the threads end after what they are doing; one that hangs in libvirt is left behind."""
        self._sweeper.cancel()
        for _ in self._threads:
            self._queue.put(None)

    def join(self, seconds: float) -> None:
        """Wait for the threads to close their connections; call it outside the loop."""
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _sweep(self) -> None:
        """End jobs whose deadline passed while every thread was stuck."""
        now = time.monotonic()
        late = [job for job in self._open_jobs if job.deadline is not None and job.deadline < now]
        self._end([job for job in late if job.claim()], DeadlinePassed("the deadline passed before the call started"))
        if self._queue.qsize() > self._backlog:
            self._forget_ended()
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep)

    def _forget_ended(self) -> None:
        """Take jobs that have ended out of the queue: where every worker is stuck, nobody else does."""
        queued = []
        with contextlib.suppress(queue.Empty):
            while True:
                queued.append(self._queue.get_nowait())
        waiting = [job for job in queued if job is None or not job.started]
        for job in waiting:
            self._queue.put(job)
        with self._lock:
            self._spare += len(queued) - len(waiting)

    def _end(self, jobs: list[Job], error: CallError) -> None:
        for job in jobs:
            job.error = error
            self._report(job)

    def _report(self, job: Job) -> None:
        """On the loop: tell that a job has ended; whoever breaks over it takes nothing from the others."""
        self._open_jobs.discard(job)
        try:
            job.done(job)
        except Exception:
            log.exception("job_broke", lane=self.name)

    def _work(self) -> None:
        """In a worker thread: take one job after the other, on a connection of its own."""
        connection = self._connect()
        while True:
            with self._lock:
                self._spare += 1
            job = self._queue.get()
            if job is None:
                break
            _open(connection)
            if job.claim():
                job.result, job.error = _run(job.work, job.deadline, connection)
                self._hand_back(job)
            del job
        connection.close()

    def _hand_back(self, job: Job) -> None:
        """In a worker thread: queue a finished job for the loop, and wake it if nobody has."""
        with self._lock:
            self._finished.append(job)
            if self._wake_is_due:
                return
            self._wake_is_due = True
        try:
            self._loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _deliver(self) -> None:
        """On the loop: report everything that finished since the last wake-up."""
        with self._lock:
            self._wake_is_due = False
            jobs = list(self._finished)
            self._finished.clear()
        for job in jobs:
            self._report(job)


def _open(connection: Connection) -> None:
    """Open the connection before a job is taken: beside a frozen daemon this hangs, and a taken job would with it."""
    with contextlib.suppress(LibvirtLost):  # _run tries again, and tells
        connection.open()


def _run(work: Work, deadline: float | None, connection: Connection) -> tuple[Any, BaseException | None]:
    """Do the work; returns its result or its error.

    It does not see the job: an error holds the frames that it came through, and the job will hold the error.
    """
    try:
        return _carry_out(work, deadline, connection), None
    except BaseException as error:  # noqa: BLE001 (whatever it is, the loop has to hear of it)
        _clear_frames(error)
        return None, error


def _carry_out(work: Work, deadline: float | None, connection: Connection) -> Any:
    """Tell an error of libvirt from a connection that was lost under it."""
    if deadline is not None and deadline < time.monotonic():
        raise DeadlinePassed("the deadline passed before the call started")
    handle = connection.open()
    try:
        return work(handle)
    except libvirt.libvirtError as error:
        if connection.is_dead():
            raise ConnectionDied(str(error)) from error
        raise


def _clear_frames(error: BaseException | None) -> None:
    """Let go of the variables in the frames of an error and its causes: a domain there keeps its connection open.

    The frames stay, for a log to show.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
