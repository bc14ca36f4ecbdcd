"""libvirt's own event loop, in a thread of its own, started once per process.

libvirtaio would run it on asyncio, but it is not thread-safe: with calls in worker threads its events came seconds late
or never, and with uvloop the process aborted (docs/decisions.md).
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import libvirt
import structlog

log = structlog.get_logger()

_BEAT_MS = 1000
_NEVER_MS = -1
_PARKED_SECONDS = 0.005
"""How long the loop stands still for somebody's calls, at most: so long an event may be late."""
_PARKS_WITHIN_SECONDS = 0.002
_AGAIN_SECONDS = 0.1


class _Parking:
    """Where the loop's thread stands still: one at a time may ask for it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.wanted = threading.Event()
        self.parked = threading.Event()
        self.over = threading.Event()
        self.timer = _NEVER_MS
        """Wakes the loop, so that it sees that it is wanted."""


_parking = _Parking()


@cache
def start() -> threading.Thread:
    """Register libvirt's default event loop and run it for ever; has to happen before the first connection.

    The timer gives the loop something to wait for: without handles it would sleep until the first one is added.
    """
    libvirt.virInitialize()
    libvirt.registerErrorHandler(lambda _context, _error: None, None)  # else every error is printed on stderr
    libvirt.virEventRegisterDefaultImpl()
    libvirt.virEventAddTimeout(_BEAT_MS, lambda _timer, _opaque: None, None)
    _parking.timer = libvirt.virEventAddTimeout(
        _NEVER_MS, lambda timer, _opaque: libvirt.virEventUpdateTimeout(timer, _NEVER_MS), None
    )
    thread = threading.Thread(target=_run, name="libvirt-events", daemon=True)
    thread.start()
    return thread


def after_events(report: Callable[[], None]) -> None:
    """From any thread: run `report` in the event thread, behind every event that this process has received.

    A connection hands its events over by a timer that is due at once; one that is set later comes later.
    """

    def due(timer: int, _opaque: None) -> None:
        libvirt.virEventRemoveTimeout(timer)
        report()

    libvirt.virEventAddTimeout(0, due, None)


@contextmanager
def quiet() -> Iterator[None]:
    """In a worker thread: make many short calls while the loop stands still, for 5 ms at most.

    Every call through a socket takes the socket from the loop and gives it back, and wakes the loop for both: 100 calls
    cost 6.2 ms of CPU with it and 3.4 without (test driver through libvirtd).  What comes meanwhile is heard after it.
    """
    if not _parking.lock.acquire(blocking=False):
        yield
        return
    try:
        _parking.parked.clear()
        _parking.over.clear()
        _parking.wanted.set()
        libvirt.virEventUpdateTimeout(_parking.timer, 0)
        _parking.parked.wait(_PARKS_WITHIN_SECONDS)
        yield
    finally:
        _parking.wanted.clear()
        _parking.over.set()
        _parking.lock.release()


def _run() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError:  # poll failed, for want of memory or descriptors: without this thread all is deaf
            log.exception("event_loop_failed")
            time.sleep(_AGAIN_SECONDS)
        if _parking.wanted.is_set():
            _parking.wanted.clear()  # once: whoever hangs in a call does not slow the events down
            _parking.parked.set()
            _parking.over.wait(_PARKED_SECONDS)
