"""The outbox: every event from its number to the broker's confirm, in order; a window in memory, the rest on disk.

In the order of sending: `unconfirmed` was sent, `waiting` is to be sent next, then come events that are only on disk
(the middle), then the tail, which is not known to be on disk yet.  An event is sent when it is on disk: so nobody ever
knows one that the next run does not.  Without a journal that works, or in time, events go on from memory.
"""

import asyncio
from collections import deque
from collections.abc import Callable

import structlog

from app.journal import Journal
from app.journal_file import Left
from app.outgoing import Event, Lost, Placed

log = structlog.get_logger()

MEMORY = 4000
"""Events that stand in memory, sent ones included, while the rest is on disk."""
OUTBOX_LIMIT = 100_000
"""Events in memory when the disk does not take them."""
LATE_SECONDS = 2.0
"""After so long without any progress the disk hangs, and nobody waits for it any more."""
OVERFULL = 2.0
"""From so many times the bound on the agent's own news is dropped too: an agent that is started again and again."""
ROOM = 0.9
"""A loss is told when no more than this part of the bound is used: else its news would be followed by the next one."""


class Outbox:
    """Bounded by `max_bytes` altogether, and by `limit` events in memory.  The oldest that was not sent goes first."""

    def __init__(self, journal: Journal, max_bytes: int, *, memory: int = MEMORY, limit: int = OUTBOX_LIMIT) -> None:
        self._journal = journal
        self._max_bytes, self._memory, self._limit = max_bytes, memory, limit
        left = journal.left
        self.unconfirmed: deque[Placed] = deque()
        self.waiting: deque[Placed] = deque()
        self._middle = left.events
        self._middle_first, self._middle_last = left.first, left.last
        self._tail: deque[Placed] = deque()
        self._next = left.highest + 1
        self._read_up_to = 0
        self._is_reading = False
        self._is_unreadable = False
        self._loop = asyncio.get_running_loop()
        self._look: asyncio.Handle | None = None
        self._is_late = False
        self._bytes = left.size
        self.lost = journal.lost
        self.lost_total = 0
        self.on_ready: Callable[[], None] = lambda: None
        """Called when there is something to send again."""
        self.on_lost: Callable[[Lost], bool] | None = None
        """Called with what was lost, when there is room to tell it; says whether it was told."""
        journal.owner = self
        self._refill()

    def __len__(self) -> int:
        return self.in_memory + self._middle

    @property
    def in_memory(self) -> int:
        """Events that are in memory."""
        return len(self.unconfirmed) + len(self.waiting) + len(self._tail)

    @property
    def is_safe(self) -> bool:
        """Whether the process may end without a loss, once the journal is closed."""
        return self._journal.works

    def append(self, event: Event) -> None:
        """Keep an event until it is confirmed; makes room when there is none."""
        placed = Placed(self._next, event)
        self._next += 1
        self._bytes += event.size
        self._journal.append(placed)
        self._tail.append(placed)
        if self._look is None:
            self._look = self._loop.call_later(LATE_SECONDS, self._look_at_tail, placed)
        if not event.is_news or self._is_over(OVERFULL):
            self._make_room()
        self._refill()

    def next(self) -> Event:
        """Return the next event to send, from now on unconfirmed."""
        placed = self.waiting.popleft()
        self.unconfirmed.append(placed)
        self._refill()
        return placed.event

    def confirm(self) -> None:
        """Forget the oldest unconfirmed event: the broker has it."""
        self._forget(self.unconfirmed.popleft())
        self._refill()
        self.tell_lost()

    def rewind(self) -> None:
        """Let everything unconfirmed be sent again, in order."""
        self.waiting.extendleft(reversed(self.unconfirmed))
        self.unconfirmed.clear()

    def forget_epoch(self, epoch: int) -> None:
        """Drop what was given a number in an epoch and was not sent: it is nobody's news."""
        for part in (self.waiting, self._tail):
            for placed in [placed for placed in part if placed.event.sequence.startswith(f"{epoch:010d}-")]:
                part.remove(placed)
                self._forget(placed)

    def tell_lost(self) -> None:
        """Tell what was lost since the last time, if there is room for it."""
        if self.lost is None or self.on_lost is None or self._is_over(ROOM):
            return
        lost, self.lost = self.lost, None
        if self.on_lost(lost):
            self._journal.note_lost(self.lost)
        else:
            self.lost = lost  # the next run tells it

    # What the journal says.

    def written(self, place: int) -> None:
        """Have sent what is on disk, and let go of what does not fit into the window."""
        if self._is_late:
            self._is_late = False
            log.warning("outbox_in_time_again")
        while self._tail and self._tail[0].place <= place:
            placed = self._tail.popleft()
            if not self._middle and len(self.waiting) + len(self.unconfirmed) < self._memory:
                self._send(placed)
                continue
            self._middle_first = self._middle_first if self._middle else placed.event.sequence
            self._middle_last = placed.event.sequence
            self._middle += 1
        self._refill()
        self.on_ready()

    def failed(self) -> None:
        """Go on from memory."""
        self._refill()
        self.on_ready()

    def unreadable(self) -> None:
        """Wait for `opened`: what is only on disk cannot be read for now."""
        self._is_reading, self._is_unreadable = False, True

    def page(self, events: list[Placed] | None) -> None:
        """Take what was read back."""
        self._is_reading = False
        if events:
            self.waiting.extend(events)
            self._middle -= len(events)
            self._read_up_to = events[-1].place
            self._middle_first = events[-1].event.sequence
        elif self._middle:
            self._lose_middle()
        self._make_room()
        self._refill()
        self.on_ready()

    def opened(self, left: Left) -> None:
        """Hand over what is not on disk; what others left there comes behind what we have in memory."""
        self._is_unreadable = False
        if not left.is_ours:
            self._lose_middle()
            self.waiting.extend(self._tail)
            self._tail.clear()
            self._read_up_to = max(self._next, left.highest + 1)
            self._journal.adopt(self._read_up_to)
            self._next = self._read_up_to + left.highest + 1
            self._middle, self._middle_first, self._middle_last = left.events, left.first, left.last
            self._bytes += left.size
            self._journal.note_lost(self.lost)
        on_disk = left.highest if left.is_ours else 0
        self.written(on_disk)
        for part in (self.unconfirmed, self.waiting, self._tail):
            for placed in part:
                if placed.place > on_disk:
                    self._journal.append(placed)
        self._make_room()
        self._refill()
        self.on_ready()

    def _refill(self) -> None:
        """Get more to send where little is left in memory."""
        if self._middle:
            if not self._is_reading and not self._is_unreadable and len(self.waiting) < self._memory // 4:
                self._is_reading = True
                self._journal.read(self._read_up_to)
            return
        while self._tail and (self._is_late or not self._journal.works):
            self._send(self._tail.popleft())

    def _send(self, placed: Placed) -> None:
        self.waiting.append(placed)
        self._read_up_to = placed.place

    def _look_at_tail(self, first: Placed) -> None:
        """Find out whether the disk takes anything: `first` was the first event that waited for it."""
        self._look = None
        if not self._tail:
            return
        if self._tail[0] is first and self._journal.works and not self._is_late:
            self._is_late = True
            log.error("outbox_late", seconds=LATE_SECONDS, consequence="events are sent without waiting for the disk")
            self.failed()
        if self._tail:
            self._look = self._loop.call_later(LATE_SECONDS, self._look_at_tail, self._tail[0])

    def _is_over(self, part: float = 1.0) -> bool:
        return self._bytes > part * self._max_bytes or self.in_memory > part * self._limit

    def _make_room(self) -> None:
        while self._is_over() and self._drop():
            self._refill()

    def _drop(self) -> bool:
        """Lose the oldest event that was not sent and is in memory."""
        parts = [self.waiting]
        if not self._middle or self.in_memory > self._limit:  # else older ones are on their way from the disk
            parts.append(self._tail)
        is_overfull = self._is_over(OVERFULL)
        for part in parts:
            for at, placed in enumerate(part):
                if is_overfull or not placed.event.is_news:
                    del part[at]
                    self._forget(placed)
                    self._note_lost(placed.event.sequence, placed.event.sequence, 1)
                    return True
        return False

    def _lose_middle(self) -> None:
        """Nobody can read what was only on disk."""
        count, self._middle = self._middle, 0
        if not count:
            return
        log.error("outbox_unreadable", events=count, first=self._middle_first, last=self._middle_last)
        parts = (self.unconfirmed, self.waiting, self._tail)
        self._bytes = sum(placed.event.size for part in parts for placed in part)
        end = self._tail[0].place if self._tail else self._next
        self._journal.forget(self._read_up_to + 1, end - 1)
        self._note_lost(self._middle_first, self._middle_last, count, "outbox-broken")

    def _note_lost(self, first: str, last: str, count: int, reason: str = "outbox-full") -> None:
        self.lost_total += count
        if self.lost is None:
            self.lost = Lost(first, last, 0, reason)
        self.lost.first, self.lost.last = min(self.lost.first, first), max(self.lost.last, last)
        self.lost.count += count
        self._journal.note_lost(self.lost)

    def _forget(self, placed: Placed) -> None:
        self._bytes -= placed.event.size
        self._journal.forget(placed.place, placed.place)
