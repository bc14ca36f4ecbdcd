"""One host, followed: what goes in, in whatever order, and what the reader gets."""

from datetime import UTC, datetime
from typing import Any

import pytest

from libvirt_amqp.fleet import Event, Item, Missed, Snapshot
from libvirt_amqp.fleet.follower import Arrival, Follower, Rules
from libvirt_amqp.messages import sequence

SINCE, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)


class Run:
    """A follower whose items are in a list, and whose snapshots are answered by hand."""

    def __init__(self, *, is_whole: bool = True, is_kept: bool = False, wanted: str = "") -> None:
        self.items: list[Item] = []
        self.asked = 0
        self.done: list[str] = []
        self.follower = Follower("h1", Rules(is_whole, is_kept, lambda e: wanted in e.type, self._emit, self._ask))

    def _emit(self, item: Item, _follower: Follower, _arrival: Arrival | None) -> None:
        self.items.append(item)

    def _ask(self, _follower: Follower) -> None:
        self.asked += 1

    def hear(self, *numbers: int, epoch: int = 1, kind: str = "domain.lifecycle", **more: Any) -> None:
        """Take events with these numbers; `more` are attributes, `data` the members of its data."""
        data = {"object": {"class": kind.partition(".")[0], "host": "h1"}, **more.pop("data", {})}
        for number in numbers:
            text = sequence(epoch, number)
            subject = "agent" if kind.startswith("agent") else "domain/a"
            body = {"type": f"org.libvirt.{kind}", "subject": subject, "sequence": text, "data": data, **more}
            self.follower.take(Arrival(f"h1.{kind}", body, lambda text=text: self.done.append(text)))  # type: ignore[misc]

    def answer(self, number: int, epoch: int = 1) -> None:
        self.follower.answered(Snapshot("h1", sequence(epoch, number), (), frozenset()))

    def beat(self, number: int, pending: int = 0, epoch: int = 1, *, in_order: bool = True) -> None:
        self.follower.beat(sequence(epoch, number), pending, in_order=in_order)

    @property
    def said(self) -> list[str]:
        """What the reader got, in short: `3`, `snapshot 3`, `missed hole 4-5`."""
        return [_short(item) for item in self.items]


def _number(text: str | None) -> str:
    return "?" if text is None else str(int(text.partition("-")[2]))


def _short(item: Item) -> str:
    if isinstance(item, Event):
        return _number(item.sequence)
    if isinstance(item, Snapshot):
        return f"snapshot {_number(item.sequence)}"
    return f"missed {item.reason} {_number(item.first)}-{_number(item.last)}"


@pytest.fixture
def run() -> Run:
    """Return a follower that is at number 3."""
    run = Run()
    run.follower.ask()
    run.answer(3)
    run.items.clear()
    run.asked = 0
    return run


def test_a_host_begins_with_a_snapshot_and_what_is_newer() -> None:
    run = Run()
    run.hear(4, 5, 6)
    run.answer(5)
    assert run.said == ["snapshot 5", "6"]
    assert len(run.done) == 2


def test_a_number_that_did_not_come_after_the_first_snapshot_is_a_hole() -> None:
    run = Run()
    run.hear(4, 7)
    run.answer(5)
    assert run.said == ["snapshot 5", "missed hole 6-6"]
    run.answer(7)
    assert run.said[2:] == ["7", "snapshot 7"]


def test_a_repeat_is_dropped(run: Run) -> None:
    run.hear(4, 5, 4, 5, 3, 6)
    assert run.said == ["4", "5", "6"]


def test_a_hole_is_told_with_its_numbers_and_followed_by_the_state(run: Run) -> None:
    run.hear(4, 8, 9)
    assert run.said == ["4", "missed hole 5-7"]
    assert isinstance(run.items[1], Missed)
    assert run.items[1].count == 3
    run.answer(8)
    assert run.said[2:] == ["8", "snapshot 8", "9"]


def test_a_snapshot_waits_for_what_is_in_it(run: Run) -> None:
    run.hear(5)
    run.answer(7)
    assert run.said == ["missed hole 4-4", "5"]
    run.hear(6)
    run.hear(7)
    assert run.said[2:] == ["6", "7", "snapshot 7"]


def test_what_is_in_a_snapshot_and_never_came_is_told_before_it(run: Run) -> None:
    run.hear(5)
    run.answer(7)
    run.beat(7, pending=1)
    assert len(run.items) == 2
    run.beat(7)
    assert run.said[2:] == ["missed hole 6-7", "snapshot 7"]
    run.hear(8)
    assert run.said[4:] == ["8"]


def test_a_loss_of_the_last_event_is_told_by_a_heartbeat(run: Run) -> None:
    run.hear(4)
    run.beat(4)
    run.beat(6, pending=2)
    assert run.said == ["4"]
    run.beat(6)
    assert run.said == ["4", "missed hole 5-6"]
    run.answer(6)
    assert run.said[2:] == ["snapshot 6"]


