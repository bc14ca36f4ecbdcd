"""The ledger: what was last announced of each object.  For `previous` and for comparing, never served as an answer.

It says what a reader who applies every event in order would say, libvirt's oddities included (on Xen a reboot's last
event is "stopped"): so what differs from it is what that reader has to be told.
"""

from datetime import datetime
from typing import Any, NamedTuple, Protocol

import libvirt
import orjson
import structlog

from libvirt_amqp.events import SOURCES
from libvirt_amqp.objects import Identity

log = structlog.get_logger()

CLASSES = tuple(source.cls for source in SOURCES)
"""The classes whose objects have events."""

REMEMBERED_OBJECTS = 100_000
"""Objects that are gone and whose last sequence is still known for `previous`; who went first is forgotten first."""

RUNNING, PAUSED, SHUTDOWN, SHUTOFF, CRASHED, PMSUSPENDED = (
    libvirt.VIR_DOMAIN_RUNNING,
    libvirt.VIR_DOMAIN_PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN,
    libvirt.VIR_DOMAIN_SHUTOFF,
    libvirt.VIR_DOMAIN_CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED,
)

_UNHEARD, _HYPERVISOR = "unheard", "hypervisor"
"""Rows that are about no object: since when nobody listens, and what the ledger is about."""


class Kept(Protocol):
    """What is needed of the journal: small rows that outlive the process."""

    kept: dict[str, bytes]
    """What the former run left."""
    former_sequence: str | None
    former_alive: datetime | None

    def keep(self, subject: str, row: bytes | None) -> None:
        """Write a row; None: forget it."""

    def heard_until(self, moment: float) -> None:
        """Remember up to when everything was heard that libvirt announced, in seconds since 1970."""


class State(NamedTuple):
    """What events tell of an object.  Existence alone is `persistent` for a secret, `active` for a node device."""

    active: bool
    persistent: bool | None
    """None: cannot be known."""
    state: int = 0
    """A domain's virDomainState."""
    id: int = -1

    @property
    def is_there(self) -> bool:
        """Whether there is such an object at all."""
        return self.active or bool(self.persistent)


ABSENT = State(active=False, persistent=False)


class Entry(NamedTuple):
    """`last` is the sequence of its last event, None before the first one; `state` None: it is gone."""

    object: Identity
    last: str | None
    state: State | None


