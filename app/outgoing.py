"""Events on their way out: what they are, what is said of lost ones, and how several make one row of the journal."""

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import NamedTuple, Self

OVERHEAD = 64
"""Bytes that an event costs besides its key and body."""
ROW_EVENTS = 128
ROW_BYTES = 64 * 1024

_FRAME = struct.Struct(">IHHI?")

Range = tuple[int, int]
"""Places, both ends included."""


class Event(NamedTuple):
    """One event.  `sequence` is its id, epoch included."""

    sequence: str
    key: str
    body: bytes
    is_news: bool = False
    """The agent's own: rare, and the news of a loss must not cause one."""

    @property
    def size(self) -> int:
        """Bytes, as the bound counts them."""
        return len(self.key) + len(self.body) + OVERHEAD


class Placed(NamedTuple):
    """An event and its place in the order of sending, across epochs."""

    place: int
    event: Event


@dataclass
class Lost:
    """A range of events that were given a sequence and then were lost."""

    first: str
    last: str
    count: int
    reason: str = "outbox-full"

    @classmethod
    def read(cls, text: str | None) -> Self | None:
        """Return what `write` wrote; None: nothing was lost."""
        return cls(**json.loads(text)) if text else None

    def write(self) -> str:
        """Return this as text."""
        return json.dumps(asdict(self))


Row = tuple[int, int, int, int, bytes]
"""Last place, first place, events, bytes, and the events packed."""


def without(events: list[Placed], gone: Iterable[Range]) -> list[Placed]:
    """Return the events, in the order of their places, that stand in none of the ranges."""
    if not events:
        return events
    here = [part for part in gone if part[1] >= events[0].place and part[0] <= events[-1].place]
    if not here:
        return events
    return [placed for placed in events if not any(first <= placed.place <= last for first, last in here)]


def rows(events: Iterable[Placed]) -> Iterator[Row]:
    """Divide events into rows."""
    row: list[Placed] = []
    size = 0
    for placed in events:
        if row and (len(row) >= ROW_EVENTS or size + placed.event.size > ROW_BYTES):
            yield pack(row)
            row, size = [], 0
        row.append(placed)
        size += placed.event.size
    if row:
        yield pack(row)


def pack(events: list[Placed]) -> Row:
    """Make one row of events."""
    first = events[0].place
    parts: list[bytes] = []
    for place, (sequence, key, body, is_news) in events:
        number, word = sequence.encode(), key.encode(errors="surrogateescape")
        parts += (_FRAME.pack(place - first, len(number), len(word), len(body), is_news), number, word, body)
    return events[-1].place, first, len(events), sum(placed.event.size for placed in events), b"".join(parts)


def unpack(first: int, packed: bytes) -> list[Placed]:
    """Return the events of a row.  Raises ValueError, struct.error."""
    events = []
    at = 0
    while at < len(packed):
        offset, numbers, words, bodies, is_news = _FRAME.unpack_from(packed, at)
        word = at + _FRAME.size + numbers
        body = word + words
        end = body + bodies
        if end > len(packed):
            raise ValueError("the row is cut off")
        sequence = packed[at + _FRAME.size : word].decode()
        key = packed[word:body].decode(errors="surrogateescape")
        events.append(Placed(first + offset, Event(sequence, key, packed[body:end], is_news)))
        at = end
    return events
