"""What was published last, until it is too old to be shown.  Written by the loop, read by the scrapes' threads."""

import time
from typing import Any, NamedTuple

FRESH_FOR_INTERVALS = 2.5
"""One round may be skipped and the next one be late; what was not published again by then is gone."""

DOMAIN_INFO, DOMAIN_STATS, HOST = "domain.info", "domain.stats", "connect.info"

Published = dict[str, dict[str, Any]]
"""The data of the last messages of a kind, by the domain's label."""


class Kept(NamedTuple):
    """The data of a message, and when it was published (on the monotonic clock)."""

    at: float
    data: dict[str, Any]


class Shown(NamedTuple):
    """What a scrape is told."""

    health: dict[str, Any]
    connected: bool
    """Whether the agent has libvirt; if not, no figure of it is shown."""
    host: Published
    infos: Published
    stats: Published

    @property
    def knows_domains(self) -> bool:
        """Whether it is known which are active: without a listing, and nobody known from before, that is not "none"."""
        is_listed = self.health.get("polling", {}).get("listed", True)
        return self.connected and bool(is_listed or self.infos or self.stats)


class Last:
    """The last message of each kind and domain.  `of_domains`: whether those of domains are kept at all."""

    def __init__(self, *, of_domains: bool) -> None:
        self._kinds = {HOST, DOMAIN_INFO, DOMAIN_STATS} if of_domains else {HOST}
        self._kept: dict[tuple[str, str], Kept] = {}
        self._swept = time.monotonic()

    def take(self, kind: str, data: dict[str, Any]) -> None:
        """Keep what was just published; the data is not copied and never changed."""
        if kind in self._kinds:
            self._kept[kind, label_of(data["object"])] = Kept(time.monotonic(), data)

    def sweep(self, seconds: float) -> None:
        """Forget what is older than `seconds`; at most once in that time, as it looks at everything."""
        now = time.monotonic()
        if now - self._swept < seconds:
            return
        self._swept = now
        self._kept = {key: kept for key, kept in self._kept.items() if now - kept.at <= seconds}

    def shown(self, kind: str, seconds: float) -> Published:
        """Return what is not older than `seconds` by the domain's label.  Safe in any thread: it reads a copy."""
        now = time.monotonic()
        kept = self._kept.copy()  # one step for other threads, unlike a loop over it
        return {name: one.data for (of, name), one in kept.items() if of == kind and now - one.at <= seconds}


def label_of(identity: dict[str, Any]) -> str:
    """Return the domain's name: two that follow each other under one name must not be two samples of one series.

    A name that is not UTF-8 is no label; the uuid takes its place.
    """
    name = identity.get("name", "")
    return readable(name) if isinstance(name, str) else str(identity["uuid"])


def readable(label: str) -> str:
    """Return a label that UTF-8 can hold, whatever a driver calls its things."""
    return label.encode(errors="replace").decode()
