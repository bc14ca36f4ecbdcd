"""Who is alive, by the heartbeats: moments are given."""

from typing import Any

from libvirt_amqp.cli.hosts import Roster


def beat(*, interval: float = 5, connected: bool = True, **polling: Any) -> dict[str, Any]:
    data = {
        "object": {"class": "agent", "host": "h1"},
        "interval": interval,
        "epoch": 1,
        "uptime": 1,
        "versions": {"agent": "1", "libvirt": "9.0.0", "driver": "QEMU"},
        "libvirt": {"connected": connected, "since": "2026-11-24T22:53:05.779869Z"},
        "polling": {"interval_in_force": 10.0, "stale": 0, **polling},
    }
    return {"time": "2026-11-24T23:10:05.779869Z", "data": data}


def test_a_host_is_alive_until_two_of_its_own_beats_have_not_come() -> None:
    roster = Roster()
    roster.take(beat(interval=5), now=100)
    assert roster.is_alive("h1", 109.9)
    assert not roster.is_alive("h1", 110.1)
    assert "no, since 23:10:05 UTC" in roster.line("h1", 110.1)


def test_a_host_that_has_to_be_there_and_never_was_is_not_alive() -> None:
    roster = Roster(("h7",))
    assert (roster.hosts(), roster.is_alive("h7", 1)) == (["h7"], False)


def test_a_host_is_news_when_it_dies_when_libvirt_is_lost_and_when_its_interval_stretches() -> None:
    roster = Roster()
    states = []
    for number, body in enumerate((beat(), beat(), beat(connected=False), beat(interval_in_force=20.0))):
        roster.take(body, now=number)
        states.append(roster.state("h1", number))
    assert states[0] == states[1]
    assert len({repr(state) for state in (*states, roster.state("h1", 100))}) == 4


def test_a_line_says_since_when_libvirt_is_lost_and_how_many_domains_do_not_answer() -> None:
    roster = Roster()
    roster.take(beat(connected=False, stale=3), now=1)
    assert "no, since 22:53:05 UTC" in roster.line("h1", 2)
    assert "every 10 s, 3 stale" in roster.line("h1", 2)


def test_an_agent_of_before_that_tells_nothing_of_its_polling_is_shown_too() -> None:
    roster = Roster()
    body = beat()
    del body["data"]["polling"]
    roster.take(body, now=1)
    assert "yes" in roster.line("h1", 2)
