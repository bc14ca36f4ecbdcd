"""Is something missing before this event?  By a host's numbers, or by each object's `previous`."""

import re
from dataclasses import dataclass
from typing import Any, Protocol

from libvirt_amqp.messages import TYPE_PREFIX, sequence

REMEMBERED_OBJECTS = 100_000
_SEQUENCE = re.compile("[0-9]{10}-[0-9]{15}")
STARTED = f"{TYPE_PREFIX}agent.started"

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hole:
    """What did not come; None is not known."""

    reason: str
    first: str | None
    last: str | None
    count: int | None
    subject: str | None = None


class Continuity(Protocol):
    """What was passed on, and what has to come next.  `last` is None until the first event or snapshot."""

    last: str | None

    def missing_before(self, body: Body) -> Hole | None:
        """Return what is missing before an event."""

    def skip_to(self, body: Body) -> None:
        """What is missing before the event has been told."""

    def passed(self, body: Body) -> None:
        """The event was passed on."""

    def missing_up_to(self, known: str) -> Hole | None:
        """Return what is missing if nothing up to a sequence will come any more."""

    def rest_on(self, known: str) -> None:
        """Everything up to a sequence is known."""


class Numbers:
    """Everything of the host is bound: its numbers have no holes."""

    def __init__(self, last: str | None = None) -> None:
        self.last = last

    def missing_before(self, body: Body) -> Hole | None:
        """Compare the number with the one before; after a restart, what the agent says of its former run."""
        if self.last is None:
            return None
        (epoch, number), (last_epoch, last) = split(body["sequence"]), split(self.last)
        if epoch == last_epoch:
            return None if number == last + 1 else self.missing_up_to(sequence(epoch, number - 1))
        if number != 1 or body["type"] != STARTED:
            return Hole("restart", after(self.last), sequence(epoch, number - 1) if number > 1 else None, None)
        former = body["data"].get("former")
        return Hole("restart", after(self.last), None, None) if former is None else self.missing_up_to(former)

    def skip_to(self, body: Body) -> None:
        """Go on as if the number before had come."""
        self.last = before(body["sequence"])

    def passed(self, body: Body) -> None:
        """Remember the number."""
        self.last = body["sequence"]

    def missing_up_to(self, known: str) -> Hole | None:
        """Return all between the last one and this one."""
        if self.last is None or known <= self.last:
            return None
        (old_epoch, old), (epoch, number) = split(self.last), split(known)
        return Hole("hole", after(self.last), known, number - old if epoch == old_epoch else None)

    def rest_on(self, known: str) -> None:
        """Go on from there."""
        self.last = max(self.last or "", known)


class Links:
    """Only a part is bound: an event names the one before it of the same object."""

    def __init__(self, last: str | None = None) -> None:
        self.last = last
        self._base = last
        self._of: dict[str, str] = {}
        self._told_restart = ""

    def missing_before(self, body: Body) -> Hole | None:
        """Compare `previous` with the last event of the object, or with the snapshot if that is newer."""
        if self.last is None:
            return None
        if body["type"] == STARTED and body["data"].get("former") is None and body["sequence"] != self._told_restart:
            return Hole("restart", None, None, None)
        previous, known = body.get("previous"), self._of.get(body["subject"], self._base)
        if previous is None or known is None or previous <= known:
            return None
        return Hole("hole", None, previous, None, body["subject"])

    def skip_to(self, body: Body) -> None:
        """Go on as if the object's event before had come; a restart is told once."""
        if body["type"] == STARTED:
            self._told_restart = body["sequence"]
        self._of[body["subject"]] = body.get("previous") or ""

    def passed(self, body: Body) -> None:
        """Remember the object's last event."""
        self.last = body["sequence"]
        self._of[body["subject"]] = body["sequence"]
        if len(self._of) > REMEMBERED_OBJECTS:
            self.rest_on(body["sequence"])

    def missing_up_to(self, known: str) -> Hole | None:  # noqa: ARG002 (nobody can tell)
        """Return nothing: a number may belong to an event that is not bound."""
        return None

    def rest_on(self, known: str) -> None:
        """Forget single objects: whatever is older than this is known."""
        self.last = self._base = max(self.last or "", known)
        self._of.clear()


def as_sequence(text: str) -> str:
    """Return the same text.  Raises ValueError or TypeError when it does not sort among sequences."""
    if _SEQUENCE.fullmatch(text) is None:
        raise ValueError(f"{text!r} is no sequence")
    return text


def split(text: str) -> tuple[int, int]:
    """Return epoch and number of a sequence.  Raises ValueError."""
    epoch, _, number = text.partition("-")
    return int(epoch), int(number)


def epoch_of(text: str) -> str:
    """Return the epoch; "" is before all of them."""
    return text.partition("-")[0]


def before(text: str) -> str:
    """Return the sequence in front of one in the same epoch; its number is 0 where that is the first."""
    epoch, number = split(text)
    return sequence(epoch, number - 1)


def after(text: str) -> str:
    """Return the sequence that follows in the same epoch."""
    epoch, number = split(text)
    return sequence(epoch, number + 1)
