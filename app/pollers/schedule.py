"""A fixed grid of beats: a round never overlaps the next, and a beat that comes late is skipped."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger()


async def every(seconds: float, name: str, beat: Callable[[], Awaitable[None]]) -> None:
    """Await `beat` now and then on every multiple of `seconds`, for ever; a beat that fails is logged, not fatal."""
    start = time.monotonic()
    while True:
        try:
            await beat()
        except Exception as error:  # noqa: BLE001 (one bad round must not end the schedule)
            log.warning("beat_failed", poller=name, error=f"{type(error).__name__}: {error}")
        elapsed = time.monotonic() - start
        await asyncio.sleep(seconds - elapsed % seconds)
