"""What is shown to scrapes: the agent's health and what was published last.  Nothing here waits for a scrape."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from app.metrics.last import DOMAIN_INFO, DOMAIN_STATS, FRESH_FOR_INTERVALS, HOST, Last, Shown

LOOK_SECONDS = 1.0
"""How often the loop leaves its health for the scrapes: they cannot ask it without waiting."""
HUNG_SECONDS = 5.0
"""A loop that has not done so for this long hangs, and its last words are not passed off as its health."""


class Exporter:
    """Hand `take` everything that is published; `start` and `close` belong to the loop.

    `interval`: seconds between rounds as configured; what the health says about the one in force counts more.
    """

    def __init__(
        self,
        listen: tuple[str, int],
        health: Callable[[], dict[str, Any]],
        interval: float,
        *,
        of_domains: bool,
        names: str,
    ) -> None:
        # Only here, as they cost 2 MiB and 15 to 50 ms: an agent that nobody scrapes does without.
        from app.metrics.page import Page  # noqa: PLC0415
        from app.metrics.server import Listener  # noqa: PLC0415

        self._health = health
        self._interval = interval
        self._last = Last(of_domains=of_domains)
        self.take = self._last.take
        self._looked: tuple[float, dict[str, Any]] = (0.0, {})
        self._ticking: asyncio.TimerHandle | None = None
        page = Page(self.shown, of_domains=of_domains, tinkoff=names == "tinkoff")
        self._listener = Listener(listen, page.answer)

    def start(self) -> None:
        """Begin to look at the agent, and to listen."""
        self._tick()
        self._listener.start()

    async def close(self) -> None:
        """Stop listening."""
        if self._ticking is not None:
            self._ticking.cancel()
        await asyncio.to_thread(self._listener.close)

    def shown(self) -> Shown | None:
        """Return what is known now, in any thread; None when the loop hangs."""
        at, health = self._looked
        if time.monotonic() - at > HUNG_SECONDS:
            return None
        if not health.get("libvirt", {}).get("connected"):
            return Shown(health, connected=False, host={}, infos={}, stats={})
        fresh = self._fresh_seconds(health)
        host, infos, stats = (self._last.shown(kind, fresh[kind]) for kind in (HOST, DOMAIN_INFO, DOMAIN_STATS))
        return Shown(health, connected=True, host=host, infos=infos, stats=stats)

    def _tick(self) -> None:
        """On the loop: leave the health for the scrapes, and forget what is too old."""
        self._ticking = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._tick)
        health = self._health()
        self._looked = (time.monotonic(), health)
        self._last.sweep(max(self._fresh_seconds(health).values()))

    def _fresh_seconds(self, health: dict[str, Any]) -> dict[str, float]:
        """Return how old figures may be to be shown; the groups of bulk statistics have an interval of their own."""
        polling = health.get("polling", {})
        light = FRESH_FOR_INTERVALS * float(polling.get("interval_in_force") or self._interval)
        heavy = FRESH_FOR_INTERVALS * float(polling.get("groups", {}).get("interval_in_force") or 0) or light
        return {HOST: light, DOMAIN_INFO: light, DOMAIN_STATS: heavy}
