"""One comparison: every program alone on the node, turn after turn, and the turn in the middle counts."""

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import NamedTuple

import libvirt
from measure import show

from polling.cost import Cost, Meter, Missing, per_round
from polling.pollers import Program, Rig

WARM_ROUNDS = 3
"""Threads started, caches warm, and what an agent does once when it comes to a host with thousands of domains.

The second round may follow the first at once, and the agent compares libvirt's calls between them.
"""
FAILURES = (Missing, TimeoutError, OSError, RuntimeError, subprocess.SubprocessError, libvirt.libvirtError)
AGENT, RESTING = "agent", "agent, no statistics"


class Results(NamedTuple):
    """Costs of a round by program; programs that could not be measured, and why."""

    costs: dict[str, Cost]
    missing: dict[str, str]


async def compare(rig: Rig, broker: list[int], programs: Mapping[str, Program], turns: int, rounds: int) -> Results:
    """Measure every program once a turn, each alone: what libvirtd does could not be told apart otherwise."""
    meter = Meter(rig.node.daemon.processes(), broker)
    seen: dict[str, list[Cost]] = {name: [] for name in programs}
    missing: dict[str, str] = {}
    for turn in range(turns):
        for name in list(programs)[:: -1 if turn % 2 else 1]:
            if name in missing:
                continue
            try:
                seen[name].append(await _measured(rig, meter, programs[name], rounds))
            except FAILURES as error:
                missing[name] = f"{type(error).__name__}: {error}"
                sys.stderr.write(f"\nMISSING: {name}, {rig.node.size} domains: {missing[name]}\n")
    costs = {name: _middle(costs) for name, costs in seen.items() if name not in missing}
    return Results(costs, missing)


async def _measured(rig: Rig, meter: Meter, program: Program, rounds: int) -> Cost:
    async with program(rig) as poller:
        await poller.rounds(WARM_ROUNDS)
        before = meter.read(poller.pid)
        done = await poller.rounds(rounds)
        return per_round(before, meter.read(poller.pid), done.rounds, done.messages)


def _middle(costs: list[Cost]) -> Cost:
    """Return the median by total, as one of the turns, so that its parts add up."""
    return sorted(costs, key=lambda cost: cost.total)[len(costs) // 2]


def show_results(rig: Rig, results: Results, turns: int, rounds: int) -> None:
    """Print the table, with a line for each program that is missing."""
    agent = results.costs.get(AGENT)
    rows: list[list[str | float]] = []
    for name, cost in results.costs.items():
        ratio: str | float = cost.total / agent.total if agent else "?"
        rows.append([name, cost.poller, cost.libvirtd, cost.qemu, cost.total, ratio, cost.broker, cost.messages])
    rows += [[f"{name}: MISSING", *["-"] * 7] for name in results.missing]
    title = (
        f"{rig.node.name}, {rig.node.size} running domains: CPU ms per round, a round every {rig.interval:g} s, "
        f"medians of {turns} times {rounds} rounds, load {os.getloadavg()[0]:.1f} at the end"
    )
    show(title, ("program", "poller", "libvirtd", "QEMU", "total", "/ agent", "broker", "messages"), rows)
