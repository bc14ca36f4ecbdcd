"""What came of every function, as docs/coverage.md has it."""

import os
from pathlib import Path

from sweep.sweep import SUCCEEDS, Outcome

FILE = Path(__file__).resolve().parents[2] / "docs" / "coverage.md"
HEAD = """# Coverage

What came of every function of libvirt that is served, when a test run called it through the broker. Made by
`make coverage`, which makes the calls; the tests compare it with what comes out. Measured with libvirt 9.0.0 and
QEMU 7.2.

Where no driver here has a function, libvirt's own error has to come back, and stands in the table.

| driver | what it is |
|---|---|
| test | libvirt's test driver, `test:///default` |
| QEMU | an unprivileged libvirtd, with guests that QEMU emulates (TCG) |
| QEMU, privileged | a libvirtd that is root in namespaces of its own, without guests |

"""
Outcomes = dict[str, set[Outcome]]


def succeeded(outcomes: Outcomes) -> list[str]:
    """Return the functions that succeeded on one driver at least."""
    return sorted(name for name, found in outcomes.items() if any(o.said == SUCCEEDS for o in found))


def totals(outcomes: Outcomes) -> str:
    """Return the figures in one line."""
    good = len(succeeded(outcomes))
    return f"{len(outcomes)} functions called: {good} succeed, {len(outcomes) - good} are refused by libvirt itself."


def table(outcomes: Outcomes) -> str:
    """Return function, driver, outcome: the drivers on which it succeeds, or the one that refuses it."""
    rows = [f"| `{name}` | {_row(outcomes[name])} |" for name in sorted(outcomes)]
    return "\n".join(["| function | driver | outcome |", "|---|---|---|", *rows])


def page(outcomes: Outcomes) -> str:
    """Return the whole file."""
    return f"{HEAD}{totals(outcomes)}\n\n{table(outcomes)}\n"


def write_if_wanted(outcomes: Outcomes) -> None:
    """`make coverage` sets WRITE_COVERAGE."""
    if os.environ.get("WRITE_COVERAGE"):
        FILE.write_text(page(outcomes))


def _row(found: set[Outcome]) -> str:
    drivers = sorted({outcome.driver for outcome in found if outcome.said == SUCCEEDS})
    if drivers:
        return f"{'; '.join(drivers)} | {SUCCEEDS}"
    return "; ".join(f"{o.driver} | `{o.said}`: {o.why}" for o in sorted(found))
