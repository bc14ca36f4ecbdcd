"""The ledger beside what is there: which events would tell the difference, and when it is told.

A difference is told when two looks in a row showed the same one and the object had no event between them.  One look is
not enough: a daemon answers a listing in another thread than the one that sends its events, so that a change can be in
a listing before its event is heard.
"""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from app.events.ledger import ABSENT, CLASSES, CRASHED, PAUSED, PMSUSPENDED, SHUTDOWN, SHUTOFF, Ledger, State
from app.events.listing import Listing
from libvirt_amqp.objects import Identity

SECOND_LOOK_SECONDS = 1.0
"""Two rounds of the poller that are closer together count as one."""

_WORDS = {PAUSED: "suspended", SHUTDOWN: "shutdown", PMSUSPENDED: "pmsuspended", CRASHED: "crashed"}

Tell = Callable[[Identity, str], None]
"""Publishes a found lifecycle event: whose, and the last word of its key."""


class Suspicion(NamedTuple):
    """A difference that was seen once."""

    state: State
    last: str | None
    """The sequence of the object's last event by then."""
    since: float


class Comparison:
    """On the loop: takes looks and tells what they show.  `connected` and `lost` frame a connection."""

    def __init__(self, ledger: Ledger, tell: Tell) -> None:
        self._ledger = ledger
        self._tell = tell
        self._suspects: dict[str, Suspicion] = {}
        self._second_looks: dict[str, Suspicion] = {}
        self._taken: set[str] = set()
        """Classes that are listed for the first time: what is there is no news."""
        self._registered_at = ""
        self._listed: set[str] = set()
        """Classes that were listed since the connection began."""
        self._is_ready = False
        """Not before the first look at a connection: until then the poller's rounds say nothing."""

    def begin(self, hypervisor: str, registered_at: str) -> None:
        """Begin with a new connection; `registered_at` is the last sequence before its events were registered."""
        self.lost()
        self._ledger.begin(hypervisor)
        self._registered_at = registered_at
        self._taken = {cls for cls in CLASSES if not self._ledger.is_known(cls)}

    def lost(self) -> None:
        """Judge nothing any more."""
        self._is_ready = False
        self._listed.clear()
        self._suspects.clear()
        self._second_looks.clear()

    def look(self, listing: Listing, *, is_last: bool = False) -> list[str]:
        """Compare a listing, and return the classes that have to be listed once more.

        The first one of a class names the suspects, later ones judge only them: what changes meanwhile has its own
        event.  What is still in doubt, or could not be listed, after the last one is left to its events.
        """
        self._is_ready = True
        suspects, self._suspects = self._suspects, {}
        for cls in listing.classes:
            if cls in listing.unknown:
                self._suspects |= {s: before for s, before in suspects.items() if s.startswith(f"{cls}/")}
            else:
                self._look_at(cls, listing, suspects)
        if is_last:
            self._suspects.clear()
        if not self._suspects:
            self._taken &= listing.failed  # from now on whatever appears in the others is news
        again = {subject.partition("/")[0] for subject in self._suspects}
        return sorted(again if is_last else again | listing.failed)

    def _look_at(self, cls: str, listing: Listing, suspects: dict[str, Suspicion]) -> None:
        is_first = cls not in self._listed
        self._listed.add(cls)
        for subject, whose, state in list(self._differing(cls, listing)):
            if is_first and cls in self._taken and self._was_quiet(subject):
                self._ledger.settle(subject, whose, state)
            elif is_first or subject in suspects:
                self._judge(subject, whose, state, suspects.get(subject), self._suspects)
        self._ledger.now_known(cls)

    def second_look(self, domains: list[tuple[Identity, int]], unread: set[str]) -> None:
        """Compare the active domains and their states as the poller read them; `unread` are uuids without an answer."""
        if not self._is_ready or self._suspects or not self._ledger.is_known("domain"):
            return
        there = self._ledger.there("domain")
        seen = {f"domain/{w['uuid']}": (w, State(True, None, state, w["id"])) for w, state in domains}  # noqa: FBT003
        inactive = {
            subject: (entry.object | {"id": -1}, State(active=False, persistent=None, state=SHUTOFF))
            for subject, entry in there.items()
            if entry.state is not None and entry.state.active and subject not in seen
        }
        skipped = {f"domain/{uuid}" for uuid in unread} | self._may_be_starting(seen)
        before, self._second_looks = self._second_looks, {}
        for subject, (whose, state) in {**inactive, **seen}.items():
            if subject not in skipped and self._differs(subject, whose, state):
                self._judge(subject, whose, state, before.get(subject), self._second_looks, SECOND_LOOK_SECONDS)

    def _may_be_starting(self, seen: dict[str, tuple[Identity, State]]) -> set[str]:
        """Return who is paused and was not known to run: the poller does not read whether it is starting."""
        paused = {subject for subject, (_, state) in seen.items() if state.state == PAUSED}
        return {s for s in paused if (known := self._ledger.get(s)) is None or not (known.state and known.state.active)}

    def _differing(self, cls: str, listing: Listing) -> Iterator[tuple[str, Identity, State]]:
        """Yield what differs from the ledger, what is gone first: its name may be another one's now."""
        there = self._ledger.there(cls)
        for subject, entry in there.items():
            if subject not in listing.seen and subject not in listing.unread:
                yield subject, entry.object, ABSENT
        for subject, (whose, state) in listing.seen.items():
            if whose["class"] == cls and self._differs(subject, whose, state):
                yield subject, whose, state

    def _was_quiet(self, subject: str) -> bool:
        """Say whether an object had no event since the registration: one would be newer than the listing."""
        return (self._ledger.previous(subject) or "") <= self._registered_at

    def _differs(self, subject: str, whose: Identity, state: State) -> bool:
        entry = self._ledger.get(subject)
        if entry is None or entry.state is None:
            return True
        return next(changes(entry.object, entry.state, whose, state), None) is not None

    def _judge(  # noqa: PLR0913 (a difference, and what is known of it)
        self,
        subject: str,
        whose: Identity,
        state: State,
        before: Suspicion | None,
        suspects: dict[str, Suspicion],
        seconds: float = 0,
    ) -> None:
        """Tell a difference that was there before, with no event since; keep it in mind otherwise."""
        now, last = time.monotonic(), self._ledger.previous(subject)
        if before is None or before.state != state or before.last != last:
            suspects[subject] = Suspicion(state, last, now)
        elif now - before.since < seconds:
            suspects[subject] = before
        else:
            self._announce(subject, whose, state)

    def _announce(self, subject: str, whose: Identity, state: State) -> None:
        entry = self._ledger.get(subject)
        known = entry.state if entry is not None and entry.state is not None else None
        if known is not None or whose["class"] not in self._taken:
            former = entry.object if entry is not None and known is not None else whose
            for identity, word in list(changes(former, known or ABSENT, whose, state)):
                self._tell(identity, word)
        persistent = known.persistent if state.persistent is None and known is not None else state.persistent
        new = state._replace(persistent=persistent)
        self._ledger.settle(subject, whose, new if new.is_there else None)


