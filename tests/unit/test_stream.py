"""The stream of a host's events: their numbers, and what each knows of the one before."""

import time
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from conftest import eventually
from rows import Rows

from app.events.heard import Heard
from app.events.ledger import State
from app.events.listing import Listing
from app.events.stream import MARGIN_SECONDS, HeardUntil, Looked, Stream
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


async def test_the_time_up_to_which_all_was_heard_is_that_of_the_oldest_event_that_is_held(
    published: Published,
) -> None:
    rows = Rows()
    stream = Stream("h1", 1, load(), published.append, rows)
    kind = next(kind for kind in stream._kinds if kind.type == "domain.balloon-change")
    whose = {"class": "domain", "host": "h1", "uuid": "u", "name": "n", "id": 1}
    heard_at = time.time() - 5
    for value in (1000, 2000):
        stream._hand_over(Heard(kind, whose, (value,), int(heard_at * 1e9)))
    stream._hand_over(HeardUntil(datetime.now(UTC)))
    await eventually(lambda: rows.alive)
    assert len(published.bodies) == 1
    assert rows.alive == pytest.approx(heard_at - MARGIN_SECONDS, abs=0.001)
    await eventually(lambda: len(published.bodies) == 2)
    stream._hand_over(HeardUntil(datetime.now(UTC)))
    await eventually(lambda: rows.alive > heard_at + 4)


async def test_what_is_found_after_the_news_that_the_agent_stops_is_left_to_the_next_run(published: Published) -> None:
    rows = Rows()
    stream = Stream("h1", 1, load(), published.append, rows)
    stream.libvirt_lost("eof", datetime.now(UTC))
    stream.close({"instance": "x"})
    kept, whose = dict(rows.rows), {"class": "domain", "host": "h1", "uuid": "u", "name": "n", "id": 1}
    stream.libvirt_found({})
    for number in range(2):
        listing = Listing(("domain",), {"domain/u": (whose, State(active=True, persistent=True, state=1, id=1))})
        looked = Looked(listing, number == 0, number == 1, stream.sequence, "hypervisor", Future())
        stream._hand_over(looked)
        await eventually(looked.answer.done)
    stream.domains_seen([(whose, 1)], set())
    assert rows.rows == kept


async def test_nothing_is_published_after_the_news_that_the_agent_stops(stream: Stream, published: Published) -> None:
    stream.close({"instance": "x"})
    stream.libvirt_lost("eof", datetime.now(UTC))
    stream.libvirt_found({})
    assert [body["type"] for body in published.bodies] == ["org.libvirt.agent.stopping"]
    assert stream.sequence == published.bodies[-1]["sequence"]
