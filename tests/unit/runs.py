"""Outboxes on one folder, run after run, for the tests of the journal."""

import contextlib
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from app.journal import Journal
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


@asynccontextmanager
async def runs_in(folder: Path) -> AsyncIterator[Begin]:
    """Yield what opens an outbox on the same folder, as a run of the agent does; `end` closes it as a stop does."""
    async with AsyncExitStack() as stack:
        runs = 0

        def begin(
            directory: Path = folder, max_bytes: int = 256 * MIB, memory: int = 4000, host: str | None = None
        ) -> Outbox:
            nonlocal runs
            runs += 1
            journal = Journal(directory, f"run {runs}", host)
            if host is not None:
                journal.belongs_to(host)
            stack.push_async_callback(journal.close)
            return Outbox(journal, max_bytes, memory=memory)

        yield begin


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