def test_without_an_answer_events_go_on_and_the_state_is_asked_for_again(run: Run) -> None:
    run.hear(5, 6)
    run.follower.failed(for_ever=False)
    assert run.said == ["missed hole 4-4", "5", "6"]
    run.hear(7, kind="agent.libvirt-found")
    assert run.asked == 2
    run.answer(7)
    assert run.said[3:] == ["7", "snapshot 7"]


def test_an_agent_without_snapshots_is_not_asked_again_before_it_starts_anew(run: Run) -> None:
    run.hear(5)
    run.follower.failed(for_ever=True)
    run.hear(6, 8)
    run.beat(8)
    assert run.asked == 1
    assert run.said == ["missed hole 4-4", "5", "6", "missed hole 7-7", "8"]
    run.hear(1, epoch=2, kind="agent.started")
    assert run.asked == 2


def test_a_restart_that_names_our_last_event_misses_nothing(run: Run) -> None:
    run.hear(1, epoch=2, kind="agent.started", data={"former": sequence(1, 3)})
    run.hear(2, epoch=2)
    assert run.said == ["1", "2"]


def test_a_restart_that_names_a_later_event_tells_the_hole(run: Run) -> None:
    run.hear(1, epoch=2, kind="agent.started", data={"former": sequence(1, 5)})
    assert run.said == ["missed hole 4-5"]
    run.answer(1, epoch=2)
    assert run.said[1:] == ["1", "snapshot 1"]


def test_a_restart_that_names_nothing_is_told(run: Run) -> None:
    run.hear(1, epoch=2, kind="agent.started", data={"former": None})
    assert run.said == ["missed restart 4-?"]


def test_a_restart_whose_beginning_did_not_come_is_told(run: Run) -> None:
    run.hear(3, epoch=2)
    assert run.said == ["missed restart 4-2"]


def test_a_heartbeat_of_an_earlier_epoch_than_the_newest_begins_anew(run: Run) -> None:
    run.hear(1, epoch=9, kind="agent.started", data={"former": sequence(1, 3)})
    run.hear(4, 5)
    run.beat(5)
    assert run.said == ["1", "missed restart ?-5"]
    run.hear(6)
    run.answer(6)
    run.hear(7)
    assert run.said[2:] == ["6", "snapshot 6", "7"]


def test_where_the_broker_has_not_confirmed_all_a_host_begins_anew_with_its_snapshot(run: Run) -> None:
    run.hear(1, epoch=9, kind="agent.started", data={"former": sequence(1, 3)})
    run.beat(5, pending=1)
    run.hear(5)
    run.answer(5)
    run.hear(6)
    assert run.said == ["1", "missed restart ?-?", "snapshot 5", "6"]


def test_an_event_of_the_epoch_that_heartbeats_name_is_no_repeat(run: Run) -> None:
    run.beat(3)
    run.hear(1, epoch=9, kind="agent.started", data={"former": sequence(1, 3)})
    run.hear(4)
    run.answer(4)
    assert run.said == ["1", "missed restart ?-3", "4", "snapshot 4"]


def test_a_former_epoch_comes_again_after_a_restart_and_nothing_is_told(run: Run) -> None:
    run.beat(3)
    run.hear(1, epoch=2, kind="agent.started", data={"former": sequence(1, 3)})
    run.beat(1, epoch=2)
    run.hear(2, 3, 4)
    assert run.said == ["1"]


def test_a_kept_queue_whose_host_counts_in_an_earlier_epoch_is_given_all_the_same() -> None:
    run = Run(is_kept=True)
    run.beat(3, in_order=False)
    run.hear(1, epoch=9, kind="agent.started")
    run.answer(1, epoch=9)
    run.hear(4)
    run.answer(4)
    run.hear(5)
    assert run.said == ["1", "snapshot 1", "missed restart ?-3", "4", "snapshot 4", "5"]


def test_a_kept_queue_that_ends_in_a_later_epoch_than_its_hosts_begins_anew_at_its_end() -> None:
    run = Run(is_kept=True)
    run.hear(1, epoch=9, kind="agent.started")
    run.answer(1, epoch=9)
    run.beat(3, in_order=False)
    assert run.said == ["1", "snapshot 1"]
    run.follower.drained()
    run.answer(3)
    assert run.said[2:] == ["missed restart ?-3", "snapshot 3"]


def test_a_part_begins_anew_too() -> None:
    run = Run(is_whole=False)
    run.follower.ask()
    run.answer(3)
    run.hear(1, epoch=9, kind="agent.started", data={"former": sequence(1, 3)})
    run.beat(5)
    run.answer(5)
    run.hear(7, previous=sequence(1, 5))
    assert run.said == ["snapshot 3", "1", "missed restart ?-5", "snapshot 5", "7"]


def test_a_gap_of_the_agent_is_told_with_its_times(run: Run) -> None:
    times = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"}
    nothing = {"first": None, "last": None, "count": None}
    run.hear(4, kind="agent.gap", data={"reason": "libvirt-lost", **nothing, **times})
    run.hear(5)
    assert run.items[1] == Missed("h1", "libvirt-lost", since=SINCE, until=UNTIL)
    run.answer(4)
    assert run.said == ["4", "missed libvirt-lost ?-?", "snapshot 4", "5"]


