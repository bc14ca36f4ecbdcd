"""The journal's file: SQLite, one transaction for each batch.  Everything here raises sqlite3.Error or OSError.

An event stands in a row together with others that were written in the same batch, in one blob: Python lets go of its
lock at every row, and a thread that needs it back a thousand times beside a busy loop mostly waits for it.
"""

import contextlib
import itertools
import sqlite3
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from app.outgoing import Lost, Placed, Range, pack, rows, unpack, without

VERSION = 1
SCHEMA = """
CREATE TABLE events (place INTEGER PRIMARY KEY, first INTEGER NOT NULL, count INTEGER NOT NULL, size INTEGER NOT NULL,
                     packed BLOB NOT NULL);
CREATE TABLE kept (subject TEXT PRIMARY KEY, row BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE state (run TEXT, sequence TEXT, alive REAL, lost TEXT);
INSERT INTO state VALUES (NULL, NULL, NULL, NULL);
"""
PRAGMAS = "journal_mode = WAL", "synchronous = NORMAL", "journal_size_limit = 16777216"
INSERT = "INSERT OR REPLACE INTO events VALUES (?, ?, ?, ?, ?)"
KEPT_AT_ONCE = 100
PROBE_BYTES = 4 * 1024 * 1024
"""Free space from which on a disk that was full counts as usable again."""
FREE_PAGES = 1024
"""A file with more pages than these unused is made smaller, by as many at a time."""

_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


class Left(NamedTuple):
    """What a file has in it when it is opened.  `highest` is the last place."""

    is_ours: bool
    """Whether this run has written it, so that its places are ours."""
    events: int
    size: int
    highest: int
    first: str
    last: str
    """Sequences, empty when there are no events."""


NOTHING = Left(is_ours=False, events=0, size=0, highest=0, first="", last="")


class Owner(Protocol):
    """Who keeps the events; called on the loop by the journal."""

    def written(self, place: int) -> None:
        """Everything up to this place that was appended is on disk."""

    def failed(self) -> None:
        """The file does not work: nothing that was appended gets there before `opened`."""

    def page(self, events: list[Placed] | None) -> None:
        """What was asked for; None: it can never be read."""

    def unreadable(self) -> None:
        """What was asked for cannot be read for now: it is to be asked for again when the file is `opened`."""

    def opened(self, left: Left) -> None:
        """The file works again."""


@dataclass
class Batch:
    """What one transaction does, in this order."""

    adopt: int | None = None
    """Move what is there by so many places: it is now this run's."""
    events: list[Placed] = field(default_factory=list)
    gone: list[Range] = field(default_factory=list)
    kept: dict[str, bytes | None] = field(default_factory=dict)
    sequence: str | None = None
    alive: float | None = None
    lost: Lost | None = None
    is_lost_known: bool = False
    generation: int = 0
    """How many failures of the file its maker had heard of: see journal.py."""

    def forget(self, first: int, last: int) -> None:
        """Add places to what is gone."""
        if self.gone and self.gone[-1][1] == first - 1:
            first = self.gone.pop()[0]
        self.gone.append((first, last))

    def add(self, later: "Batch") -> None:
        """Append what is to be done after this."""
        self.adopt = self.adopt if later.adopt is None else later.adopt
        self.events += later.events
        for first, last in later.gone:
            self.forget(first, last)
        self.kept |= later.kept
        self.sequence = later.sequence or self.sequence
        self.alive = later.alive or self.alive
        if later.is_lost_known:
            self.lost, self.is_lost_known = later.lost, True
        self.generation = later.generation


def is_broken(error: Exception) -> bool:
    """Say whether the file itself is beyond use, so that trying again does not help."""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, sqlite3.DatabaseError) and code is not None and code & 0xFF in _BROKEN


def set_aside(path: Path, why: str = "broken") -> Path:
    """Move a file that is of no use out of the way and return where; the one before it is replaced."""
    new = path.with_name(f"{path.name}.{why}")
    path.replace(new)
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(new.with_name(new.name + suffix))
    return new


def take_back(path: Path, why: str) -> bool:
    """Move a file that was set aside to where it was; False: there is none."""
    try:
        path.with_name(f"{path.name}.{why}").replace(path)
    except FileNotFoundError:
        return False
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(f"{path.name}.{why}{suffix}").replace(path.with_name(path.name + suffix))
    return True


