"""Whatever is lost, repeated, late or cut: the items end with the truth, and tell what is missing."""

import itertools
import random
from datetime import UTC, datetime
from functools import partial

import pytest

from libvirt_amqp.fleet import Event, Item, Missed, Snapshot, State
from libvirt_amqp.fleet.follower import Arrival, Follower, Rules
from libvirt_amqp.messages import sequence

OBJECTS = 5
STEPS = 400
NOW = datetime.now(UTC)


class World:
    """A host whose objects change, a line that loses and repeats, and a reader that is slow at times."""

    def __init__(self, seed: int, *, is_kept: bool, loss: float = 0.1) -> None:
        self.random = random.Random(seed)
        self.is_kept, self.loss = is_kept, loss
        self.epoch, self.number = 1, 0
        self.states: dict[str, int] = {}
        self.published: list[str] = []
        self.line: list[Arrival] = []
        self.questions = 0
        self.answers: list[Snapshot] = []
        self.ready: list[tuple[Item, Arrival | None]] = []
        self.items: list[Item] = []
        self.unread: dict[int, Arrival] = {}
        """Delivered out of a kept queue and not acknowledged, in the queue's order."""
        self.deliveries = itertools.count()
        self.follower = Follower(
            "h", Rules(is_whole=True, is_kept=is_kept, wants=lambda _: True, emit=self._emit, ask=self._ask)
        )

    def _emit(self, item: Item, _follower: Follower, arrival: Arrival | None) -> None:
        self.ready.append((item, arrival))

    def read(self, count: int) -> None:
        """Let the reader take items that wait for it."""
        for item, arrival in self.ready[:count]:
            if isinstance(item, Event) and arrival is not None:
                self.follower.given()
                arrival.done()
            self.items.append(item)
        del self.ready[:count]

    def _ask(self, _follower: Follower) -> None:
        self.questions += 1

    def say(self, kind: str, subject: str, **data: object) -> None:
        self.number += 1
        number = sequence(self.epoch, self.number)
        self.published.append(number)
        body = {"type": f"org.libvirt.{kind}", "subject": subject, "sequence": number, "data": data}
        if self.random.random() >= self.loss:
            self.line.append(Arrival(kind, body, lambda: None))
        if self.line and self.random.random() < 0.1:
            self.line.append(self.random.choice(self.line))

    def change(self) -> None:
        name = f"o{self.random.randrange(OBJECTS)}"
        if self.states.pop(name, None) is None or self.random.random() < 0.6:
            self.states[name] = self.random.randrange(1000)
        self.say("domain.lifecycle", name, state=self.states.get(name))

    def restart(self) -> None:
        former = self.published[-1] if self.published and self.random.random() < 0.7 else None
        self.epoch, self.number = self.epoch + 1, 0
        self.say("agent.started", "agent", former=former)

    def answer(self) -> None:
        """Let the agent answer what it was asked; the answer may be late."""
        while self.questions:
            self.questions -= 1
            objects = tuple(State({"name": name}, {"state": state}) for name, state in self.states.items())
            self.answers.append(Snapshot("h", sequence(self.epoch, self.number), objects, frozenset()))

    def deliver(self, count: int) -> None:
        for waiting in self.line[:count]:
            tag = next(self.deliveries)
            arrival = self.unread[tag] = Arrival(waiting.key, waiting.body, partial(self.unread.pop, tag, None))
            if self.follower.is_behind or (not self.is_kept and self.random.random() < 0.02):
                self.follower.drop(arrival)
            else:
                self.follower.take(arrival)
        del self.line[:count]

    def hear_answers(self) -> None:
        while self.answers:
            answer = self.answers.pop(0)
            if self.random.random() < 0.2:
                self.follower.failed(for_ever=False)
                self.follower._ask_from = 0.0  # the time to wait is over
            else:
                self.follower.answered(answer)
        if self.follower.is_behind and not self.follower.is_asking:
            self.follower.resume()

    def cut(self) -> None:
        """Lose the connection, and with it questions, answers, and what was on the line, unless a queue keeps it."""
        self.questions, self.answers = 0, []
        if self.is_kept:
            self.follower.give_back()
            self.ready.clear()
            self.line[:0] = self.unread.values()
            self.unread.clear()
        else:
            self.line.clear()
            self.follower.reconnected(NOW, NOW)

    def settle(self) -> None:
        """Let everything come that comes, and heartbeats."""
        for _ in range(20):
            self.deliver(len(self.line))
            self.answer()
            self.hear_answers()
            self.follower.beat(sequence(self.epoch, self.number), 0, in_order=not self.is_kept)
            self.follower.drained()
            self.read(len(self.ready))

    @property
    def table(self) -> dict[str, int]:
        known: dict[str, int] = {}
        for item in self.items:
            if isinstance(item, Snapshot):
                known = {state.object["name"]: state.state["state"] for state in item.objects}
            elif isinstance(item, Event) and item.type == "domain.lifecycle":
                known.pop(item.body["subject"], None)
                if item.body["data"]["state"] is not None:
                    known[item.body["subject"]] = item.body["data"]["state"]
        return known

    def untold(self) -> list[str]:
        """Return what was published behind the first snapshot, was not given, and is in no told range."""
        begin = next(at for at, item in enumerate(self.items) if isinstance(item, Snapshot))
        first = self.items[begin]
        assert isinstance(first, Snapshot)
        untold = {number for number in self.published if number > first.sequence}
        for at, item in enumerate(self.items):
            if isinstance(item, Event):
                untold.discard(item.sequence)
            elif isinstance(item, Missed):
                last = item.last or self.next_sequence(at)
                untold -= {number for number in untold if (item.first or "~") <= number <= last}
        return sorted(untold)

    def next_sequence(self, at: int) -> str:
        """Return where the items go on after one that does not say where what is missing ends."""
        return next(item.sequence for item in self.items[at:] if not isinstance(item, Missed))


@pytest.mark.parametrize("is_kept", [False, True])
@pytest.mark.parametrize("seed", range(100))
def test_the_end_is_the_truth_and_nothing_is_missing_in_silence(seed: int, *, is_kept: bool) -> None:
    world = World(seed, is_kept=is_kept)
    steps = [world.change] * 10 + [world.answer, world.hear_answers, world.restart] + [world.cut]
    world.follower.ask()
    for _ in range(STEPS):
        world.random.choice(steps)()
        world.deliver(world.random.randrange(3))
        world.read(world.random.randrange(3))
    world.settle()
    given = [item.sequence for item in world.items if isinstance(item, Event)]
    assert given == sorted(set(given))
    assert world.untold() == []
    assert isinstance(next(i for i in reversed(world.items) if not isinstance(i, Event)), Snapshot)
    assert world.table == world.states


@pytest.mark.parametrize("seed", range(20))
def test_of_what_was_not_lost_nothing_is_told_as_missing(seed: int) -> None:
    world = World(seed, is_kept=True, loss=0)
    world.follower.ask()
    for _ in range(STEPS):
        world.random.choice([world.change, world.change, world.change, world.answer, world.hear_answers, world.cut])()
        world.deliver(world.random.randrange(3))
        world.read(world.random.randrange(3))
    world.settle()
    assert [item for item in world.items if isinstance(item, Missed)] == []
