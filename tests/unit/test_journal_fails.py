"""A file that fails, is full, is broken, is somebody else's, or comes later."""

import asyncio
import contextlib
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from conftest import eventually
from runs import Begin, disk_full, end, event, numbers, rows, runs_in

from app import journal as journal_module
from app import outbox as outbox_module
from app.journal import FILE
from app.journal_file import JournalFile


@pytest.fixture
async def begin(tmp_path: Path) -> AsyncIterator[Begin]:
    async with runs_in(tmp_path) as begin:
        yield begin


@pytest.fixture
def retries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "RETRY_SECONDS", 0.05)


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


@pytest.mark.usefixtures("retries_at_once")
async def test_a_file_of_another_host_that_can_be_opened_only_later_is_set_aside_too(
    begin: Begin, tmp_path: Path
) -> None:
    first = begin(host="one")
    first.append(event(1))
    await end(first)
    holder = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    second = begin(host="two")
    second.append(event(2))
    assert not second._journal.works
    holder.close()
    await eventually(lambda: second._journal.works)
    await eventually(lambda: rows(second) == 1)
    assert numbers(second) == [2]
    assert (tmp_path / f"{FILE}.of-one").exists()


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
