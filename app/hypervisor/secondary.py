"""The daemons behind the daemon, where libvirt has one for each driver (the modular daemons).

virtqemud passes everything about networks, pools, devices and secrets on to virtnetworkd and the others, over a
connection of its own for each client.  When one of them dies, virtqemud keeps the dead connection for as long as its
client stays: calls fail, events are silent, and no close callback tells (libvirt 9.0, remoteOpenConn).  So each is
asked something small once a second: one that answers no more, or answers again, takes a new connection of ours.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import libvirt

_ASK_SECONDS, _AGAIN_SECONDS, _NEVER_SEEN_SECONDS = 1.0, 0.5, 30.0
"""Between two questions to a daemon that answers, to one that did before, and to one that maybe is not installed."""
_COST = 20
"""A question that took long is not asked again for so many times as long: where polkit judges each object it may."""

_QUESTIONS: dict[str, Callable[[libvirt.virConnect], int]] = {
    "network": lambda handle: handle.numOfNetworks(),
    "storage-pool": lambda handle: handle.numOfStoragePools(),
    "node-device": lambda handle: handle.numOfDevices(None),  # type: ignore[arg-type]  # None: of every kind
    "secret": lambda handle: handle.numOfSecrets(),
}


class Change(NamedTuple):
    """A daemon answers no more, or answers again; `since`: from when on its events may not have been heard."""

    reason: str
    since: datetime


class Secondaries:
    """Used by the thread of the watched connection.  Without daemons behind the daemon, all answer always."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        """Classes that have answered, on whatever connection."""
        self._answered: dict[str, datetime] = {}
        """When those that answer on this connection last did."""
        self._away: dict[str, datetime] = {}
        """Since when the others do not."""
        self._due: dict[str, float] = {}
        """When to ask next, in seconds of time.monotonic(); a class that the driver does not have is not in it."""

    @property
    def pause(self) -> float:
        """How many seconds to wait before the next look."""
        return _AGAIN_SECONDS if self._away.keys() & self._known else _ASK_SECONDS

    def begin(self, handle: libvirt.virConnect) -> None:
        """Ask each on a new connection, before its events are registered.  Raises libvirtError when that is lost."""
        silent_since = self._answered | self._away
        self._answered, self._away, self._due = {}, {}, {}
        for cls in _QUESTIONS:
            error = self._ask(handle, cls)
            if error is None:
                self._answered[cls] = datetime.now(UTC)
                self._due[cls] = time.monotonic() + _ASK_SECONDS  # whatever it took: it was connected first
            elif not handle.isAlive():
                raise error
            elif error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                self._away[cls] = silent_since.get(cls, datetime.now(UTC))
            else:
                del self._due[cls]

    def look(self, handle: libvirt.virConnect) -> Change | None:
        """Ask those that are due, and return the first change.  A connection that is lost itself is no change."""
        for cls in [cls for cls, due in self._due.items() if due <= time.monotonic()]:
            error = self._ask(handle, cls)
            if error is None and cls in self._away:
                return Change(f"{cls} answers again", self._away[cls])
            if error is None:
                self._answered[cls] = datetime.now(UTC)
            elif not handle.isAlive():
                return None
            elif cls in self._answered:
                return Change(f"{cls}: {error}", min(self._answered.values()))
        return None

    def _ask(self, handle: libvirt.virConnect, cls: str) -> libvirt.libvirtError | None:
        """Ask one; returns why there was no answer.  A refusal is one: whoever refuses is there."""
        begun = time.monotonic()
        try:
            _QUESTIONS[cls](handle)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_SUPPORT or error.get_error_domain() == libvirt.VIR_FROM_RPC:
                seconds = _AGAIN_SECONDS if cls in self._known else _NEVER_SEEN_SECONDS
                self._due[cls] = time.monotonic() + seconds
                return error
        self._known.add(cls)
        now = time.monotonic()
        self._due[cls] = now + max(_ASK_SECONDS, _COST * (now - begun))
        return None
