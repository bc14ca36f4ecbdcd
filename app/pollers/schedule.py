"""A fixed grid of beats, on a place of its own for each host: no beat overlaps another, a late one is skipped."""

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger()

LONGEST_INTERVAL = 3600.0
"""Seconds: a ceiling that cannot be kept ends here, so that what is stretched still tells of itself."""


def offset(host: str) -> float:
    """Return a host's place between two beats, from 0 to 1: a fleet that starts together does not beat in step."""
    return int.from_bytes(hashlib.sha256(host.encode()).digest()[:6], "big") / 2**48


class Schedule:
    """Beats at once, and then on every multiple of the interval since 1970, moved by the host's own part of one.

    `factor` stretches the interval from the next beat on; the clock is read once, so setting it moves no beat.
    """

    def __init__(self, name: str, interval: float, host: str) -> None:
        self.name = name
        self.interval = interval
        """Seconds, as configured."""
        self.factor = 1
        self.skipped = 0
        """Beats that were due while another one was not finished."""
        self._offset = offset(host)
        self._epoch = time.monotonic() - time.time()

    @property
    def longest_factor(self) -> int:
        """How far the interval can be stretched."""
        return max(1, math.floor(LONGEST_INTERVAL / self.interval))

    @property
    def interval_in_force(self) -> float:
        """Seconds from one beat to the next, as it is now."""
        return self.interval * self.factor

    def next_after(self, moment: float) -> float:
        """Return when the first beat after a moment is due, both in seconds of time.monotonic()."""
        number = math.floor((moment - self._epoch) / self.interval_in_force - self._offset) + 1
        return self._epoch + (number + self._offset) * self.interval_in_force

    async def run(self, beat: Callable[[], Awaitable[None]]) -> None:
        """Await `beat` on schedule, for ever; a beat that fails is logged, not fatal."""
        while True:
            due = self.next_after(time.monotonic())
            try:
                await beat()
            except Exception as error:  # noqa: BLE001 (one bad round must not end the schedule)
                log.warning("beat_failed", poller=self.name, error=f"{type(error).__name__}: {error}")
            now = time.monotonic()
            if now >= due:
                self.skipped += 1 + math.floor((now - due) / self.interval_in_force)
            await asyncio.sleep(self.next_after(now) - now)
