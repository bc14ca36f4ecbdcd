"""libvirt's own event loop, in a thread of its own, started once per process.

libvirtaio would run it on asyncio, but it is not thread-safe: with calls in worker threads its events came seconds late
or never, and with uvloop the process aborted (docs/decisions.md).
"""

import threading
from collections.abc import Callable
from functools import cache

import libvirt

_BEAT_MS = 1000


@cache
def start() -> threading.Thread:
    """Register libvirt's default event loop and run it for ever; has to happen before the first connection.

    The timer gives the loop something to wait for: without handles it would sleep until the first one is added.
    """
    libvirt.virInitialize()
    libvirt.registerErrorHandler(lambda _context, _error: None, None)  # else every error is printed on stderr
    libvirt.virEventRegisterDefaultImpl()
    libvirt.virEventAddTimeout(_BEAT_MS, lambda _timer, _opaque: None, None)
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


def _run() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()