class JournalFile:
    """An open file, which nobody else can open meanwhile.  `run` names the process that writes."""

    def __init__(self, path: Path, run: str) -> None:
        self._path, self._run = path, run
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def identity(self) -> tuple[int, int, str | None]:
        """Return what tells this file from another one under its name, as long as nobody has written the run."""
        found = self._path.stat()
        return found.st_dev, found.st_ino, self.state()[0]

    def left(self) -> Left:
        """Say what is there."""
        run, *_ = self.state()
        count, size, highest = self._db.execute("SELECT total(count), total(size), max(place) FROM events").fetchone()
        ends = [
            [placed.event.sequence for placed in self._unpack(*row)]
            for order in ("ASC", "DESC")
            for row in self._db.execute(f"SELECT first, packed FROM events ORDER BY place {order} LIMIT 1")  # noqa: S608
        ]
        first, last = (ends[0][0], ends[-1][-1]) if ends else ("", "")
        return Left(run == self._run, int(count), int(size), highest or 0, first, last)

    def state(self) -> tuple[str | None, str | None, float | None, str | None]:
        """Return run, last sequence, when the agent was last alive, and what was lost."""
        run, sequence, alive, lost = self._db.execute("SELECT run, sequence, alive, lost FROM state").fetchone()
        return run, sequence, alive, lost

    def kept(self) -> dict[str, bytes]:
        """Return all rows that were kept."""
        return dict(self._db.execute("SELECT subject, row FROM kept").fetchall())

    def write(self, batch: Batch) -> None:
        """Do all of a batch or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            if batch.adopt is not None:
                self._adopt(batch.adopt)
            self._insert(batch)
            for first, last in batch.gone:
                self._forget(first, last)
            self._keep(batch.kept)
            self._note(batch)
            self._db.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise

    def read(self, after: int, limit: int) -> list[Placed]:
        """Return the events behind a place, at least `limit` if there are so many, a row more at most."""
        page: list[Placed] = []
        rows = self._db.execute("SELECT first, packed FROM events WHERE place > ? ORDER BY place", (after,))
        for row in rows:
            page += [placed for placed in self._unpack(*row) if placed.place > after]
            if len(page) >= limit:
                break
        rows.close()
        return page

    def probe(self) -> None:
        """Find out whether there is room to write."""
        trial = self._path.with_name(self._path.name + ".probe")
        try:
            trial.write_bytes(bytes(PROBE_BYTES))
        finally:
            trial.unlink(missing_ok=True)
        self._db.execute("UPDATE state SET alive = alive")

    def shrink(self) -> bool:
        """Give a part of what is not needed any more back to the disk; True: there may be more."""
        if self._db.execute("PRAGMA freelist_count").fetchone()[0] <= FREE_PAGES:
            return False
        self._db.execute(f"PRAGMA incremental_vacuum({FREE_PAGES})").fetchall()
        return True

    def _prepare(self) -> None:
        """Open; nothing is written into a file that is there, so that a full disk can still be read."""
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")  # first: else there is a file of shared memory to be made
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before there is a page
        for pragma in PRAGMAS:
            self._db.execute(f"PRAGMA {pragma}").fetchall()
        self._db.execute("BEGIN IMMEDIATE")  # takes the lock for good: a second agent would send what is ours
        if version == 0:
            for statement in SCHEMA.split(";"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {VERSION}")
        elif version != VERSION:
            raise _broken(f"the file has version {version}, this agent knows {VERSION}")
        self._db.execute("COMMIT")

    def _adopt(self, shift: int) -> None:
        # `shift` is larger than every place, so that none is taken twice on the way.
        if shift:
            self._db.execute("UPDATE events SET place = place + ?, first = first + ?", (shift, shift))
        self._db.execute("UPDATE state SET run = ?", (self._run,))

    def _insert(self, batch: Batch) -> None:
        self._db.executemany(INSERT, rows(without(batch.events, batch.gone)))

    def _forget(self, first: int, last: int) -> None:
        """Delete whole rows, and what is gone of the two at the ends."""
        for place in {first, last + 1}:
            found = self._db.execute(
                "SELECT place, first FROM events WHERE place >= ? ORDER BY place LIMIT 1", (place,)
            ).fetchone()
            if found and found[1] <= last and (found[1] < first or found[0] > last):
                self._cut(found[0], first, last)
        self._db.execute("DELETE FROM events WHERE place BETWEEN ? AND ?", (first, last))

    def _cut(self, place: int, first: int, last: int) -> None:
        row = self._db.execute("SELECT first, packed FROM events WHERE place = ?", (place,)).fetchone()
        left = without(self._unpack(*row), [(first, last)])
        self._db.execute("DELETE FROM events WHERE place = ?", (place,))
        if left:
            self._db.execute(INSERT, pack(left))

    def _keep(self, kept: dict[str, bytes | None]) -> None:
        rows = iter(kept.items())
        while part := list(itertools.islice(rows, KEPT_AT_ONCE)):  # one statement for many rows: see the module
            new = [item for item in part if item[1] is not None]
            if new:
                values = ", ".join(["(?, ?)"] * len(new))
                self._db.execute(f"INSERT OR REPLACE INTO kept VALUES {values}", list(itertools.chain(*new)))  # noqa: S608
            old = [subject for subject, row in part if row is None]
            if old:
                marks = ", ".join("?" * len(old))
                self._db.execute(f"DELETE FROM kept WHERE subject IN ({marks})", old)  # noqa: S608

    def _note(self, batch: Batch) -> None:
        self._db.execute(
            "UPDATE state SET sequence = coalesce(?, sequence), alive = coalesce(?, alive)",
            (batch.sequence, batch.alive),
        )
        if batch.is_lost_known:
            self._db.execute("UPDATE state SET lost = ?", (batch.lost.write() if batch.lost else None,))

    @staticmethod
    def _unpack(first: int, packed: bytes) -> list[Placed]:
        try:
            return unpack(first, packed)
        except (struct.error, ValueError) as fault:
            raise _broken("an event cannot be read back") from fault


def _broken(message: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(message)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error
