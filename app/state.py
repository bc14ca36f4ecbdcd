"""What must outlive the process: the host's name and the last epoch, in one small file."""

import asyncio
import json
import time
from dataclasses import dataclass
from pathlib import Path

import structlog

from libvirt_amqp.local import STATE_FILE

log = structlog.get_logger()

LAST_EPOCH = 10**10 - 1
"""Ten digits: a longer one would sort before all others."""


@dataclass
class State:
    """`epoch` is that of this run: later than every one before, even when the clock was set back."""

    host: str | None
    epoch: int


def begin(directory: Path) -> State:
    """Read what the last run left and begin a new epoch; without a place to write this is said loudly."""
    try:
        kept = json.loads((directory / STATE_FILE).read_text())
        host, last = str(kept["host"]), int(kept["epoch"])
        if not 0 <= last < LAST_EPOCH:
            raise ValueError(f"there is no epoch {last}")
    except FileNotFoundError:
        host, last = None, 0
    except (OSError, ValueError, OverflowError, KeyError, TypeError) as error:
        log.error("state_unreadable", directory=str(directory), error=str(error))
        host, last = None, 0
    return State(host, max(last + 1, int(time.time())))


async def begin_anew(directory: Path, epoch: int) -> int:
    """Return an epoch that no run took that ended before now: the next second, once it has come.

    `epoch` is the one after the last that was kept.  Where that is ahead of the clock every run would take it: so it
    is later by as many seconds as have passed since it was kept.
    """
    second = int(time.time()) + 1
    while time.time() < second:
        await asyncio.sleep(second - time.time())
    if second > epoch:
        return second
    try:
        since = (directory / STATE_FILE).stat().st_mtime
    except OSError:
        return epoch
    return epoch + max(0, second - int(since))


def keep(directory: Path, state: State) -> bool:
    """Write the state so that a crash leaves the old or the new one; False, loudly, when there is no place for it."""
    file, new = directory / STATE_FILE, directory / f"{STATE_FILE}.new"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps({"host": state.host, "epoch": state.epoch}))
        new.replace(file)
    except OSError as error:
        log.error(
            "state_not_kept",
            directory=str(directory),
            error=error.strerror,
            consequence="after a restart the epoch follows the clock alone; this one begins with the next second",
        )
        return False
    return True
