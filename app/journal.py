"""The journal: what has to outlive the process, on disk within a moment, written by a thread of its own.

The loop gathers a batch and hands it over: in the next turn when there are events in it, within 0.1 s otherwise.  What
gathers while the thread is busy is one transaction.  Nothing here raises, or blocks the loop once the file is open.

Whoever owns the events keeps each until the journal says that it is written.  When the file fails the thread begins a
new generation, drops what it was given in the former one, and tries again; the owner hears of it and hands over again
what is not on disk.
"""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from app.journal_file import NOTHING, Batch, JournalFile, Left, Owner, is_broken, set_aside, take_back
from app.outgoing import Lost, Placed
from libvirt_amqp.keys import encode_word

log = structlog.get_logger()

FILE = "outbox.sqlite"
HOST_ROW = "host"
PAGE = 1000
FORGET_SECONDS = 0.1
ALIVE_SECONDS = 5.0
"""So often it is written, where nothing else is, up to when everything was heard."""
RETRY_SECONDS = 10.0
CLOSE_SECONDS = 5.0
READS = 30
"""So often, RETRY_SECONDS apart, it is tried to read what is there, before it is given up."""
CONSEQUENCE = f"events are in memory only; tried again every {RETRY_SECONDS:.0f} s"


class Journal:
    """One file in `directory`.  `run` is a name that no other process has.

    The events are of one host: those of another one than `host` could not be sent as ours.  Their file is set aside,
    and taken back when that name is used again.
    """

    def __init__(self, directory: Path, run: str, host: str | None = None) -> None:
        self._host = host
        self.path = directory / FILE
        self.kept: dict[str, bytes] = {}
        """Rows as the last run left them."""
        self.former_sequence: str | None = None
        self.former_alive: datetime | None = None
        """A moment up to which everything that the last run heard was kept."""
        self.lost: Lost | None = None
        """What the last run lost and had not told."""
        self.left = NOTHING
        self.works = False
        self.on_renewed: Callable[[], None] = lambda: None
        """Called when the file had to be begun anew while we ran: rows that matter have to be kept again."""
        self._run = run
        self._loop = asyncio.get_running_loop()
        self.owner: Owner | None = None
        self._told = ""
        self._todo = Batch()
        self._soon: asyncio.Handle | None = None
        self._later: asyncio.Handle | None = None
        self._condition = threading.Condition()
        self._handed: list[Batch] = []
        self._wanted: int | None = None
        self._is_due = self._is_closing = False
        self._noted_at = time.monotonic()
        self._file: JournalFile | None = None
        self._known: tuple[int, int, str | None] | None = None
        self._batch = Batch()
        self._generation = 0
        self._is_announced = True
        self._retry_at = 0.0
        self._unread = 0
        """Reads that failed, one after the other."""
        self._begin()
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def belongs_to(self, host: str) -> None:
        """Remember whose events these are."""
        self._host = host
        self.keep(HOST_ROW, host.encode())

    def append(self, placed: Placed) -> None:
        """Write an event, unless the file does not work: come again at `Owner.opened`."""
        if self.works:
            self._todo.events.append(placed)
        self._todo.sequence = placed.event.sequence
        if self._soon is None:
            self._soon = self._loop.call_soon(self._hand_over)

    def forget(self, first: int, last: int) -> None:
        """Delete the events of a range of places within a moment."""
        self._todo.forget(first, last)
        self._touch()

    def keep(self, subject: str, row: bytes | None) -> None:
        """Keep a row, or delete it, in one transaction with the event that is appended in the same turn."""
        self._todo.kept[subject] = row
        self._touch()

    def heard_until(self, moment: float) -> None:
        """Remember up to when everything was heard that libvirt announced, in seconds since 1970.

        What was heard before stands in this batch or a former one.
        """
        self._todo.alive = moment
        if time.monotonic() - self._noted_at >= ALIVE_SECONDS:
            self._touch()

    def note_lost(self, lost: Lost | None) -> None:
        """Remember what was lost until it is told; None: it is."""
        self._todo.lost = Lost(**vars(lost)) if lost else None
        self._todo.is_lost_known = True
        self._touch()

    def read(self, after: int) -> None:
        """Ask for some of the events behind a place; `Owner.page` gets them."""
        self._hand_over(wanted=after)

    async def close(self) -> None:
        """Write what there is and let go of the file."""
        self._hand_over(is_last=True)
        await asyncio.to_thread(self._thread.join, CLOSE_SECONDS)

    def _touch(self) -> None:
        if self._later is None:
            self._later = self._loop.call_later(FORGET_SECONDS, self._hand_over)

    def _hand_over(self, wanted: int | None = None, *, is_last: bool = False) -> None:
        for handle in (self._soon, self._later):
            if handle is not None:
                handle.cancel()
        self._soon = self._later = None
        batch, self._todo = self._todo, Batch(generation=self._todo.generation)
        if batch.alive is not None:
            self._noted_at = time.monotonic()
        with self._condition:
            self._is_closing = self._is_closing or is_last
            self._handed.append(batch)
            self._wanted = self._wanted if wanted is None else wanted
            self._is_due = True
            self._condition.notify()

    def _on_failed(self, error: str) -> None:
        self.works = False
        self._todo.events.clear()
        if not self._told:
            self._told = error
            log.error("outbox_not_on_disk", file=str(self.path), error=error, consequence=CONSEQUENCE)
        if self.owner is not None:
            self.owner.failed()

    def _on_opened(self, generation: int, left: Left) -> None:
        """Begin a generation: the owner appends what is not on disk."""
        self.works = True
        self._todo.generation = generation
        if self._told:
            log.warning("outbox_on_disk_again", file=str(self.path))
        self._told = ""
        if not left.is_ours:
            self.adopt(left.highest + 1)
            self.on_renewed()
            if self._host is not None:
                self.belongs_to(self._host)
        if self.owner is not None:
            self.owner.opened(left)
        self._hand_over()

    def adopt(self, shift: int) -> None:
        """Move what others left by more than every place, so that none is taken twice on the way."""
        self._todo.adopt = shift

    def _begin(self) -> None:
        """On the loop still; everything from here on is the thread's."""
        try:
            file = self._open_ours()
            self.kept = file.kept()
            _, self.former_sequence, alive, lost = file.state()
            self.former_alive = datetime.fromtimestamp(alive, UTC) if alive is not None else None
            self.lost = Lost.read(lost)
            self.left, self._known = file.left(), file.identity()
            self.works = True
            self._todo.adopt = 0
        except Exception as error:  # noqa: BLE001 (whatever it is, the agent goes on without)
            self._fail(error)

    def _open_ours(self) -> JournalFile:
        file = self._open()
        whose = file.kept().get(HOST_ROW)
        if self._host is None or whose is None or whose == self._host.encode():
            return file
        count = file.left().events
        self._close_file()
        aside = str(set_aside(self.path, _of(whose.decode())))
        log.error("outbox_of_another_host", host=self._host, file=aside, whose=whose.decode(), events=count)
        if take_back(self.path, _of(self._host)):
            log.info("outbox_taken_back", host=self._host)
        return self._open()

    def _open(self) -> JournalFile:
        try:
            self._file = JournalFile(self.path, self._run)
        except sqlite3.DatabaseError as error:
            if not is_broken(error):
                raise
            self._set_aside(error)
            self._file = JournalFile(self.path, self._run)
        return self._file

    def _set_aside(self, error: Exception) -> None:
        self._close_file()
        log.error("outbox_set_aside", file=str(set_aside(self.path)), error=str(error))

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(sqlite3.Error):
                file.close()

    def _work(self) -> None:
        while not self._turn():
            pass
        self._close_file()

    def _turn(self) -> bool:
        """Do what is due; True: it was the last time."""
        with self._condition:
            self._condition.wait_for(lambda: self._is_due, self._pause())
            handed, self._handed = self._handed, []
            wanted, self._wanted = self._wanted, None
            self._is_due = False
            is_last = self._is_closing
        for batch in handed:
            if batch.generation != self._generation:
                batch.events.clear()
            self._batch.add(batch)
        if self._batch.generation == self._generation:
            self._attempt(self._write)
        if self._batch.generation != self._generation and time.monotonic() >= self._retry_at:
            self._attempt(self._recover)
        if wanted is not None:
            self._read(wanted)
        return is_last

    def _pause(self) -> float | None:
        if self._batch.generation == self._generation or self._is_announced:
            return None
        return max(0.0, self._retry_at - time.monotonic())

    def _attempt(self, what: Callable[[], None]) -> None:
        try:
            what()
        except Exception as error:  # noqa: BLE001 (whatever it is, events go on in memory)
            self._fail(error)

    def _write(self) -> None:
        if self._file is None:
            raise OSError("the file is not open")
        if not self.path.exists():
            self._close_file()
            raise FileNotFoundError(f"{self.path} was removed")
        batch = self._batch
        self._file.write(batch)
        self._batch = Batch(generation=batch.generation)
        if batch.events:
            self._tell(lambda owner: owner.written(batch.events[-1].place))
        elif self._file.shrink():
            with self._condition:
                self._is_due = True

    def _fail(self, error: Exception) -> None:
        """Begin a new generation."""
        self._generation += 1
        self._batch.events.clear()
        self._is_announced = False
        self._retry_at = time.monotonic() + RETRY_SECONDS
        if is_broken(error):
            with contextlib.suppress(OSError):
                self._set_aside(error)
                self._retry_at = 0.0
        self._post(self._on_failed, str(error) or type(error).__name__)

    def _recover(self) -> None:
        if self._is_announced:
            return
        file = self._file or self._open_ours()
        try:
            file.probe()
            left, known = file.left(), file.identity()
        except sqlite3.Error:
            self._close_file()  # the next time it is opened anew
            raise
        self._is_announced = True
        is_ours = left.is_ours or known == self._known
        self._post(self._on_opened, self._generation, left._replace(is_ours=is_ours))

    def _read(self, after: int) -> None:
        """Read a page; what fails is tried again later, from a file opened anew: nobody else has what is in it."""
        try:
            page = (self._file or self._open_ours()).read(after, PAGE)
        except Exception as error:  # noqa: BLE001 (as in _attempt)
            self._unread += 1
            is_over = is_broken(error) or self._unread >= READS
            self._close_file()
            self._fail(error)
            self._tell(lambda owner: owner.page(None) if is_over else owner.unreadable())
            return
        self._unread = 0
        self._tell(lambda owner: owner.page(page))

    def _tell(self, say: Callable[[Owner], None]) -> None:
        if self.owner is not None:
            self._post(say, self.owner)

    def _post(self, call: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(call, *arguments)


def _of(host: str) -> str:
    """Return the end of the name of a host's file that was set aside."""
    return f"of-{encode_word(host)}"
