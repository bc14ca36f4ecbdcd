"""What a fault did to the events: what was provoked beside what came, and what was told of the rest."""

import bisect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

EAR_SECONDS = 0.1
"""Two ears hear an event at moments that are no further apart."""
LOOK_SECONDS = 1.0
"""What is told as found was so within this time before."""

Table = dict[str, list[bool]]
"""class/uuid -> active, persistent, paused."""
STEPS: Mapping[str, Callable[[list[bool]], list[bool]]] = {
    "defined": lambda s: [s[0], True, s[2]],
    "undefined": lambda s: [s[0], False, s[2]],
    "started": lambda s: [True, s[1], False],
    "stopped": lambda s: [False, s[1], False],
    "suspended": lambda s: [True, s[1], True],
    "resumed": lambda s: [True, s[1], False],
}
CLAIMS: Mapping[str, Callable[[list[bool]], bool]] = {
    "defined": lambda s: s[1],
    "undefined": lambda s: not s[1],
    "started": lambda s: s[0],
    "stopped": lambda s: not s[0],
    "suspended": lambda s: s[0] and s[2],
    "resumed": lambda s: s[0] and not s[2],
}


class Happening(NamedTuple):
    """What libvirt announced, or would have."""

    moment: float
    subject: str
    word: str


def step(table: Table, subject: str, word: str) -> None:
    """Apply a lifecycle event as any reader would."""
    if word in STEPS:
        state = STEPS[word](table.get(subject, [False, False, False]))
        table[subject] = state
        if not (state[0] or state[1]):
            del table[subject]


@dataclass
class Account:
    """A row of the table."""

    fault: str
    provoked: int = 0
    received: int = 0
    found: int = 0
    in_gap: int = 0
    untold: int = 0
    duplicates: int = 0
    gaps: int = 0
    holes: int = 0
    false_news: int = 0
    ahead: int = 0
    """Events of a run that came, and of which the next run did not know: they were not on disk when it was killed."""
    unfound: int = 0
    """Objects that a reader has wrong who heeds events alone, and not what he was told of missing ones."""
    fleet: bool = False
    note: str = ""
    details: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.untold or self.holes or self.false_news) and self.fleet and self.provoked > 0


class Ledger:
    """What really happened, by object and in time."""

    def __init__(self, before: Table, happenings: Iterable[Happening]) -> None:
        self._moments: dict[str, list[float]] = defaultdict(list)
        self._states: dict[str, list[list[bool]]] = defaultdict(list)
        for subject, state in before.items():
            self._moments[subject].append(0.0)
            self._states[subject].append(state)
        for moment, subject, word in happenings:
            now = self._states[subject][-1] if self._states[subject] else [False, False, False]
            self._moments[subject].append(moment)
            self._states[subject].append(STEPS[word](now) if word in STEPS else now)

    def was_so(self, subject: str, word: str, moment: float) -> bool:
        """Say whether what an event claims was so at the moment, or a little before."""
        moments = self._moments.get(subject, [])
        first = max(0, bisect.bisect_right(moments, moment - LOOK_SECONDS) - 1)
        last = bisect.bisect_right(moments, moment + EAR_SECONDS)
        states = self._states[subject][first:last] if moments else []
        if not moments or moment - LOOK_SECONDS < moments[0]:
            states = [[False, False, False], *states]
        return any(CLAIMS[word](state) for state in states)


class Message(NamedTuple):
    """An event of the agent that was read out of the queue."""

    id: str
    subject: str
    word: str
    moment: float
    is_found: bool
    body: dict[str, Any]


Correct = Callable[[float], float]
"""Makes of a moment by the agent's clock one by ours."""


def read(key: str, body: dict[str, Any], correct: Correct) -> Message:
    """Take out of an event what counts."""
    moment = correct(datetime.fromisoformat(body["time"]).timestamp())
    return Message(body["id"], body["subject"], key.rpartition(".")[2], moment, body.get("found") is True, body)


