"""A subscriber whose items are in a list, and what can be done to its connection and its queue."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from conftest import eventually
from line import Line

from libvirt_amqp.fleet import Event, Fleet, Item, Snapshot

A, B = "aaaaaaaa-0000-0000-0000-000000000000", "bbbbbbbb-0000-0000-0000-000000000000"
"""Pools of hosts by hand."""


class Followed(list[Item]):
    """The items that a subscriber got, and what it makes of them."""

    @property
    def table(self) -> dict[str, dict[str, bool]]:
        """What a user knows who applies the items in their order: which pools of a host are active."""
        known: dict[str, dict[str, bool]] = {}
        for item in self:
            if isinstance(item, Snapshot):
                known[item.host] = {s.object["uuid"]: s.state["active"] for s in item.objects}
            elif isinstance(item, Event) and item.happened in {"started", "stopped"} and "uuid" in item.object:
                known.setdefault(item.host, {})[item.object["uuid"]] = item.happened == "started"
        return known

    def of(self, kind: type, host: str | None = None) -> list[Any]:
        return [item for item in self if isinstance(item, kind) and host in {None, item.host}]

    def happened(self, host: str) -> list[str]:
        return [event.happened for event in self.of(Event, host)]

    async def count(self, kind: type, count: int, host: str | None = None) -> list[Any]:
        return await eventually(lambda: found if len(found := self.of(kind, host)) >= count else None, 20)


@asynccontextmanager
async def following(url: str, **selection: Any) -> AsyncIterator[Followed]:
    """Follow from the first snapshot of `hosts` on, if there are any."""
    followed = Followed()

    async def follow(items: AsyncGenerator[Item, None]) -> None:
        async for item in items:
            followed.append(item)

    async with Fleet(url) as fleet:
        task = asyncio.create_task(follow(fleet.events(**selection)))
        try:
            yield followed
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def cut(line: Line) -> None:
    """Break the connections of a line."""
    for writer in line._writers:
        writer.transport.abort()
    line._writers.clear()
