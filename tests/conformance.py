"""docs/conformance.md: what came of every feature on every kind of broker, each cell from a run.

A test with the mark `feature` is a row.  Its cell is "yes", or what it reported with `record_property("cell", ...)`, or
why the broker cannot have it.  A run whose cell is not the page's fails; `make conformance` makes the page anew.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from brokers import NAMES

FILE = Path(__file__).resolve().parents[1] / "docs" / "conformance.md"
VARIABLE = "CONFORMANCE"
"""Names a folder to write the cells of this run to, as KIND.json; nothing is compared then."""

Cells = dict[str, str]
CELLS = pytest.StashKey[Cells]()


def feature_of(item: pytest.Item) -> str | None:
    """Return the row that a test is."""
    mark = item.get_closest_marker("feature")
    return str(mark.args[0]) if mark else None


def told(cells: Cells, kind: str, item: pytest.Item, report: pytest.TestReport) -> None:
    """Note the cell of a test that has run, and let it fail when the page has another one."""
    feature = feature_of(item)
    if feature is None or report.when != "call":
        return
    cell = str(dict(report.user_properties).get("cell", "yes")) if report.passed else "fails"
    cells[feature] = cell if cells.get(feature, cell) == cell else "fails"
    if report.passed and VARIABLE not in os.environ and "BROKER_URL" not in os.environ:
        stands = on_page().get(feature, {}).get(NAMES[kind])
        if stands != cell:
            report.outcome = "failed"
            report.longrepr = f"docs/conformance.md says {stands!r}, not {cell!r} (make conformance)"


def left_out(cells: Cells, item: pytest.Item, reason: str) -> None:
    """Note why a test cannot run here."""
    if feature := feature_of(item):
        cells.setdefault(feature, f"no: {reason.partition(': ')[2]}")


def on_page() -> dict[str, Cells]:
    """Return the rows as they stand: by feature, then by broker without its version's last parts."""
    rows: dict[str, Cells] = {}
    lines = [line for line in FILE.read_text().splitlines() if line.startswith("| ")] if FILE.exists() else []
    for line in lines[2:]:  # behind the head and its rule
        feature, *cells = (cell.strip() for cell in line.strip("| ").split(" | "))
        rows[feature] = dict(zip(NAMES.values(), cells, strict=False))
    return rows


def write(cells: Cells, kind: str, software: str) -> None:
    """Write the cells of a run, if they are wanted."""
    if folder := os.environ.get(VARIABLE):
        told: dict[str, Any] = {"software": software, "cells": cells}
        (Path(folder) / f"{kind}.json").write_text(json.dumps(told))
