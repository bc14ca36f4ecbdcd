from pathlib import Path

import pytest

from app.handlers.repeats import Repeats
from libvirt_amqp.errors import InvalidParams


def test_a_key_is_new_once_and_its_answer_is_kept() -> None:
    repeats = Repeats(None)
    assert repeats.begin("k", "h.m", {}) is None
    repeats.end("k", b"answer")
    known = repeats.begin("k", "h.m", {})
    assert known is not None
    assert known.answer == b"answer"


def test_a_repeat_during_the_call_gets_the_same_answer() -> None:
    repeats = Repeats(None)
    repeats.begin("k", "h.m", {})
    known = repeats.begin("k", "h.m", {})
    assert known is not None
    got: list[bytes | None] = []
    known.waiting.append(got.append)
    repeats.end("k", b"answer")
    assert got == [b"answer"]


def test_a_key_cannot_be_used_for_another_call() -> None:
    repeats = Repeats(None)
    repeats.begin("k", "h.m", {"a": 1})
    with pytest.raises(InvalidParams):
        repeats.begin("k", "h.m", {"a": 2})


def test_a_call_that_was_not_started_may_be_tried_again() -> None:
    repeats = Repeats(None)
    repeats.begin("k", "h.m", {})
    repeats.end("k", None)
    assert repeats.begin("k", "h.m", {}) is None


def test_after_a_crash_the_outcome_is_unknown(tmp_path: Path) -> None:
    Repeats(tmp_path).begin("k", "h.m", {})
    (tmp_path / "idempotency.jsonl").open("ab").write(b'["half a li')
    known = Repeats(tmp_path).begin("k", "h.m", {})
    assert known is not None
    assert known.lost
