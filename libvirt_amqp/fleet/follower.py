"""One host, followed: repeats dropped, holes told, and the state asked for whenever something may be missing.

No input and output here: what came goes in, items and requests for a snapshot go out.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from libvirt_amqp.fleet.arrival import GAP, Arrival, missed_by
from libvirt_amqp.fleet.continuity import Body, Continuity, Hole, Links, Numbers, after, before, epoch_of
from libvirt_amqp.fleet.items import Event, Item, Missed, Snapshot

ASK_AGAIN_SECONDS = 1.0


@dataclass(frozen=True)
class Dropped:
    """What came and had no room."""

    first: str
    last: str
    count: int


@dataclass(frozen=True)
class Rules:
    """What is the same for all hosts."""

    is_whole: bool
    """Everything of a host comes, so that its numbers tell."""
    is_kept: bool
    """Events come out of a queue that is older than we are."""
    wants: Callable[[Event], bool]
    emit: Callable[[Item, "Follower", Arrival | None], None]
    ask: Callable[["Follower"], None]


class Follower:
    """What is known of one host.  A Snapshot comes at the beginning and after each Missed."""

    def __init__(self, host: str, rules: Rules) -> None:
        self.host = host
        self.is_asking = False
        self.held: deque[Arrival] = deque()
        """Came while a snapshot was on its way."""
        self._rules = rules
        self._continuity = self._begin(None)
        self._newest = ""
        self._passed: str | None = None
        """The last event handed on, or not wanted."""
        self._unread: deque[str | None] = deque()
        """For each event that the reader has not had: `_passed` before it."""
        self._answer: Snapshot | None = None
        """Waits until everything that is in it has come."""
        self._is_doubtful = True
        self._outage: tuple[datetime, datetime] | None = None
        self._dropped: Dropped | None = None
        self._ask_from = 0.0
        self._confirmed, self._confirmed_at = "", 0.0
        self._live = ""
        """The epoch of the last heartbeat."""

    def take(self, arrival: Arrival) -> None:
        """Take what came."""
        if arrival.sequence <= self._newest:
            if not self._is_set_back(arrival.sequence):
                arrival.done()
                return
            self._begin_anew(before(arrival.sequence))
        self._newest = arrival.sequence
        if arrival.body["subject"] == "agent":
            self._ask_from = 0.0
        if (self._is_doubtful or self._outage) and self._answer is None:
            self.ask()
        if self.is_asking:
            self.held.append(arrival)
        else:
            self._pass(arrival)

    def drop(self, arrival: Arrival) -> None:
        """Take what came, and has no room."""
        if arrival.sequence > self._newest:
            self._newest = number = arrival.sequence
            former = self._dropped or Dropped(number, number, 0)
            self._dropped = Dropped(former.first, number, former.count + 1)
        arrival.done()

    @property
    def is_behind(self) -> bool:
        """Whether something was dropped and is not told yet."""
        return self._dropped is not None

    def resume(self) -> None:
        """There is room again: tell what was dropped, and ask what there is."""
        dropped, self._dropped = self._dropped, None
        if dropped is None:
            return
        last, first = self._continuity.last, dropped.first
        if self._rules.is_whole and last is not None:
            first = after(last)
        self._continuity.rest_on(dropped.last)
        if self._answer is not None and self._answer.sequence < dropped.last:
            self._answer = None
        self._tell(Missed(self.host, "slow", first, dropped.last, dropped.count))
        self._give_snapshot_if_complete()

    def beat(self, sequence: str, pending: int, *, in_order: bool) -> None:
        """Take a heartbeat: the last sequence given, and how many events the broker has not confirmed.

        `in_order`: it came through the same queue, so that whatever was confirmed before has come before.
        """
        self._live = epoch_of(sequence)
        if in_order and self._is_set_back(sequence):
            self._begin_anew(None if pending else sequence)
        if not self.is_asking and self._answer is None and (self._is_doubtful or self._outage):
            self.ask()
        if self.is_asking or self.is_behind or pending:
            return
        if sequence != self._confirmed:
            self._confirmed, self._confirmed_at = sequence, time.monotonic()
        if in_order:
            self.drained()

    def drained(self, quiet_seconds: float = 0.0) -> None:
        """Nothing has come for so long: what the broker had confirmed before has come, or never will."""
        if self.is_asking or self.is_behind or time.monotonic() - self._confirmed_at < quiet_seconds:
            return
        if self._is_set_back(self._confirmed):
            self._begin_anew(self._confirmed)
            return
        if self._answer is not None and self._confirmed >= self._answer.sequence:
            self._give_snapshot()
        if self._answer is None and self._confirmed > self._newest:
            self._tell_hole(self._continuity.missing_up_to(self._confirmed), self._confirmed)

    def ask(self) -> None:
        """Ask what there is, unless that is under way or failed a moment ago."""
        if not self.is_asking and time.monotonic() >= self._ask_from:
            self.is_asking = True
            self._rules.ask(self)

    def answered(self, answer: Snapshot) -> None:
        """Take the snapshot: it is passed on as soon as everything that is in it has come."""
        self.is_asking = False
        self._answer = answer
        last = self._continuity.last
        if last is None and not self._rules.is_kept:
            self._begin_with(answer)
        elif self._outage and not self._rules.is_whole and last != answer.sequence:
            self._tell_outage()
            self._continuity.rest_on(answer.sequence)
        self._release()

    def failed(self, *, for_ever: bool) -> None:
        """Nobody can say what there is now; `for_ever`: nor later, as long as this agent runs."""
        self.is_asking = False
        self._ask_from = float("inf") if for_ever else time.monotonic() + ASK_AGAIN_SECONDS
        if for_ever and self._outage and not self._rules.is_whole:
            self._tell_outage()
        self._release()

    def reconnected(self, since: datetime, until: datetime) -> None:
        """Begin again after an outage of ours: nothing is missing if the snapshot ends where we do."""
        self.is_asking, self._answer, self._ask_from = False, None, float("inf")
        self._release()
        if self._continuity.last is not None:
            self._outage = self._outage or (since, until)
        self._ask_from = 0.0
        self.ask()

    def give_back(self) -> None:
        """The queue delivers again what the reader has not had."""
        self.held.clear()
        self.is_asking, self._answer, self._is_doubtful = False, None, True
        self._passed = self._unread[0] if self._unread else self._passed
        self._unread.clear()
        self._ask_from, self._newest = 0.0, self._passed or ""
        self._continuity = self._begin(self._passed)

    def given(self) -> None:
        """The reader has the oldest event that it had not."""
        self._unread.popleft()

    def _is_set_back(self, sequence: str) -> bool:
        """Say whether a sequence is of the agent's present run, although one of a later epoch has come.

        It is no repeat then: the other one was false, or the agent's state was lost and its clock set back.
        """
        is_live = epoch_of(sequence) == self._live < epoch_of(self._newest)
        return is_live and not self.is_asking and not self.is_behind

    def _begin_anew(self, known: str | None) -> None:
        """Go on behind a sequence, or where the next snapshot ends; what came of the later epoch is in doubt."""
        missed = self._missed(Hole("restart", None, known, None))
        self._continuity, self._newest, self._passed = self._begin(known), known or "", known
        self._answer, self._outage, self._ask_from = None, None, 0.0
        self._tell(missed)

    def _begin(self, last: str | None) -> Continuity:
        return Numbers(last) if self._rules.is_whole else Links(last)

    def _begin_with(self, answer: Snapshot) -> None:
        """What came before the first snapshot is in it."""
        while self.held and self.held[0].sequence <= answer.sequence:
            self.held.popleft().done()
        self._give_snapshot()

    def _release(self) -> None:
        while self.held and not self.is_asking:
            self._pass(self.held.popleft())
        self._give_snapshot_if_complete()

    def _pass(self, arrival: Arrival) -> None:
        """Pass an event on; first what is missing before it."""
        if self._answer is not None and arrival.sequence > self._answer.sequence:
            self._give_snapshot()
        hole = self._continuity.missing_before(arrival.body)
        if hole is not None:
            self._continuity.skip_to(arrival.body)
            self._tell(self._missed(hole))
            if self.is_asking:
                self.held.appendleft(arrival)
                return
        self._hand_on(arrival)
        self._give_snapshot_if_complete()

    def _hand_on(self, arrival: Arrival) -> None:
        self._continuity.passed(arrival.body)
        if self._rules.is_whole:
            self._outage = None
        event = Event(self.host, arrival.key, arrival.body)
        if self._rules.wants(event):
            self._unread.append(self._passed)
            self._rules.emit(event, self, arrival)
        else:
            arrival.done()
        self._passed = arrival.sequence
        if arrival.body["type"] == GAP:
            self._tell_gap(arrival.body["data"])

    def _tell_gap(self, data: Body) -> None:
        """Tell of a time in which nobody listened; a range is told by the numbers already, where they come."""
        if self._rules.is_whole and data.get("first") is not None:
            return
        self._tell(missed_by(self.host, data))

    def _tell_hole(self, hole: Hole | None, known: str) -> None:
        if hole is not None:
            self._continuity.rest_on(known)
            self._newest = max(self._newest, known)
            self._tell(self._missed(hole))

    def _tell_outage(self) -> None:
        since, until = self._outage or (None, None)
        self._outage = None
        self._tell(Missed(self.host, "outage", since=since, until=until))

    def _missed(self, hole: Hole) -> Missed:
        reason, (since, until) = hole.reason, self._outage or (None, None)
        if self._outage and reason == "hole":
            reason = "outage"
        return Missed(self.host, reason, hole.first, hole.last, hole.count, since, until, hole.subject)

    def _tell(self, missed: Missed) -> None:
        """Tell what was missed, and ask what there is, unless an answer that is newer waits already."""
        self._rules.emit(missed, self, None)
        self._is_doubtful = True
        if self._answer is None:
            self.ask()

    def _give_snapshot_if_complete(self) -> None:
        if self._answer is not None and (self._continuity.last or "") >= self._answer.sequence:
            self._give_snapshot()

    def _give_snapshot(self) -> None:
        answer = self._answer
        if answer is None:
            return
        self._tell_hole(self._continuity.missing_up_to(answer.sequence), answer.sequence)
        self._answer, self._outage = None, None
        self._continuity.rest_on(answer.sequence)
        self._newest = max(self._newest, answer.sequence)
        if self._is_doubtful:
            self._is_doubtful = False
            self._rules.emit(answer, self, None)
