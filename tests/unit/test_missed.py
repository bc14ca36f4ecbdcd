"""What a subscriber may be told as missed, where readers look."""

import re
from pathlib import Path

import pytest

from libvirt_amqp.fleet import Missed
from libvirt_amqp.schema.events import GAP_REASONS

OWN = {"hole", "outage", "slow", "restart"}
"""What the subscriber finds by itself."""
PAGE = (Path(__file__).parents[2] / "docs" / "subscribing.md").read_text()


def _reasons(text: str) -> set[str]:
    """Return the words in the first column of the table whose head is `reason`."""
    table = re.split(r"\| *`?reason`? *\|.*\n", text)[1].split("\n\n")[0]
    first_cells = [row.split("|")[1] for row in table.splitlines()]
    return {word for cell in first_cells for word in re.findall("`([a-z-]+)`", cell)}


@pytest.mark.parametrize("text", [Missed.__doc__, PAGE], ids=["docstring", "page"])
def test_every_reason_that_the_contract_has_is_explained(text: str) -> None:
    assert _reasons(text) == OWN | set(GAP_REASONS)


def test_every_entry_of_the_pages_contents_leads_to_a_heading() -> None:
    targets = re.findall(r"^\d\. \[.*\]\(#(.*)\)$", PAGE, re.MULTILINE)
    headings = re.findall("^## (.*)$", PAGE, re.MULTILINE)
    assert targets == [re.sub("[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings]
