"""Polling: CPU of poller, libvirtd and QEMU per round, of the agent and of everybody who could be used instead.

    bench/bench_polling.py --guests 10 100 --domains 1000 10000     (the defaults: half an hour)
    bench/bench_polling.py --guests 10 --domains --prices 0 --turns 1

The bars stand in bench/polling/bars.py.  Peers are downloaded into bench/.cache; one that cannot be had is a line that
says MISSING, and the exit code is 1.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

import libvirt
from measure import HOST, show
from polling import bars
from polling.comparison import AGENT, RESTING, Results, compare, show_results
from polling.nodes import Node, attach_disks, qemu_node, test_node
from polling.peers import collectd, exporter
from polling.pollers import Program, Rig, agent, nobody, reader, resting_agent, settings
from private_rabbitmq import PrivateRabbitMQ

PER_HOST = "agent, a message per host"
GUESTS, DOMAINS, PRICES = (10, 100), (1000, 10_000), 100
SECONDS = 5.0
"""What a turn of one program measures, or one round where that takes longer."""
SHARE_INTERVAL = 10.0
"""The agent's default."""
DEBIAN_EXPORTS = 512
"""Domains at most, seen: 1000 were running and 512 exported, without a word."""
GROUPS = {
    "state": libvirt.VIR_DOMAIN_STATS_STATE,
    "cpu-total": libvirt.VIR_DOMAIN_STATS_CPU_TOTAL,
    "balloon": libvirt.VIR_DOMAIN_STATS_BALLOON,
    "vcpu": libvirt.VIR_DOMAIN_STATS_VCPU,
    "interface": libvirt.VIR_DOMAIN_STATS_INTERFACE,
    "block": libvirt.VIR_DOMAIN_STATS_BLOCK,
    "perf": libvirt.VIR_DOMAIN_STATS_PERF,
    "iothread": libvirt.VIR_DOMAIN_STATS_IOTHREAD,
    "memory": libvirt.VIR_DOMAIN_STATS_MEMORY,
    "dirtyrate": libvirt.VIR_DOMAIN_STATS_DIRTYRATE,
}
"""As `virsh domstats` calls them."""
ENFORCE = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ENFORCE_STATS
STATE, BALLOON = GROUPS["state"], GROUPS["balloon"]


def programs(node: Node) -> dict[str, Program]:
    """Return who is compared; the test driver's bulk call knows no group but state."""
    everywhere = {
        "nobody polls": nobody,
        RESTING: resting_agent,
        AGENT: agent(),
        "bulk, state": reader("bulk", str(STATE)),
        bars.BARE: reader("info"),
        "2008: ids, lookup, XML, info": reader("xml"),
        bars.COLLECTD: collectd(),
        bars.COLLECTD_STATE: collectd("domain_state"),
        bars.EXPORTERS[1]: exporter("inovex"),
    }
    if node.size <= DEBIAN_EXPORTS:
        everywhere[bars.EXPORTERS[0]] = exporter("debian")
    else:
        print(f"\nLeft out: {bars.EXPORTERS[0]}, which exports {DEBIAN_EXPORTS} of {node.size} domains")
    if per_host := settings(stats_per_host="yes"):
        everywhere[PER_HOST] = agent(**per_host)
    bulk = {bars.BALLOON: reader("bulk", str(STATE | BALLOON)), "bulk, all groups": reader("bulk", "0")}
    return everywhere | (bulk if node.name == "QEMU" else {})


def interval_of(node: Node) -> float:
    """Return seconds in which nearly all of them can make a round; the others' rounds follow one another."""
    return 1.0 if node.size <= 100 else 2.0 if node.size <= 1000 else 5.0


