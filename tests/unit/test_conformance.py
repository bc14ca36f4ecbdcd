"""docs/conformance.md has a row for every feature, and a cell for every broker."""

import re
from pathlib import Path

from brokers import NAMES
from conformance import on_page

TESTS = Path(__file__).parents[1] / "broker"
MARK = re.compile(r'@pytest\.mark\.feature\(\s*"([^"]+)"')


def test_the_page_has_a_row_for_every_feature() -> None:
    marked = {name for file in TESTS.glob("*.py") for name in MARK.findall(file.read_text())}
    assert on_page().keys() == marked, "`make conformance` writes it anew"


def test_every_feature_is_there_on_every_broker_or_the_page_says_why_not() -> None:
    for feature, cells in on_page().items():
        assert cells.keys() == set(NAMES.values())
        assert not [cell for cell in cells.values() if cell in {"fails", "not run", "", "no:"}], feature
