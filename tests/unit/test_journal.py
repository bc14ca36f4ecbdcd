"""What is on disk in the next run, and in which order it is sent."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import eventually
from runs import MIB, Begin, Told, end, event, rows, runs_in
from structlog.testing import capture_logs

from app import journal as journal_module
from app.journal import FILE
from app.journal_file import FREE_PAGES
from app.outgoing import Event, Lost


@pytest.fixture
async def begin(tmp_path: Path) -> AsyncIterator[Begin]:
    async with runs_in(tmp_path) as begin:
        yield begin


async def test_a_run_that_ends_before_its_first_event_was_never_alive(begin: Begin) -> None:
    """What is left is read at once, before the time in which nobody listened is noted: it would be told by nobody."""
    first = begin()
    first.append(event(1))
    await end(first)
    second = begin()
    await eventually(lambda: len(second.waiting) == 1)
    await end(second)
    assert begin()._journal.former_alive == second._journal.former_alive


async def test_what_was_not_confirmed_is_there_in_the_next_run_as_it_was(begin: Begin) -> None:
    first = begin()
    odd = Event("0000000001-000000000000002", "h.\udcff.x", b"\x00\xff" * 70_000, is_news=True)
    first.append(event(1))
    first.append(odd)
    first.append(event(3))
    await eventually(lambda: len(first.waiting) == 3)
    first.next()
    first.confirm()
    await end(first)
    second = begin()
    second.append(event(1, epoch=2))
    await eventually(lambda: len(second.waiting) == 3)
    assert [placed.event for placed in second.waiting] == [odd, event(3), event(1, epoch=2)]


async def test_an_event_is_sent_when_it_is_on_disk_and_not_before(begin: Begin) -> None:
    outbox = begin()
    with outbox._journal._condition:  # the thread that writes gets no work
        outbox.append(event(1))
        assert not outbox.waiting
    await eventually(lambda: outbox.waiting)
    assert rows(outbox) == 1


async def test_what_was_confirmed_leaves_the_file(begin: Begin) -> None:
    outbox = begin()
    for number in range(1, 1001):
        outbox.append(event(number))
    await eventually(lambda: rows(outbox) == 1000)
    for _ in range(700):
        outbox.next()
        outbox.confirm()
    await eventually(lambda: rows(outbox) == 300)


async def test_rows_the_last_sequence_and_the_last_sign_of_life_are_there_in_the_next_run(begin: Begin) -> None:
    first = begin()
    journal = first._journal
    journal.keep("domain/a", b"1")
    journal.keep("domain/b", b"2")
    for number in range(250):
        journal.keep(f"network/{number}", b"n")
    first.append(event(7))
    journal.keep("domain/a", None)
    journal.keep("domain/b", b"3")
    journal.note_lost(Lost("a", "b", 2))
    journal.heard_until(1000.5)
    await end(first)
    second = begin()._journal
    assert len(second.kept) == 251
    assert second.kept["domain/b"] == b"3"
    assert "domain/a" not in second.kept
    assert second.former_sequence == event(7).sequence
    assert second.former_alive == datetime.fromtimestamp(1000.5, UTC)
    assert second.lost == Lost("a", "b", 2)


async def test_what_another_host_has_left_is_set_aside_with_a_loud_line(begin: Begin, tmp_path: Path) -> None:
    first = begin(host="one")
    first.append(event(1))
    await end(first)
    with capture_logs() as lines:
        second = begin(host="two")
    assert (len(second), second._journal.former_sequence) == (0, None)
    assert [(line["event"], line["whose"], line["events"]) for line in lines] == [("outbox_of_another_host", "one", 1)]
    assert (tmp_path / f"{FILE}.of-one").exists()
    second.append(event(2))
    await end(second)
    assert len(begin(host="two")) == 1


async def test_what_was_set_aside_is_taken_back_when_its_host_is(begin: Begin) -> None:
    for host in ("one", "two", "three"):
        outbox = begin(host=host)
        outbox.append(event(1))
        await end(outbox)
    for host in ("two", "one", "three"):
        again = begin(host=host)
        assert len(again) == 1
        await end(again)


async def test_what_a_run_has_appended_can_be_taken_back(begin: Begin) -> None:
    first = begin()
    first.append(event(1))
    await end(first)
    second = begin()
    for number in range(1, 4):
        second.append(event(number, epoch=2))
    second.forget_epoch(2)
    await end(second)
    third = begin()
    await eventually(lambda: third.waiting)
    assert [placed.event.sequence for placed in third.waiting] == [event(1).sequence]


async def test_memory_holds_a_window_and_the_rest_is_read_back_in_order(begin: Begin) -> None:
    """As in an outage: the broker takes nothing while 100 000 events come."""
    outbox = begin(memory=400)
    for number in range(1, 100_001):
        outbox.append(event(number))
        if number % 1000 == 0:
            await eventually(lambda: outbox.in_memory <= 400)
    assert len(outbox) == 100_000
    seen = []
    while len(outbox):
        await eventually(lambda: outbox.waiting)
        seen.append(int(outbox.next().sequence.split("-")[1]))
        outbox.confirm()
        assert outbox.in_memory <= 400 + journal_module.PAGE + 128
    assert seen == list(range(1, 100_001))


async def test_the_bound_takes_the_oldest_from_disk_too_and_the_range_is_told_once(begin: Begin) -> None:
    outbox = begin(max_bytes=MIB, memory=100)
    told = Told()
    outbox.on_lost = told.take
    body = bytes(1000)
    size = event(1, body).size
    for number in range(1, 5001):
        outbox.append(event(number, body))
    fits = MIB // size
    await eventually(lambda: len(outbox) == fits)
    await eventually(lambda: rows(outbox) == fits)
    assert not told.lost
    while len(outbox):
        await eventually(lambda: outbox.waiting)
        outbox.next()
        outbox.confirm()
    assert told.lost == [Lost(event(1).sequence, event(5000 - fits).sequence, 5000 - fits)]


async def test_a_loss_that_nobody_can_tell_any_more_is_told_by_the_next_run(begin: Begin) -> None:
    """As at a stop: events are still confirmed when the agent has said its last."""
    first = begin(max_bytes=MIB)
    first.on_lost = Told(can=False).take
    for number in range(1, 2001):
        first.append(event(number, bytes(1000)))
    for _ in range(500):
        await eventually(lambda: first.waiting)
        first.next()
        first.confirm()
    lost = first.lost
    assert lost is not None
    await end(first)
    assert begin().lost == lost


async def test_a_loss_that_was_not_told_is_told_by_the_next_run(begin: Begin) -> None:
    first = begin(max_bytes=MIB)
    for number in range(1, 2001):
        first.append(event(number, bytes(1000)))
    await end(first)
    assert first.lost is not None
    second = begin()
    told = Told()
    second.on_lost = told.take
    second.tell_lost()
    assert told.lost == [first.lost]
    await end(second)
    assert begin().lost is None


async def test_the_file_gives_back_what_it_does_not_need_any_more(begin: Begin) -> None:
    outbox = begin()
    for number in range(1, 20_001):
        outbox.append(event(number, bytes(1000)))
    await eventually(lambda: rows(outbox) == 20_000)
    while len(outbox):
        await eventually(lambda: outbox.waiting)
        outbox.next()
        outbox.confirm()
    await eventually(lambda: rows(outbox) == 0)
    file = outbox._journal._file
    assert file is not None
    await eventually(lambda: file._db.execute("PRAGMA page_count").fetchone()[0] < 2 * FREE_PAGES)
