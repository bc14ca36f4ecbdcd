"""docs/operations.md names what is there: every line of the agent's log, and no other."""

import re
from pathlib import Path

from documented import section

APP = Path(__file__).resolve().parents[2] / "app"
LINE = re.compile(r'\blog\.(?:info|warning|error|exception)\(\s*"(\w+)"')


def test_the_reference_of_the_log_has_every_event_of_the_agent_and_no_other() -> None:
    written = {name for file in APP.rglob("*.py") for name in LINE.findall(file.read_text())}
    rows = [row.split("|")[1] for row in section("8. The agent's log").splitlines() if row.startswith("| `")]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} - {"event"} == written
