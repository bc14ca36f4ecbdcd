from app.bus import Event, Outbox


def event(number: int, *, news: bool = False) -> Event:
    return Event(number, "h.x", b"", is_news=news)


def test_the_oldest_event_goes_when_the_bound_is_reached_and_the_range_is_known() -> None:
    outbox = Outbox(3)
    for number in range(1, 6):
        outbox.append(event(number))
    lost = outbox.take_lost()
    assert lost is not None
    assert (lost.first, lost.last, lost.count) == (1, 2, 2)
    assert [e.sequence for e in outbox.waiting] == [3, 4, 5]
    assert outbox.take_lost() is None


def test_the_news_of_a_loss_causes_none() -> None:
    outbox = Outbox(1)
    outbox.append(event(1))
    outbox.append(event(2, news=True))
    assert outbox.take_lost() is None
    assert len(outbox) == 2


def test_what_was_not_confirmed_is_sent_again_in_order() -> None:
    outbox = Outbox(10)
    for number in range(1, 5):
        outbox.append(event(number))
    for _ in range(3):
        outbox.next()
    outbox.confirm()
    outbox.rewind()
    assert [e.sequence for e in outbox.waiting] == [2, 3, 4]