class Ledger:
    """Used on the loop only."""

    def __init__(self, journal: Kept) -> None:
        self._journal = journal
        self._entries: dict[str, Entry] = {}
        self._there: dict[str, dict[str, Entry]] = {cls: {} for cls in CLASSES}
        """Those of them that are there, by class."""
        self._gone: dict[str, None] = {}
        """The subjects of entries without a state, in the order in which they went."""
        self._known = {cls for cls in CLASSES if cls in journal.kept}
        for subject, row in journal.kept.items():
            if "/" in subject or subject == "agent":
                self._load(subject, row)
        self._hypervisor = journal.kept.get(_HYPERVISOR)
        self.former_sequence = journal.former_sequence
        self.unheard_since = _moment(journal.kept.get(_UNHEARD)) or journal.former_alive
        """When libvirt was last heard, if nobody listens now."""

    def previous(self, subject: str) -> str | None:
        """Return the sequence of an object's last event."""
        entry = self._entries.get(subject)
        return entry.last if entry is not None else None

    def get(self, subject: str) -> Entry | None:
        """Return the entry of an object; it may be gone."""
        return self._entries.get(subject)

    def there(self, cls: str) -> dict[str, Entry]:
        """Return the objects of a class that were last announced as being there, by subject."""
        return dict(self._there[cls])

    def note(
        self, subject: str, whose: Identity, event_id: str, words: tuple[str, ...], values: tuple[Any, ...]
    ) -> None:
        """Take an event that was given its number; `words` are the last ones of its key."""
        entry = self._entries.get(subject)
        state = entry.state if entry is not None else None
        if words[0] == "lifecycle":
            state = after(state, whose, words[1], values)
        elif entry is not None and entry.state is not None:
            whose = entry.object  # as lifecycle events told it
        self._set(subject, Entry(whose, event_id, state))

    def settle(self, subject: str, whose: Identity, state: State | None) -> None:
        """Take what a listing showed, once it was announced or is nobody's news."""
        self._set(subject, Entry(whose, self.previous(subject), state))

    def is_known(self, cls: str) -> bool:
        """Say whether the objects of a class were ever listed: before that their existence is no news."""
        return cls in self._known

    def now_known(self, cls: str) -> None:
        """Remember that the objects of a class are all in here."""
        if cls not in self._known:
            self._known.add(cls)
            self._journal.keep(cls, b"true")

    def begin(self, hypervisor: str) -> None:
        """Forget what is there when the ledger is about another hypervisor: its objects are not gone."""
        former, self._hypervisor = self._hypervisor, hypervisor.encode()
        if former == self._hypervisor:
            return
        if former is not None:
            log.warning("hypervisor_changed", consequence="what is there now is taken as it is, without events")
            for subject, entry in list(self._entries.items()):
                if entry.state is not None:
                    self._set(subject, entry._replace(state=None))
            for cls in self._known:
                self._journal.keep(cls, None)
            self._known.clear()
        self._journal.keep(_HYPERVISOR, self._hypervisor)

    def unheard(self, since: datetime | None) -> None:
        """Remember since when nobody listens, beyond the end of the process; None: somebody does."""
        self.unheard_since = since
        self._journal.keep(_UNHEARD, since.isoformat().encode() if since is not None else None)

    def keep_again(self) -> None:
        """Keep every row once more, for a journal that had to begin anew."""
        for subject, entry in self._entries.items():
            self._keep(subject, entry)
        for cls in self._known:
            self._journal.keep(cls, b"true")
        if self._hypervisor is not None:
            self._journal.keep(_HYPERVISOR, self._hypervisor)
        self.unheard(self.unheard_since)

    def _keep(self, subject: str, entry: Entry) -> None:
        state = tuple(entry.state) if entry.state is not None else None  # orjson takes no subclass of a tuple
        self._journal.keep(subject, orjson.dumps((entry.object, entry.last, state)))

    def _set(self, subject: str, entry: Entry) -> None:
        self._enter(subject, entry)
        self._gone.pop(subject, None)
        if entry.state is None and subject != "agent":
            self._forget_in_time(subject, entry)
        if subject in self._entries:
            self._keep(subject, entry)

    def _enter(self, subject: str, entry: Entry) -> None:
        self._entries[subject] = entry
        there = self._there.get(entry.object["class"])
        if there is None:  # the agent's own
            return
        if entry.state is not None:
            there[subject] = entry
        else:
            there.pop(subject, None)

    def _forget_in_time(self, subject: str, entry: Entry) -> None:
        if entry.last is None:
            del self._entries[subject]
            self._journal.keep(subject, None)
            return
        self._gone[subject] = None
        if len(self._gone) > REMEMBERED_OBJECTS:
            oldest = next(iter(self._gone))
            del self._gone[oldest], self._entries[oldest]
            self._journal.keep(oldest, None)

    def _load(self, subject: str, row: bytes) -> None:
        try:
            whose, last, state = orjson.loads(row)
            self._enter(subject, Entry(whose, last, State(*state) if state is not None else None))
        except (ValueError, TypeError) as error:
            log.error("ledger_row_unreadable", subject=subject, error=str(error))
            return
        if state is None and subject != "agent":
            self._gone[subject] = None


_DOMAIN_STATES = {
    "started": RUNNING,
    "suspended": PAUSED,
    "resumed": RUNNING,
    "shutdown": SHUTDOWN,
    "pmsuspended": PMSUSPENDED,
    "crashed": CRASHED,
}


def after(state: State | None, whose: Identity, word: str, values: tuple[Any, ...]) -> State | None:
    """Return what an object is like after a lifecycle event; None: gone."""
    cls = whose["class"]
    if cls == "node-device":
        word = {"created": "started", "deleted": "stopped"}.get(word, word)
    if cls == "domain":
        state = _domain_after(state, whose["id"], word, values)
    else:
        state = _existence_after(state or ABSENT, word)
    return state if state.is_there else None


def _domain_after(state: State | None, domain_id: int, word: str, values: tuple[Any, ...]) -> State:
    if word == "undefined" and values[1] == libvirt.VIR_DOMAIN_EVENT_UNDEFINED_RENAMED:
        return state or ABSENT  # one under the new name follows
    if state is None:
        running = domain_id != -1
        state = State(running, persistent=False, state=RUNNING if running else SHUTOFF, id=domain_id)
    if word == "stopped":
        return state._replace(active=False, state=SHUTOFF, id=-1)
    if word in _DOMAIN_STATES:
        current = domain_id if domain_id != -1 else state.id
        return state._replace(active=True, state=_DOMAIN_STATES[word], id=current)
    return _existence_after(state, word)


def _existence_after(state: State, word: str) -> State:
    """Follow what all classes have; `created` and `deleted` of a pool are about its storage."""
    if word in {"defined", "undefined"}:
        return state._replace(persistent=word == "defined")
    if word in {"started", "stopped"}:
        return state._replace(active=word == "started")
    return state


def _moment(row: bytes | None) -> datetime | None:
    return datetime.fromisoformat(row.decode()) if row is not None else None