def test_a_range_that_the_numbers_told_is_not_told_again_by_its_gap(run: Run) -> None:
    run.hear(6)
    run.answer(6)
    gap = {"reason": "outbox-full", "first": sequence(1, 4), "last": sequence(1, 5), "count": 2}
    run.hear(7, kind="agent.gap", data=gap)
    assert run.said == ["missed hole 4-5", "6", "snapshot 6", "7"]


def test_an_outage_in_which_nothing_happened_is_not_told(run: Run) -> None:
    run.follower.reconnected(SINCE, UNTIL)
    run.answer(3)
    run.hear(4)
    assert run.said == ["4"]


def test_an_outage_after_which_everything_comes_is_not_told(run: Run) -> None:
    run.follower.reconnected(SINCE, UNTIL)
    run.hear(4)
    run.answer(5)
    run.hear(5)
    assert run.said == ["4", "5"]


def test_an_outage_is_told_with_its_times_and_numbers(run: Run) -> None:
    run.follower.reconnected(SINCE, UNTIL)
    run.answer(6)
    run.hear(7)
    assert run.items[0] == Missed("h1", "outage", sequence(1, 4), sequence(1, 6), 3, SINCE, UNTIL)
    assert run.said[1:] == ["snapshot 6", "7"]


def test_what_has_no_room_is_told_and_followed_by_the_state(run: Run) -> None:
    for number in (4, 5):
        run.follower.drop(Arrival("", {"sequence": sequence(1, number)}, lambda: None))
    run.follower.resume()
    run.answer(6)
    run.hear(6, 7)
    assert run.said == ["missed slow 4-5", "6", "snapshot 6", "7"]


def test_a_part_tells_by_the_event_before_of_the_same_object() -> None:
    run = Run(is_whole=False)
    run.hear(4, previous=sequence(1, 2))
    run.answer(4)
    run.hear(9, previous=sequence(1, 3))
    run.hear(12, previous=sequence(1, 9))
    assert run.said == ["snapshot 4", "9", "12"]
    run.hear(20, previous=sequence(1, 17))
    assert isinstance(run.items[3], Missed)
    assert (run.items[3].subject, run.items[3].last) == ("domain/a", sequence(1, 17))
    run.answer(22)
    run.beat(22)
    assert run.said[4:] == ["20", "snapshot 22"]


def test_a_part_tells_an_outage_unless_nothing_happened_at_all() -> None:
    run = Run(is_whole=False)
    run.follower.ask()
    run.answer(4)
    run.follower.reconnected(SINCE, UNTIL)
    run.answer(4)
    assert run.said == ["snapshot 4"]
    run.follower.reconnected(SINCE, UNTIL)
    run.answer(5)
    run.beat(5)
    assert run.said[1:] == ["missed outage ?-?", "snapshot 5"]


def test_a_part_tells_a_restart_once() -> None:
    run = Run(is_whole=False)
    run.follower.ask()
    run.answer(4)
    run.hear(1, epoch=2, kind="agent.started")
    run.answer(1, epoch=2)
    assert run.said == ["snapshot 4", "missed restart ?-?", "1", "snapshot 1"]


def test_a_kept_queue_is_read_before_the_snapshot() -> None:
    run = Run(is_kept=True)
    run.hear(4)
    run.answer(6)
    run.hear(5, 6, 7)
    assert run.said == ["4", "5", "6", "snapshot 6", "7"]


def test_what_a_kept_queue_delivers_again_comes_once() -> None:
    run = Run(is_kept=True)
    run.hear(4)
    run.answer(4)
    run.hear(5, 6)
    for _ in (4, 5):
        run.follower.given()
    run.items.clear()
    run.follower.give_back()
    run.hear(5, 6)
    run.answer(6)
    assert run.said == ["6", "snapshot 6"]


def test_what_waits_for_the_reader_comes_again_out_of_a_kept_queue_behind_which_something_was_not_wanted() -> None:
    run = Run(is_kept=True, wanted="lifecycle")
    run.hear(1)
    run.answer(1)
    run.hear(2, kind="domain.reboot")
    run.hear(3)
    run.hear(4, kind="domain.reboot")
    run.follower.given()
    run.items.clear()
    run.follower.give_back()
    run.hear(3)
    run.hear(4, kind="domain.reboot")
    run.hear(5)
    run.answer(5)
    assert run.said == ["3", "5", "snapshot 5"]


def test_a_part_tells_a_range_that_the_agent_dropped() -> None:
    run = Run(is_whole=False)
    run.follower.ask()
    run.answer(4)
    gap = {"reason": "outbox-full", "first": sequence(1, 5), "last": sequence(1, 7), "count": 3}
    run.hear(8, kind="agent.gap", data=gap)
    assert run.items[2] == Missed("h1", "outbox-full", sequence(1, 5), sequence(1, 7), 3)
