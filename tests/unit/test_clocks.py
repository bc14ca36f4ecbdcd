"""Of clocks that differ, the doctor blames those that fewer agree with."""

import pytest

from app.doctor.clock import judge


@pytest.mark.parametrize(
    ("differences", "status", "says"),
    [
        ({"a": 0.1, "b": -1.9}, "ok", "within 2 s of 2"),
        ({"a": -30}, "wrong", "this clock, or that of others, is wrong"),
        ({"a": -30, "b": -30.5}, "wrong", "this clock is wrong"),
        ({"a": 0, "b": -100}, "advice", "theirs is b -100.0 s"),
        ({"a": 0, "b": 0, "c": -100}, "advice", "within 2 s of 2, but not"),
        ({"a": 0, "b": -100, "c": -100.5}, "wrong", "this clock, or that of others, is wrong"),
        ({"a": 50, "b": -100}, "wrong", "this clock, or that of others, is wrong"),
    ],
)
def test_the_clock_that_fewer_agree_with_is_the_wrong_one(
    differences: dict[str, float], status: str, says: str
) -> None:
    finding = judge(differences, 6)
    assert (finding.status, says in finding.text) == (status, True), finding


def test_nobody_heard_is_nothing_known() -> None:
    assert judge({}, 6).status == "unseen"
