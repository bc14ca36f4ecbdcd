import asyncio
import contextlib
import os
import resource
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from structlog.testing import capture_logs

from app import journal as journal_module
from app import outbox as outbox_module
from app.journal import FILE, Journal
from app.journal_file import FREE_PAGES, JournalFile
from app.outbox import Outbox
from app.outgoing import Event, Lost

MIB = 2**20

Begin = Callable[..., Outbox]


def event(number: int, body: bytes = b"{}", epoch: int = 1) -> Event:
    return Event(f"{epoch:010d}-{number:015d}", "h.x", body)


def numbers(outbox: Outbox) -> list[int]:
    return [int(placed.event.sequence.split("-")[1]) for placed in outbox.waiting]


class Told:
    """Somebody who tells what was lost, or cannot any more."""

    def __init__(self, *, can: bool = True) -> None:
        self.lost: list[Lost] = []
        self._can = can

    def take(self, lost: Lost) -> bool:
        if self._can:
            self.lost.append(lost)
        return self._can


@pytest.fixture
async def begin(tmp_path: Path) -> AsyncIterator[Begin]:
    """Yield what opens an outbox on the same folder, as a run of the agent does; `end` closes it as a stop does."""
    async with AsyncExitStack() as stack:
        runs = 0

        def begin(
            directory: Path = tmp_path, max_bytes: int = 256 * MIB, memory: int = 4000, host: str | None = None
        ) -> Outbox:
            nonlocal runs
            runs += 1
            journal = Journal(directory, f"run {runs}", host)
            if host is not None:
                journal.belongs_to(host)
            stack.push_async_callback(journal.close)
            return Outbox(journal, max_bytes, memory=memory)

        yield begin


@pytest.fixture
def retries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "RETRY_SECONDS", 0.05)


