"""What is told of domains that do not answer, and of those whose figures have not changed; and how it is divided."""

import time
from typing import Any

import orjson
import pytest

from app.pollers.latest import Latest, Told
from app.pollers.samples import PART_BYTES, PART_DOMAINS, Samples
from app.pollers.walk import Answer, Round

CALL = "virDomainGetInfo"


def identity(uuid: str) -> dict[str, Any]:
    return {"class": "domain", "host": "h1", "uuid": uuid, "name": f"guest {uuid}", "id": 1}


def answer(uuid: str, cpu_time: int = 1, seconds_ago: float = 0) -> Answer:
    return Answer(identity(uuid), {"state": 1, "cpuTime": cpu_time}, time.time_ns() - int(seconds_ago * 1e9), CALL)


def round_of(*answers: Answer, unread: tuple[str, ...] = (), gone: tuple[str, ...] = ()) -> Round:
    listed = [*(a.object["uuid"] for a in answers), *unread, *gone]
    return Round(
        {uuid: identity(uuid) for uuid in listed},
        is_listed=True,
        answers={a.object["uuid"]: a for a in answers},
        gone=set(gone),
    )


def test_who_does_not_answer_is_told_with_the_last_figures_as_old_as_they_are() -> None:
    latest = Latest(None)
    latest.take(round_of(answer("a", 7, seconds_ago=20), answer("b")))
    fresh, old = latest.take(round_of(answer("b"), unread=("a",)))
    assert (fresh.object["uuid"], fresh.is_stale) == ("b", False)
    members = old.members()
    assert (members["cpuTime"], members["stale"]) == (7, True)
    assert members["age"] == pytest.approx(20, abs=1)
    assert latest.stale == 1


def test_new_figures_never_say_that_they_are_old() -> None:
    (told,) = Latest(None).take(round_of(answer("a")))
    assert not {"stale", "age"} & told.members().keys()


def test_who_never_answered_has_only_a_name() -> None:
    (told,) = Latest(None).take(round_of(unread=("a",)))
    assert told.members() == {"object": identity("a"), "stale": True, "age": None}


def test_all_that_is_known_is_old_when_libvirt_does_not_even_list() -> None:
    latest = Latest(None)
    latest.take(round_of(answer("a"), answer("b")))
    assert [one.is_stale for one in latest.take(Round())] == [True, True]


def test_who_never_answered_is_told_as_long_as_libvirt_does_not_list() -> None:
    latest = Latest(None)
    latest.take(round_of(answer("a"), unread=("b",)))
    assert [(one.object["uuid"], one.is_stale) for one in latest.take(Round())] == [("a", True), ("b", True)]
    assert latest.stale == 2


def test_who_has_vanished_is_not_old_but_gone() -> None:
    latest = Latest(None)
    latest.take(round_of(answer("a"), answer("b"), answer("c")))
    assert [one.object["uuid"] for one in latest.take(round_of(answer("c"), gone=("a",)))] == ["c"]
    assert latest.stale == 0
    assert [one.object["uuid"] for one in latest.take(Round())] == ["c"]


def test_unchanged_figures_are_left_out_until_all_are_due() -> None:
    latest = Latest(3600)

    def told(*answers: Answer, unread: tuple[str, ...] = ()) -> tuple[set[str], bool]:
        news, is_full = latest.changed(latest.take(round_of(*answers, unread=unread)))
        return {one.object["uuid"] for one in news}, is_full

    assert told(answer("a", 1), answer("b", 1)) == ({"a", "b"}, True)
    assert told(answer("a", 1), answer("b", 2)) == ({"b"}, False)
    assert told(answer("a", 1), unread=("b",)) == ({"b"}, False)
    assert told(answer("a", 1), unread=("b",)) == ({"b"}, False), "it grows older"
    assert told(answer("a", 1), answer("b", 2)) == ({"b"}, False), "it answers again"
    latest._full_at = time.monotonic() - 3601
    assert told(answer("a", 1), answer("b", 2)) == ({"a", "b"}, True)


def test_without_the_option_everything_is_always_told() -> None:
    latest = Latest(None)
    for _ in range(2):
        assert len(latest.changed(latest.take(round_of(answer("a"), answer("b"))))[0]) == 2


def test_nothing_is_everything_that_is_active_as_long_as_libvirt_does_not_list() -> None:
    for latest in (Latest(None), Latest(3600)):
        assert latest.changed(latest.take(Round())) == ([], False)
        assert not latest.is_listed
        assert latest.changed(latest.take(round_of(answer("a"))))[1]
        assert latest.is_listed
        assert not latest.changed(latest.take(Round({"a": identity("a")}, answers={"a": answer("a", 2)})))[1]


def test_an_answer_that_a_round_has_kept_for_longer_than_an_interval_is_not_passed_off_as_new() -> None:
    latest = Latest(None)
    early, late = latest.take(round_of(answer("a", seconds_ago=17), answer("b", seconds_ago=9)), 10)
    assert (early.is_stale, late.is_stale) == (True, False)
    assert early.members()["age"] == pytest.approx(17, abs=1)
    assert latest.stale == 1


def test_who_has_vanished_since_the_last_listing_is_gone() -> None:
    latest = Latest(None)
    latest.take(round_of(answer("a"), answer("b")))
    done = Round({"a": identity("a"), "b": identity("b")}, answers={"a": answer("a")}, gone={"b"})
    assert [(one.object["uuid"], one.is_stale) for one in latest.take(done)] == [("a", False)]
    assert [one.object["uuid"] for one in latest.take(Round())] == ["a"]


def published(told: list[Told]) -> list[dict[str, Any]]:
    bodies: list[bytes] = []
    Samples("h1", 1, lambda _key, body, _lives: bodies.append(body)).of_host("domains", told, {"call": CALL}, 10)
    assert max(map(len, bodies)) < PART_BYTES + 2000
    return [orjson.loads(body)["data"] for body in bodies]


@pytest.mark.parametrize("padding", [0, 1000])
def test_the_domains_of_a_large_host_come_in_numbered_parts(padding: int) -> None:
    told = [Told(identity(f"{n}" + "x" * padding), {"state": 1}, 0, CALL) for n in range(2500)]
    parts = published(told)
    assert [(part["part"], part["parts"]) for part in parts] == [(n + 1, len(parts)) for n in range(len(parts))]
    assert len(parts) >= 3
    assert all(len(part["domains"]) <= PART_DOMAINS for part in parts)
    assert [d["object"] for part in parts for d in part["domains"]] == [one.object for one in told]


def test_a_host_without_active_domains_says_so() -> None:
    (only,) = published([])
    assert (only["domains"], only["part"], only["parts"]) == ([], 1, 1)
