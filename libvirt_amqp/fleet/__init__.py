"""Follow a fleet: every event once and in order, what was missed told, and the state after it.

async with Fleet("amqp://guest:guest@127.0.0.1:5672/") as fleet:
    async for item in fleet.events():
        print(item)
"""

from collections.abc import AsyncGenerator, Collection
from datetime import timedelta
from types import TracebackType
from typing import Self
from weakref import WeakSet

from libvirt_amqp.fleet.items import Event, Item, Missed, Snapshot, State
from libvirt_amqp.fleet.reader import Reader, start_of
from libvirt_amqp.fleet.selection import Selection
from libvirt_amqp.url import DEFAULT_URL

__all__ = ["Event", "Fleet", "Item", "Missed", "Snapshot", "State"]


class Fleet:
    """All hosts behind a broker.  Every subscription has a connection of its own, opened again whenever it is lost.

    All of them end with the Fleet, also those that other tasks are reading.
    """

    def __init__(self, url: str = DEFAULT_URL) -> None:
        self._url = url
        self._readers: WeakSet[Reader] = WeakSet()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for reader in list(self._readers):
            await reader.end()

    def events(  # noqa: PLR0913 (a selection each)
        self,
        *,
        hosts: Collection[str] | None = None,
        classes: Collection[str] | None = None,
        objects: Collection[str] | None = None,
        names: Collection[str] | None = None,
        queue: str | None = None,
        replay: timedelta | None = None,
        limit: int = 10_000,
    ) -> AsyncGenerator[Item, None]:
        """Yield what comes of the selected hosts, classes, objects (uuids; names of node devices) and names of events.

        `queue`: read this queue, which exists and is bound, and acknowledge what was read; with `replay` a stream
        queue, from so long ago on.  `limit` items wait for the reader; what comes beyond is told as missed.
        """
        if replay is not None and queue is None:
            raise ValueError("replay needs the name of a stream queue")
        if limit < 1:
            raise ValueError(f"limit {limit}: at least one item has to have room")
        chosen = Selection(hosts, classes, objects, names)
        reader = Reader(self._url, chosen, limit, queue, start_of(replay))
        self._readers.add(reader)
        return reader.items()
