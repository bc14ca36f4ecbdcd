"""The connection that events come from: watched by a thread of its own, opened again as soon as libvirt is back."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

import libvirt
import structlog

from app.hypervisor.connection import Connection, Facts, hypervisor_version
from app.hypervisor.secondary import Change, Secondaries
from libvirt_amqp.errors import LibvirtLost

log = structlog.get_logger()

T = TypeVar("T")

_LOOK_SECONDS = 1.0
"""How often a driver without a close callback is asked whether it is alive; answered locally."""
_ASK_SECONDS = 1.0
"""How often libvirt is asked something, so that what it sent before has come."""
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 0.8
"""Between attempts to open: so that the events are registered again within a second of libvirt's return."""


class Loss(NamedTuple):
    """The connection is lost, or is given up."""

    reason: str
    since: datetime
    """From when on events may not have been heard."""
    is_partial: bool = False
    """It was a daemon behind the daemon: the connection was sound, and a new one follows at once."""


class Watch:
    """Runs until `stop`.  `register`, what it returns, `look` and `heard` run in this thread; the others on the loop.

    `heard` is told, every second, a moment before which everything that libvirt had sent has come.  `look` gets the
    connection and what waits some seconds and says whether it was lost meanwhile.  `found` and `lost` report, `learned`
    completes what `found` was told.
    """

    def __init__(  # noqa: PLR0913 (what it watches, and whom it tells)
        self,
        connection: Connection,
        register: Callable[[libvirt.virConnect], Callable[[], None]],
        look: Callable[[libvirt.virConnect, Callable[[float], bool]], None],
        heard: Callable[[datetime], None],
        loop: asyncio.AbstractEventLoop,
        found: Callable[[Facts], None],
        lost: Callable[[Loss], None],
        learned: Callable[[Facts], None],
    ) -> None:
        self._connection = connection
        self._register = register
        self._look = look
        self._heard = heard
        self._loop = loop
        self._found = found
        self._lost = lost
        self._learned = learned
        self._secondaries = Secondaries()
        self._handle: libvirt.virConnect | None = None
        self._change: Change | None = None
        self._heard_at = datetime.now(UTC)
        self._ask_at = 0.0
        self._stopping = threading.Event()
        self.connected = False
        self._thread = threading.Thread(target=self._run, name="libvirt-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to deregister, close and end."""
        self._stopping.set()
        self._connection.lost.set()

    def join(self, seconds: float) -> None:
        """Wait for the thread's end; call it outside the loop."""
        self._thread.join(seconds)

    def _run(self) -> None:
        delay, told = _FIRST_DELAY, False
        while not self._stopping.is_set():
            try:
                deregister = self._open()
            except Exception as error:  # whatever it is: without this thread nobody is registered ever again
                if not isinstance(error, LibvirtLost | libvirt.libvirtError):
                    log.exception("watch_broke")
                self.connected, self._handle, self._change = False, None, None
                self._connection.close()
                if not told:
                    told = True
                    self._tell(self._lost, Loss(str(error), datetime.now(UTC)))
                self._stopping.wait(delay)
                delay = min(delay * 2, _LONGEST_DELAY)
                continue
            delay, told = _FIRST_DELAY, True
            while not self._is_lost(_LOOK_SECONDS):
                pass
            self.connected = False
            if not self._stopping.is_set():
                self._tell(self._lost, self._loss())
            deregister()
            self._change = self._handle = None
            self._connection.close()

    def _open(self) -> Callable[[], None]:
        """Register first: what the hypervisor's version costs (a probe of QEMU, seconds) would be time unheard.

        Everything is asked of the one handle: a second `open` could return another one, without the registrations.
        """
        self._handle = handle = self._connection.open()
        facts = self._connection.facts(handle)
        if not facts.is_in_process:
            self._secondaries.begin(handle)
        deregister = self._register(handle)
        self._heard_at = datetime.now(UTC)
        self.connected = True
        self._tell(self._found, facts)
        self._look(handle, self._is_lost)
        self._tell(self._learned, replace(facts, hypervisor_version=hypervisor_version(handle)))
        return deregister

    def _is_lost(self, seconds: float) -> bool:
        """Wait so long, less if the connection is lost or to be given up meanwhile; say whether it is."""
        end = time.monotonic() + seconds
        while not self._connection.lost.wait(max(0.0, min(self._secondaries.pause, end - time.monotonic()))):
            if self._change is None and self._handle is not None and not self._connection.is_dead():
                self._ask(self._handle)
                self._change = self._secondaries.look(self._handle)
            if self._change is not None:
                return True
            if time.monotonic() >= end:
                break
        return self._connection.lost.is_set()

    def _ask(self, handle: libvirt.virConnect) -> None:
        """Ask for next to nothing: the answer comes behind all that libvirt had sent by then."""
        if time.monotonic() < self._ask_at:
            return
        moment = datetime.now(UTC)
        with contextlib.suppress(libvirt.libvirtError):  # lost: told by who waits for it
            handle.getLibVersion()
            self._heard_at = moment
            self._heard(moment)
        self._ask_at = time.monotonic() + _ASK_SECONDS

    def _loss(self) -> Loss:
        if self._change is None or self._connection.lost.is_set():
            return Loss(self._connection.reason or "closed", self._heard_at)
        return Loss(self._change.reason, self._change.since, is_partial=True)

    def _tell(self, report: Callable[[T], None], what: T) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(report, what)
