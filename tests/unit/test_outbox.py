from pathlib import Path

import pytest

from app.journal import Journal
from app.outbox import Outbox
from app.outgoing import Event, Lost

MIB = 2**20


def event(number: int, *, news: bool = False) -> Event:
    return Event(f"1-{number:015d}", "h.x", b"", is_news=news)


def numbers(outbox: Outbox) -> list[int]:
    return [int(placed.event.sequence[2:]) for placed in outbox.waiting]


@pytest.fixture
async def journal(tmp_path: Path) -> Journal:
    """Return a journal without a place to write: the outbox is in memory."""
    (tmp_path / "file").write_text("")
    return Journal(tmp_path / "file", "run")


async def test_the_oldest_event_goes_when_the_bound_is_reached_and_the_range_is_known(journal: Journal) -> None:
    outbox = Outbox(journal, MIB, limit=3)
    for number in range(1, 6):
        outbox.append(event(number))
    assert outbox.lost == Lost(event(1).sequence, event(2).sequence, 2)
    assert outbox.lost_total == 2
    assert numbers(outbox) == [3, 4, 5]


async def test_the_bytes_of_events_are_bounded_too(journal: Journal) -> None:
    outbox = Outbox(journal, 3 * event(1).size)
    for number in range(1, 6):
        outbox.append(event(number))
    assert numbers(outbox) == [3, 4, 5]


async def test_what_was_sent_is_not_dropped(journal: Journal) -> None:
    outbox = Outbox(journal, MIB, limit=3)
    for number in range(1, 4):
        outbox.append(event(number))
    outbox.next()
    outbox.append(event(4))
    outbox.rewind()
    assert numbers(outbox) == [1, 3, 4]


async def test_the_news_of_a_loss_causes_none(journal: Journal) -> None:
    outbox = Outbox(journal, MIB, limit=1)
    outbox.append(event(1))
    outbox.append(event(2, news=True))
    assert outbox.lost is None
    assert numbers(outbox) == [1, 2]


async def test_the_news_of_a_loss_is_not_lost(journal: Journal) -> None:
    outbox = Outbox(journal, MIB, limit=2)
    outbox.append(event(1, news=True))
    for number in range(2, 6):
        outbox.append(event(number))
    assert numbers(outbox) == [1, 5]


async def test_news_alone_is_bounded_too(journal: Journal) -> None:
    outbox = Outbox(journal, MIB, limit=10)
    for number in range(1, 101):
        outbox.append(event(number, news=True))
    assert len(outbox) <= 20
    assert numbers(outbox)[-1] == 100


async def test_a_loss_is_told_once_and_not_before_there_is_room(journal: Journal) -> None:
    outbox = Outbox(journal, MIB, limit=10)
    told: list[Lost] = []

    def take(lost: Lost) -> bool:
        told.append(lost)
        return True

    outbox.on_lost = take
    for number in range(1, 13):
        outbox.append(event(number))
    outbox.tell_lost()
    assert not told
    for _ in range(5):
        outbox.next()
        outbox.confirm()
    assert told == [Lost(event(1).sequence, event(2).sequence, 2)]


async def test_what_was_not_confirmed_is_sent_again_in_order(journal: Journal) -> None:
    outbox = Outbox(journal, MIB)
    for number in range(1, 5):
        outbox.append(event(number))
    for _ in range(3):
        outbox.next()
    outbox.confirm()
    outbox.rewind()
    assert numbers(outbox) == [2, 3, 4]