def changes(former: Identity, old: State, whose: Identity, new: State) -> Iterator[tuple[Identity, str]]:
    """Yield the identity and the last word of each event that leads from one state to the other.

    Defined, started, suspended; or stopped, undefined; or, when a domain's id changed, stopped, started.
    """
    names = {"node-device": {"started": "created", "stopped": "deleted"}}.get(whose["class"], {})
    persistent = old.persistent if new.persistent is None else new.persistent
    is_another_run = old.active and new.active and old.id != new.id and -1 not in {old.id, new.id}
    if persistent and (not old.persistent or _is_renamed(former, whose)):
        yield whose, "defined"
    if old.active and (not new.active or is_another_run):
        yield (former | {"id": -1} if "id" in former else former), names.get("stopped", "stopped")
    if new.active and (not old.active or is_another_run):
        yield whose, names.get("started", "started")
        if new.state in _WORDS:
            yield whose, _WORDS[new.state]
    elif new.active and _class_of(old.state) != _class_of(new.state):
        yield whose, _WORDS.get(new.state, "resumed")
    if old.persistent and persistent is False:
        yield whose, "undefined"


def _is_renamed(former: Identity, whose: Identity) -> bool:
    return bool(former.get("name") != whose.get("name"))


def _class_of(state: int) -> int:
    """Return a state, all that need no event of their own (running, blocked, no state) as one."""
    return state if state in _WORDS else 0
