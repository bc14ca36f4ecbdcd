"""Rounds whose listing hangs, as beside a guest that hangs in its start: the wait is the test's, not libvirt's."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import libvirt

from app.pollers.walk import LISTING, Leg, Walk

XML = "<domain type='test'><name>{}</name><uuid>{}</uuid><memory>1024</memory><os><type>hvm</type></os></domain>"


class SlowToList(Walk):
    """Lists like the agent, after `seconds`, and not at all while it is `hanging`."""

    seconds = 0.0
    listings = 0
    _free = threading.Event()
    _free.set()

    @contextmanager
    def hanging(self) -> Iterator[None]:
        self._free = threading.Event()
        try:
            yield
        finally:
            self._free.set()

    def _list(self, leg: Leg, connection: libvirt.virConnect) -> dict[str, libvirt.virDomain]:
        self.listings += 1
        leg.reach(LISTING)
        begun = time.monotonic()
        self._free.wait(20)
        time.sleep(self.seconds)
        found = super()._list(leg, connection)
        leg.listing_took = time.monotonic() - begun
        return found