def balance(  # noqa: PLR0913 (everything that is known)
    fault: str,
    before: Table,
    after: Table,
    happenings: list[Happening],
    messages: list[Message],
    correct: Correct,
) -> Account:
    """Draw up the account of what was provoked and what came."""
    account = Account(fault, provoked=len(happenings))
    once = _once(account, messages)
    _count_holes(account, once)
    lifecycle = [m for m in once if ".lifecycle" in m.body["type"] and m.word in STEPS]
    missing = _match(account, happenings, [m for m in lifecycle if not m.is_found])
    times = [_time(m.body["data"], correct) for m in once if m.body["type"].endswith("agent.gap")]
    account.gaps = len(times)
    stands_for = _by_event((m.moment, m.subject, m.word) for m in lifecycle if m.is_found)
    told: set[str] = set()
    for happening in sorted(missing):
        later = [moment for moment in stands_for[happening[1:]] if moment >= happening.moment - EAR_SECONDS]
        if later:
            stands_for[happening[1:]].remove(later[0])
            account.found += 1
        elif any(t and t[0] - EAR_SECONDS <= happening.moment <= t[1] + EAR_SECONDS for t in times):
            account.in_gap += 1
            told.add(happening.subject)
        else:
            account.untold += 1
            account.details.append(f"untold: {happening}")
    if account.untold:
        account.details.insert(0, f"told: {times}")
    truth = Ledger(before, happenings)
    for m in lifecycle:
        if m.is_found and not truth.was_so(m.subject, m.word, m.moment):
            account.false_news += 1
            account.details.append(f"false: {m.body}")
    table = {subject: list(state) for subject, state in before.items()}
    for m in lifecycle:
        step(table, m.subject, m.word)
    for subject in sorted(s for s in table.keys() | after.keys() if table.get(s) != after.get(s)):
        account.unfound += 1
        account.untold += subject not in told
        seen = [(m.id, m.word, m.is_found) for m in messages if m.subject == subject]
        account.details.append(f"{subject} ends as {table.get(subject)}, libvirt: {after.get(subject)}; events: {seen}")
    return account


def _once(account: Account, messages: list[Message]) -> list[Message]:
    """Return each event once, in the order in which it came first; that has to be the order of its numbers."""
    seen: dict[str, Message] = {}
    last = ""
    for message in messages:
        if message.id in seen:
            account.duplicates += 1
            if message.body != seen[message.id].body:
                account.false_news += 1
                account.details.append(f"another event under the same id: {message.body}")
            continue
        if message.id < last:
            account.holes += 1
            account.details.append(f"out of order: {message.id} behind {last}")
        last = max(last, message.id)
        seen[message.id] = message
    return list(seen.values())


def _count_holes(account: Account, messages: list[Message]) -> None:
    """Count the numbers that did not come and that no gap names, up to the last one that is named by a message."""
    told = [m.body["data"] for m in messages if m.body["type"].endswith("agent.gap") and m.body["data"]["first"]]
    former = [m.body["data"].get("former") for m in messages if m.body["type"].endswith("agent.started")]
    epochs: dict[str, set[int]] = defaultdict(set)
    for m in messages:
        epoch, number = m.id.split("-")
        epochs[epoch].add(int(number))
    named = [f.split("-") for f in former if f]
    ends = {e: int(number) for e, number in named}
    account.ahead = sum(max(0, max(numbers) - ends.get(epoch, max(numbers))) for epoch, numbers in epochs.items())
    for epoch, numbers in epochs.items():
        last = max([*numbers, *(int(number) for e, number in named if e == epoch)])
        lost = [f"{epoch}-{n:015d}" for n in range(1, last + 1) if n not in numbers]
        untold = [i for i in lost if not any(gap["first"] <= i <= gap["last"] for gap in told)]
        account.holes += len(untold)
        account.details += [f"hole: {i}" for i in untold[:5]]


def _match(account: Account, happenings: list[Happening], heard: list[Message]) -> list[Happening]:
    """Count what was received, and return what was not; the nearest one of its kind is the one."""
    left = _by_event(happenings)
    for message in heard:
        moments = left[message.subject, message.word]
        if moments:
            moments.remove(min(moments, key=lambda moment: abs(moment - message.moment)))
            account.received += 1
    return [Happening(moment, *what) for what, moments in left.items() for moment in moments]


def _by_event(events: Iterable[tuple[float, str, str]]) -> dict[tuple[str, ...], list[float]]:
    by: dict[tuple[str, ...], list[float]] = defaultdict(list)
    for moment, subject, word in events:
        by[subject, word].append(moment)
    return by


def _time(data: dict[str, Any], correct: Correct) -> tuple[float, ...] | None:
    """Return from when to when nobody listened."""
    if data["from"] is None:
        return None
    return tuple(correct(datetime.fromisoformat(data[end]).timestamp()) for end in ("from", "to"))
