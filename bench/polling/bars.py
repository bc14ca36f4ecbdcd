"""The bars that the agent's polling has to reach, each printed beside what was measured."""

from collections.abc import Sequence
from typing import NamedTuple

from measure import show

from polling.comparison import AGENT, RESTING, Results

BARE, COLLECTD, BALLOON = "bare virDomainGetInfo", "collectd, virt over AMQP", "bulk, state and balloon"
COLLECTD_STATE = f"{COLLECTD}, with the state"
"""The one that publishes all five figures; without it there are four."""
EXPORTERS = "exporter, Debian's (Kumina)", "exporter, inovex"


class Bar(NamedTuple):
    """The agent's total may be so many times a peer's.

    `whole`: the peer is a program like the agent, so what each needs to be there counts.  Beside bare calls, which have
    no connection to a broker, no events and no keepalive, the agent's rounds alone count.
    """

    peer: str
    at_most: float
    whole: bool


BARS = (
    Bar(BARE, 1.25, whole=False),
    Bar(COLLECTD, 1.0, whole=True),
    Bar(COLLECTD_STATE, 1.0, whole=True),
    *(Bar(exporter, 1 / 4, whole=True) for exporter in EXPORTERS),
    Bar(BALLOON, 1 / 10, whole=False),
)
SHARE = 0.01
"""Of one core, that an agent may use for 1000 domains every 10 s."""

Row = list[str | float]


def judged(name: str, measured: float, at_most: float) -> Row:
    """Return a line of the table."""
    return [name, f"{measured:.3f}", f"{at_most:.3f}", "reached" if measured <= at_most else "NOT REACHED"]


def rows(where: str, results: Results, wanted: Sequence[str]) -> list[Row]:
    """Return a line per bar; `wanted` are the programs that were to run here."""
    agent, resting = results.costs.get(AGENT), results.costs.get(RESTING)
    lines: list[Row] = []
    for bar in BARS:
        if bar.peer not in wanted:
            continue
        who = "agent" if bar.whole else "agent's rounds"
        name, peer = f"{where}: {who} / {bar.peer}", results.costs.get(bar.peer)
        if agent and resting and peer:
            used = agent.total - (0 if bar.whole else resting.total)
            lines.append(judged(name, used / peer.total, bar.at_most))
        else:
            lines.append([name, "-", f"{bar.at_most:.3f}", "MISSING"])
    return lines


def show_bars(lines: list[Row]) -> None:
    """Print all bars."""
    show("Bars", ("ratio or share", "measured", "at most", ""), lines)
