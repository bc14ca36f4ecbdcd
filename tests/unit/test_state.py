import time
from pathlib import Path

import pytest

from app import state


def test_an_epoch_is_later_than_the_last_one_even_when_the_clock_was_set_back(tmp_path: Path) -> None:
    state.keep(tmp_path, state.State("h", 8_999_999_999))
    assert state.begin(tmp_path) == state.State("h", 9_000_000_000)


@pytest.mark.parametrize("epoch", ["1e999", "99999999999", "-1", "9999999999", "NaN", "null"])
def test_an_epoch_that_cannot_be_is_none(tmp_path: Path, epoch: str) -> None:
    (tmp_path / "state.json").write_text(f'{{"host": "h", "epoch": {epoch}}}')
    assert abs(state.begin(tmp_path).epoch - time.time()) < 60


async def test_runs_that_keep_nothing_have_epochs_of_their_own_when_the_last_one_kept_is_ahead_of_the_clock(
    tmp_path: Path,
) -> None:
    state.keep(tmp_path, state.State("h", 8_999_999_999))
    epochs = [await state.begin_anew(tmp_path, state.begin(tmp_path).epoch) for _ in range(3)]
    assert epochs == sorted(set(epochs))
    assert epochs[0] > 8_999_999_999


def test_without_a_place_to_write_the_agent_goes_on(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("")
    assert state.begin(place).host is None
    assert not state.keep(place, state.State("h", 1))


def test_a_broken_file_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    assert state.begin(tmp_path).host is None
