"""The connection that events come from: watched by a thread of its own, opened again as soon as libvirt is back."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import libvirt

from app.hypervisor.connection import Connection, Facts, hypervisor_version
from libvirt_amqp.errors import LibvirtLost

T = TypeVar("T")

_LOOK_SECONDS = 1.0
"""How often a driver without a close callback is asked whether it is alive; answered locally."""
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 0.8
"""Between attempts to open: so that the events are registered again within a second of libvirt's return."""


class Watch:
    """Runs until `stop`.  `register`, what it returns, and `look` run in this thread; the others on the loop.

    `look` gets the connection and what waits some seconds and says whether it was lost meanwhile.  `found` and `lost`
    report, `learned` completes what `found` was told.
    """

    def __init__(  # noqa: PLR0913 (what it watches, and whom it tells)
        self,
        connection: Connection,
        register: Callable[[libvirt.virConnect], Callable[[], None]],
        look: Callable[[libvirt.virConnect, Callable[[float], bool]], None],
        loop: asyncio.AbstractEventLoop,
        found: Callable[[Facts], None],
        lost: Callable[[str], None],
        learned: Callable[[Facts], None],
    ) -> None:
        self._connection = connection
        self._register = register
        self._look = look
        self._loop = loop
        self._found = found
        self._lost = lost
        self._learned = learned
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
            except (LibvirtLost, libvirt.libvirtError) as error:
                self._connection.close()
                if not told:
                    told = True
                    self._tell(self._lost, str(error))
                self._stopping.wait(delay)
                delay = min(delay * 2, _LONGEST_DELAY)
                continue
            delay, told = _FIRST_DELAY, True
            self._wait_for_loss()
            self.connected = False
            reason = self._connection.reason or "closed"
            if not self._stopping.is_set():
                self._tell(self._lost, reason)
            deregister()
            self._connection.close()

    def _open(self) -> Callable[[], None]:
        """Register first: what the hypervisor's version costs (a probe of QEMU, seconds) would be time unheard.

        Everything is asked of the one handle: a second `open` could return another one, without the registrations.
        """
        handle = self._connection.open()
        facts = self._connection.facts(handle)
        deregister = self._register(handle)
        self.connected = True
        self._tell(self._found, facts)
        self._look(handle, self._connection.lost.wait)
        self._tell(self._learned, replace(facts, hypervisor_version=hypervisor_version(handle)))
        return deregister

    def _wait_for_loss(self) -> None:
        while not self._stopping.is_set() and not self._connection.lost.wait(_LOOK_SECONDS):
            if self._connection.is_dead():
                return

    def _tell(self, report: Callable[[T], None], what: T) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(report, what)
