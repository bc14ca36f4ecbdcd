"""The last figures of every active domain: told again, as old, when a round brings no new ones."""

import math
import time
from dataclasses import dataclass

from app.pollers.walk import Answer, Figures, Round
from libvirt_amqp.objects import Identity

_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class Told:
    """What a round has to say of one domain."""

    object: Identity
    figures: Figures
    moment: int
    """When the figures were read, or when the round ended if there are none; nanoseconds since 1970."""
    call: str
    is_stale: bool = False

    def members(self) -> Figures:
        """Return them as they stand in a message; what is old says how old it is, in seconds."""
        if not self.is_stale:
            return {"object": self.object, **self.figures}
        age = round((time.time_ns() - self.moment) / _NANOSECONDS, 3) if self.figures else None
        return {"object": self.object, **self.figures, "stale": True, "age": age}


class Latest:
    """Knows the figures of the last round that brought some, and which of them have been published."""

    def __init__(self, full_every: float | None) -> None:
        """`full_every`: publish what has not changed only every so many seconds; None: always."""
        self._full_every = full_every
        self._full_at: float | None = None
        self._active: dict[str, Identity] = {}
        """As last listed."""
        self._known: dict[str, Answer] = {}
        self._published: dict[str, Figures] = {}
        self.stale = 0
        """How many domains did not answer in time in the last round."""
        self.is_listed = False
        """Whether libvirt told in the last round which domains are active."""

    def take(self, done: Round, old_after: float = math.inf) -> list[Told]:
        """Return what there is to tell after a round: who has answered, and who has not.

        An answer that is older than `old_after` seconds by now, as the round waited for others, is old too.
        """
        self.is_listed = done.is_listed
        active = done.listed if done.is_listed or done.listed else self._active
        self._active = {uuid: whose for uuid, whose in active.items() if uuid not in done.gone}
        self._known = {uuid: a for uuid, a in (self._known | done.answers).items() if uuid in self._active}
        unread = self._active.keys() - done.answers.keys()
        now = time.time_ns()
        told = [Told(*a, is_stale=now - a.moment > old_after * _NANOSECONDS) for a in done.answers.values()]
        told += [self._old(uuid) for uuid in sorted(unread)]
        self.stale = sum(one.is_stale for one in told)
        return told

    def _old(self, uuid: str) -> Told:
        answer = self._known.get(uuid)
        if answer is None:
            return Told(self._active[uuid], {}, time.time_ns(), "", is_stale=True)
        return Told(*answer, is_stale=True)

    def changed(self, told: list[Told]) -> tuple[list[Told], bool]:
        """Return what has to be published, and whether it is everything; what is old is always published.

        Without a listing nobody knows what everything is; so all that is known is published until there is one.
        """
        now = time.monotonic()
        is_due = self._full_every is None or self._full_at is None or now - self._full_at >= self._full_every
        is_full = is_due and self.is_listed
        if is_full:
            self._full_at = now
        if is_due:
            news = told
        else:
            news = [one for one in told if one.is_stale or self._published.get(one.object["uuid"]) != one.figures]
        if self._full_every is not None:
            self._published = {one.object["uuid"]: {} if one.is_stale else one.figures for one in told}
        return news, is_full
