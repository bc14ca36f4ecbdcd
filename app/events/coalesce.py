"""What can flood is coalesced: at most one event a second of an object and kind, and the last value always.

The rule: the first one is published at once.  Those that follow within a second are held, each in place of the one
before, and the last is published when the second is over.  An event of the object that is not coalesced has the held
ones published before it, so that the order of an object's events stays libvirt's.  Held events count as not announced
yet: they get their number when they are published, and `time` says when they were heard.

Lifecycle events and all kinds that are not named here are never coalesced.
"""

import asyncio
from collections.abc import Callable

import structlog

from app.events.heard import Heard
from libvirt_amqp.objects import Identity, identity_words

log = structlog.get_logger()

COALESCED = frozenset({"node-device.update", "domain.rtc-change", "domain.balloon-change"})
"""Kinds whose events say what is the case now, so that the last one says it all."""
SECONDS = 1.0

Key = tuple[str, ...]


class Coalescer:
    """Used on the loop.  What is held is bounded by the number of objects and kinds."""

    def __init__(self, publish: Callable[[Heard], None]) -> None:
        self._publish = publish
        self._loop = asyncio.get_running_loop()
        self._resting: dict[Key, dict[str, Heard | None]] = {}
        """Object -> kinds that were published within the last second -> what is held."""

    def take(self, event: Heard) -> None:
        """Publish an event, now or in a while."""
        key = _key(event.object)
        kind = event.kind.type
        if kind not in COALESCED:
            self.flush_object(event.object)
            self._publish(event)
        elif kind in self._resting.get(key, ()):
            self._resting[key][kind] = event
        else:
            self._rest(key, kind)
            self._publish(event)

    def flush_object(self, whose: Identity) -> None:
        """Publish what is held of an object."""
        if not self._resting:
            return
        kinds = self._resting.get(_key(whose), {})
        for kind, held in kinds.items():
            if held is not None:
                kinds[kind] = None
                self._publish_or_say(held)

    @property
    def held_since(self) -> float | None:
        """When the oldest of what is held was heard, in seconds since 1970; None: nothing is held."""
        held = (event.time_ns for kinds in self._resting.values() for event in kinds.values() if event is not None)
        oldest = min(held, default=None)
        return None if oldest is None else oldest / 1e9

    def flush(self) -> None:
        """Publish all that is held."""
        for kinds in list(self._resting.values()):
            held = next((event for event in kinds.values() if event is not None), None)
            if held is not None:
                self.flush_object(held.object)

    def _publish_or_say(self, held: Heard) -> None:
        """Publish; whatever is wrong with what was held takes nothing from the event that it goes before."""
        try:
            self._publish(held)
        except Exception:
            log.exception("event_broke", type=held.kind.type)

    def _rest(self, key: Key, kind: str) -> None:
        self._resting.setdefault(key, {})[kind] = None
        self._loop.call_later(SECONDS, self._rested, key, kind)

    def _rested(self, key: Key, kind: str) -> None:
        """A second is over: publish what was held, and begin another one."""
        kinds = self._resting[key]
        held = kinds.pop(kind)
        if not kinds:
            del self._resting[key]
        if held is not None:
            self._rest(key, kind)
            self._publish(held)


def _key(whose: Identity) -> Key:
    return (whose["class"], *identity_words(whose))
