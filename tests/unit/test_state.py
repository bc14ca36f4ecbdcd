from pathlib import Path

from app import state


def test_an_epoch_is_later_than_the_last_one_even_when_the_clock_was_set_back(tmp_path: Path) -> None:
    state.keep(tmp_path, state.State("h", 99_999_999_999))
    assert state.begin(tmp_path) == state.State("h", 100_000_000_000)


def test_without_a_place_to_write_the_agent_goes_on(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("")
    assert state.begin(place).host is None
    assert not state.keep(place, state.State("h", 1))


def test_a_broken_file_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    assert state.begin(tmp_path).host is None
