"""More events than there is room for, while the broker is linked and takes nothing."""

import libvirt
from conftest import Start, eventually, hearing
from line import Line

LIMIT = 2100
"""Over the 2000 that may be on their way: only what still waits can be dropped."""


async def test_events_dropped_while_linked_are_told_when_there_is_room(
    broker_url: str, start_agent: Start, beside: libvirt.virConnect
) -> None:
    async with Line(broker_url) as line, hearing(broker_url, "h1.#") as heard:
        agent = await start_agent("h1", broker_url=line.url)
        agent._bus.outbox._limit = LIMIT
        await eventually(lambda: len(agent._bus.outbox) == 0)
        line.freeze()
        domain = beside.lookupByName("test")
        for _ in range(LIMIT // 2 + 50):
            domain.suspend()
            domain.resume()
        await eventually(lambda: agent._bus.outbox.lost_total == 100)
        line.thaw()
        gap = (await heard.of_type("agent.gap"))[0].body["data"]
        assert (gap["reason"], gap["count"]) == ("outbox-full", 100)
        numbers = {m.body["sequence"] for m in heard.events}
        assert gap["first"] not in numbers
        assert gap["last"] not in numbers
        await eventually(lambda: len(agent._bus.outbox) == 0)
        assert len(await heard.of_type("agent.gap")) == 1
