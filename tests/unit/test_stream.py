"""The stream of a host's events: their numbers, and what each knows of the one before."""

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from rows import Rows

from app.events.stream import Stream
from app.outgoing import Event
from libvirt_amqp.catalogue import load


class Published(list[Event]):
    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [orjson.loads(event.body) for event in self]


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
async def stream(published: Published) -> Stream:
    return Stream("h1", 1, load(), published.append, Rows())


async def test_an_event_that_cannot_be_encoded_leaves_no_hole_and_no_gap_in_previous(
    stream: Stream, published: Published
) -> None:
    stream.announce("started", {})
    with pytest.raises(TypeError):
        stream.announce("gap", {"reason": object()})
    stream.announce("libvirt-found", {})
    first, second = published.bodies
    assert second["previous"] == first["sequence"]
    assert [event.sequence for event in published] == ["0000000001-000000000000001", "0000000001-000000000000002"]


async def test_nothing_is_published_after_the_news_that_the_agent_stops(stream: Stream, published: Published) -> None:
    stream.close({"instance": "x"})
    stream.libvirt_lost("eof", datetime.now(UTC))
    stream.libvirt_found({})
    assert [body["type"] for body in published.bodies] == ["org.libvirt.agent.stopping"]
    assert stream.sequence == published.bodies[-1]["sequence"]
