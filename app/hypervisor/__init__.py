"""The libvirt door: the event loop's thread, a watched connection for events, lanes of workers for everything else."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import libvirt

from app.hypervisor import event_loop
from app.hypervisor.connection import Connection, Facts
from app.hypervisor.daemon import DaemonClock
from app.hypervisor.event_loop import after_events, quiet
from app.hypervisor.identities import identity, is_object, text
from app.hypervisor.lanes import ConnectionDied, Job, Lane, Work
from app.hypervisor.watch import Loss, Watch
from libvirt_amqp.errors import CallError, LibvirtLost

__all__ = [
    "CALLS",
    "HEAVY",
    "MOST_CONNECTIONS",
    "MOST_STUCK",
    "POLLING",
    "PRIORITY",
    "PROGRESS",
    "RESCUE",
    "TRIAL",
    "Connection",
    "ConnectionDied",
    "DaemonClock",
    "Facts",
    "Hypervisor",
    "Job",
    "Loss",
    "Work",
    "after_events",
    "identity",
    "is_object",
    "quiet",
    "text",
]

CALLS, PRIORITY, RESCUE, PROGRESS = "calls", "priority", "rescue", "progress"
POLLING, HEAVY, TRIAL = "polling", "heavy", "trial"
_SIZES = {CALLS: 8, PRIORITY: 2, RESCUE: 1, PROGRESS: 16, POLLING: 4, HEAVY: 8, TRIAL: 1}
"""Threads, each with a connection of its own, made when they are needed.

A poller needs one, and one more for each guest that hangs; all of them stuck leave libvirtd 7 of its 20 workers.
"""
MOST_CONNECTIONS = sum(_SIZES.values()) + 1
"""One for events besides; every stream that is open has one more."""
MOST_STUCK = _SIZES[POLLING] + _SIZES[HEAVY] + _SIZES[TRIAL]
"""How many of libvirtd's workers guests that hang may occupy, by being polled alone."""
_BACKLOG = 1000
_JOIN_SECONDS = 2.0


class Hypervisor:
    """Everything the agent does with libvirt goes through here; nothing here blocks the loop."""

    def __init__(self, uri: str | None, *, read_only: bool) -> None:
        event_loop.start()
        self.uri, self._read_only = uri, read_only
        self._generation = 0
        """Of connections: those of a former one are made anew."""
        self._lanes = {name: Lane(name, size, _BACKLOG, self._connect) for name, size in _SIZES.items()}
        self._watch: Watch | None = None
        self._is_found = False
        self.facts: Facts | None = None
        self.since = datetime.now(UTC)
        """Since when libvirt is connected, or not."""

    def _connect(self) -> Connection:
        return Connection(self.uri, read_only=self._read_only, generation=lambda: self._generation)

    @property
    def connected(self) -> bool:
        """Whether the watched connection is up, and it has been told: `since` and `facts` are about it."""
        return self._is_found and self._watch is not None and self._watch.connected

    def watch(
        self,
        register: Callable[[libvirt.virConnect], Callable[[], None]],
        look: Callable[[libvirt.virConnect, Callable[[float], bool]], None],
        found: Callable[[Facts], None],
        lost: Callable[[Loss], None],
        heard: Callable[[datetime], None] = lambda _moment: None,
    ) -> None:
        """Keep a connection for events, for ever.

        `register` runs in a thread of its own on every new connection and returns what undoes it; so does
        `look` then, with what waits some seconds and says whether the connection was lost; `found` and `lost` run on
        the loop.  `lost` is also called, once, when libvirt is not there at the start.  `heard` runs in that thread,
        every second, with a moment before which everything that libvirt had sent has come.
        """
        loop = asyncio.get_running_loop()

        def on_found(facts: Facts) -> None:
            self._is_found, self.facts, self.since = True, facts, datetime.now(UTC)
            found(facts)

        def on_lost(loss: Loss) -> None:
            self._is_found, self.since = False, datetime.now(UTC)
            lost(loss)
            if loss.is_partial:
                self._generation += 1
            else:
                self.refuse_waiting(LibvirtLost(f"libvirt was lost: {loss.reason}"))

        def on_learned(facts: Facts) -> None:
            self.facts = facts

        self._watch = Watch(self._connect(), register, look, heard, loop, on_found, on_lost, on_learned)

    def submit(self, job: Job, lane: str) -> None:
        """On the loop: queue a job.  Raises Busy."""
        self._lanes[lane].submit(job)

    @property
    def is_in_process(self) -> bool:
        """Whether the driver lives in this process, as the test driver does: another one would see other objects."""
        return self.facts is not None and self.facts.is_in_process

    def withdraw(self, job: Job, lane: str, error: CallError) -> bool:
        """End a job that has not started with `error`; False: it has started."""
        return self._lanes[lane].withdraw(job, error)

    def size(self, lane: str) -> int:
        """Return how many workers a lane can have."""
        return _SIZES[lane]

    def is_full(self, lane: str) -> bool:
        """Whether every worker of a lane is occupied."""
        return self._lanes[lane].is_full

    async def call(self, work: Work, lane: str = POLLING, deadline: float | None = None) -> Any:
        """Run `work` with a connection in a worker thread.

        Raises whatever it raises, LibvirtLost when there is no connection, ConnectionDied when it was lost meanwhile.
        """
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def done(job: Job) -> None:
            if future.done():
                return
            if job.error is not None:
                future.set_exception(job.error)
            else:
                future.set_result(job.result)

        self.submit(Job(work, done, deadline), lane)
        return await future

    @property
    def open_calls(self) -> int:
        """How many calls of users wait or run."""
        return sum(self._lanes[lane].open_jobs for lane in (CALLS, PRIORITY, RESCUE))

    def refuse_waiting(self, error: CallError) -> None:
        """End every call that has not started."""
        for lane in self._lanes.values():
            lane.refuse_waiting(error)

    async def close(self) -> None:
        """Close what can be closed; a thread that hangs in libvirt is left behind."""
        if self._watch is not None:
            self._watch.stop()
        for lane in self._lanes.values():
            lane.close()
        await asyncio.to_thread(self._join)

    def _join(self) -> None:
        end = time.monotonic() + _JOIN_SECONDS
        for part in (self._watch, *self._lanes.values()):
            if part is not None:
                part.join(max(0.0, end - time.monotonic()))