@contextlib.contextmanager
def disk_full() -> Iterator[None]:
    """No file can grow any more: what a full disk or a quota does, for this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def rows(outbox: Outbox) -> int:
    """Events in the file, as a copy of it says: the file itself is locked."""
    file = outbox._journal._file
    assert file is not None
    return file.left().events


async def end(outbox: Outbox) -> None:
    await outbox._journal.close()


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


async def test_a_disk_that_hangs_holds_no_event_up_for_ever(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "LATE_SECONDS", 0.1)
    outbox = begin()
    with outbox._journal._condition:
        for number in (1, 2):
            outbox.append(event(number))
        await eventually(lambda: numbers(outbox) == [1, 2])
        outbox.append(event(3))
        assert numbers(outbox) == [1, 2, 3]
    await eventually(lambda: rows(outbox) == 3)
    with outbox._journal._condition:
        outbox.append(event(4))
        assert numbers(outbox) == [1, 2, 3]
    await eventually(lambda: numbers(outbox) == [1, 2, 3, 4])


async def test_a_file_that_fails_holds_no_event_up(begin: Begin) -> None:
    outbox = begin()
    with disk_full():
        outbox.append(event(1, b"x" * 100_000))
        await eventually(lambda: numbers(outbox) == [1])


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
    assert (tmp_path / f"{FILE}.of-another-host").exists()
    second.append(event(2))
    await end(second)
    assert len(begin(host="two")) == 1


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


@pytest.mark.usefixtures("retries_at_once")
async def test_what_cannot_be_read_back_for_a_moment_is_read_later(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = begin(memory=400)
    for number in range(1, 3001):
        outbox.append(event(number))
    await eventually(lambda: rows(outbox) == 3000)
    read, failures = JournalFile.read, [OSError(24, "Too many open files")] * 5

    def fail(file: JournalFile, after: int, limit: int) -> Any:
        if failures:
            raise failures.pop()
        return read(file, after, limit)

    monkeypatch.setattr(JournalFile, "read", fail)
    seen = []
    while len(outbox):
        await eventually(lambda: outbox.waiting)
        seen.append(int(outbox.next().sequence.split("-")[1]))
        outbox.confirm()
    assert not failures
    assert seen == list(range(1, 3001))
    assert outbox.lost_total == 0


@pytest.mark.usefixtures("retries_at_once")
async def test_what_cannot_be_read_back_for_long_is_told_as_lost_and_what_comes_goes_on(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "READS", 3)
    outbox = begin(memory=400)
    for number in range(1, 3001):
        outbox.append(event(number))
    await eventually(lambda: rows(outbox) == 3000)

    def fail(_file: JournalFile, _after: int, _limit: int) -> Any:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(JournalFile, "read", fail)
    sent = 0
    while len(outbox):
        await eventually(lambda: outbox.waiting or not len(outbox))
        while outbox.waiting:
            outbox.next()
            outbox.confirm()
            sent += 1
    assert outbox.lost is not None
    assert outbox.lost.reason == "outbox-broken"
    assert sent + outbox.lost.count == 3000


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


@pytest.mark.usefixtures("retries_at_once")
async def test_a_full_disk_is_no_loss_while_we_live(begin: Begin) -> None:
    outbox = begin(memory=10)
    for number in range(1, 101):
        outbox.append(event(number))
    await eventually(lambda: rows(outbox) == 100)
    with disk_full():
        for number in range(101, 201):
            outbox.append(event(number, bytes(1000)))
        await eventually(lambda: not outbox._journal.works)
        for number in range(201, 301):
            outbox.append(event(number))
    await eventually(lambda: outbox._journal.works)
    await eventually(lambda: rows(outbox) == 300)
    await end(outbox)
    again = begin()
    await eventually(lambda: len(again.waiting) == 300)
    assert numbers(again) == list(range(1, 301))


@pytest.mark.usefixtures("retries_at_once")
async def test_with_a_full_disk_at_the_start_the_former_events_go_first_and_once(begin: Begin) -> None:
    first = begin()
    first.append(event(1))
    await end(first)
    with disk_full():
        second = begin()
        second.append(event(1, bytes(1000), epoch=2))
        await eventually(lambda: not second._journal.works)
    await eventually(lambda: second._journal.works)
    await eventually(lambda: len(second.waiting) == 2)
    assert [placed.event.sequence for placed in second.waiting] == [event(1).sequence, event(1, epoch=2).sequence]
    await eventually(lambda: rows(second) == 2)
    assert second.lost is None


@pytest.mark.usefixtures("retries_at_once")
async def test_a_file_that_another_process_holds_is_used_when_it_is_free(begin: Begin, tmp_path: Path) -> None:
    first = begin()
    first.append(event(1))
    await end(first)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:  # a lock of our own process would not be in our way
        other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN IMMEDIATE")
        os.write(writing, b"x")
        signal.pause()
    os.read(reading, 1)
    second = begin()
    second.append(event(1, epoch=2))
    assert not second._journal.works
    os.kill(child, signal.SIGKILL)
    await asyncio.to_thread(os.waitpid, child, 0)
    await eventually(lambda: second._journal.works)
    await eventually(lambda: len(second.waiting) == 2)
    assert [placed.event.sequence for placed in second.waiting] == [event(1, epoch=2).sequence, event(1).sequence]
    await eventually(lambda: rows(second) == 2)


async def test_a_file_of_garbage_is_moved_aside(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"garbage" * 1000)
    outbox = begin()
    outbox.append(event(1))
    assert outbox._journal.works
    assert (tmp_path / f"{FILE}.broken").read_bytes().startswith(b"garbage")
    await eventually(lambda: rows(outbox) == 1)


@pytest.mark.usefixtures("retries_at_once")
async def test_of_a_file_that_breaks_while_we_run_exactly_what_was_only_there_is_lost(
    begin: Begin, tmp_path: Path
) -> None:
    outbox = begin(memory=400)
    renewed = []
    outbox._journal.on_renewed = lambda: renewed.append(True)
    for number in range(1, 20_001):
        outbox.append(event(number, bytes(200)))
    await eventually(lambda: outbox.in_memory <= 400)
    kept = numbers(outbox)
    with (tmp_path / FILE).open("r+b") as file, (tmp_path / f"{FILE}-wal").open("r+b") as wal:
        for part in (file, wal):
            size = part.seek(0, os.SEEK_END)
            part.seek(0)
            part.write(os.urandom(size))
    while len(outbox):
        await eventually(lambda: outbox.waiting or outbox.lost)
        if outbox.waiting:
            outbox.next()
            outbox.confirm()
    assert outbox.lost is not None
    assert outbox.lost.reason == "outbox-broken"
    assert outbox.lost.last == event(20_000).sequence
    assert outbox.lost.count <= 20_000 - len(kept)
    assert renewed == [True]


@pytest.mark.usefixtures("retries_at_once")
async def test_a_folder_that_comes_later_is_used_from_then_on(begin: Begin, tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.write_text("")
    outbox = begin(place)
    for number in range(1, 5001):
        outbox.append(event(number))
    assert not outbox._journal.works
    place.unlink()
    await eventually(lambda: outbox._journal.works)
    await eventually(lambda: rows(outbox) == 5000)


async def test_a_file_of_a_later_version_is_left_alone_but_for_its_name(begin: Begin, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / FILE)) as later:
        later.execute("PRAGMA user_version = 99")
    assert begin()._journal.works
    with contextlib.closing(sqlite3.connect(tmp_path / f"{FILE}.broken")) as later:
        assert later.execute("PRAGMA user_version").fetchone() == (99,)


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