class Bench:
    """Everything with one broker; `lines` are the bars so far."""

    def __init__(self, broker: PrivateRabbitMQ, turns: int) -> None:
        self._url, self._broker, self._turns = broker.url, broker.processes(), turns
        self.lines: list[bars.Row] = []
        self.complete = True

    async def polled(self, node: Node, who: dict[str, Program], interval: float, rounds: int, turns: int) -> Results:
        """Measure some programs on a node."""
        results = await compare(Rig(node, self._url, interval), self._broker, who, turns, rounds)
        self.complete &= not results.missing
        return results

    async def compared(self, node: Node) -> None:
        """Measure everybody, and print."""
        who, interval = programs(node), interval_of(node)
        rounds = max(1, round(SECONDS / interval))
        results = await self.polled(node, who, interval, rounds, self._turns)
        show_results(Rig(node, self._url, interval), results, self._turns, rounds)
        self.lines += bars.rows(f"{node.name}, {node.size}", results, list(who))
        if node.size == 1000:
            await self.share(node)

    async def share(self, node: Node) -> None:
        """Measure what the agent takes of a core at its default interval, heartbeat included."""
        heartbeat = {"heartbeat_interval": "5"}
        who: dict[str, Program] = {AGENT: agent(**heartbeat)}
        if per_host := settings(stats_per_host="yes"):
            who[PER_HOST] = agent(**heartbeat, **per_host)
        costs = (await self.polled(node, who, SHARE_INTERVAL, 3, 1)).costs
        for name in who:
            line = f"{node.name}, {node.size} every {SHARE_INTERVAL:g} s: share of a core, {name} alone"
            if cost := costs.get(name):
                self.lines.append(bars.judged(line, cost.poller / SHARE_INTERVAL / 1e3, bars.SHARE))
            else:
                self.lines.append([line, "-", str(bars.SHARE), "MISSING"])

    async def priced(self, node: Node) -> None:
        """Measure each group of the bulk call alone, and print."""
        who: dict[str, Program] = {name: reader("bulk", str(flag), str(ENFORCE)) for name, flag in GROUPS.items()}
        who |= {"all": reader("bulk", "0"), bars.BARE: reader("info")}
        results = await self.polled(node, who, 1.0, 3, self._turns)
        rows: list[list[str | float]] = [
            [name, cost.poller, cost.libvirtd, cost.qemu, cost.total, cost.total / node.size * 1e3]
            for name, cost in results.costs.items()
        ]
        rows += [[f"{name}: MISSING", *["-"] * 5] for name in results.missing]
        title = f"Bulk groups, each alone, {node.size} running guests with a disk each: CPU ms per round"
        show(title, ("group", "poller", "libvirtd", "QEMU", "total", "us/guest"), rows)


async def measured(bench: Bench, guests: Sequence[int], domains: Sequence[int], prices: int) -> None:
    """Measure on one node after the other; the groups' prices on the last of the guests where the number fits."""
    for size in guests:
        with qemu_node(size) as node:
            await bench.compared(node)
            if size == prices:
                attach_disks(node)
                await bench.priced(node)
    if prices and prices not in guests:
        with qemu_node(prices) as node:
            attach_disks(node)
            await bench.priced(node)
    for size in domains:
        with test_node(size) as node:
            await bench.compared(node)


def main() -> int:
    """Measure and print; 1 when a row is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--guests", type=int, nargs="*", default=GUESTS, help="numbers of running QEMU guests")
    parser.add_argument("--domains", type=int, nargs="*", default=DOMAINS, help="numbers of domains, test driver")
    parser.add_argument("--prices", type=int, default=PRICES, help="guests for the groups' prices, 0: none")
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    libvirt.registerErrorHandler(lambda _context, _error: None, None)  # what is raised need not be printed too
    print(f"{os.cpu_count()} cores, load before {' '.join(f'{load:.2f}' for load in os.getloadavg())}, host {HOST}")
    with PrivateRabbitMQ() as broker:
        bench = Bench(broker, given.turns)
        asyncio.run(measured(bench, given.guests, given.domains, given.prices))
    if bench.lines:
        bars.show_bars(bench.lines)
    return 0 if bench.complete else 1


if __name__ == "__main__":
    sys.exit(main())
