"""Puts one fault after the other into a running system, and prints what became of the events (make faults).

Every provoked event has to be received, or found afterwards, or to fall into a time of which the agent told that nobody
listened; the states have to agree in the end, and nothing found may be false.  A row that is not clean is exit code 1.
"""

import argparse
import asyncio
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[1:1] = [str(ROOT / "bench"), str(ROOT / "scripts")]

import libvirt  # noqa: E402
import more_rows  # noqa: E402, F401 (makes rows)
from account import Account  # noqa: E402
from measure import show  # noqa: E402
from rows import FAULTS, FULL, QUICK  # noqa: E402

from libvirt_amqp import __version__  # noqa: E402

PAGE = ROOT / "docs" / "faults.md"
PREFACE = """# Faults

What becomes of libvirt's events when something breaks; measured and written by `make faults WRITE=yes`.

A program of its own changes domains, networks and pools past the agent, and hears what libvirt announces of it. The
agent's events go to a durable queue that is read after the fault, and to the client library's subscriber. Rows may be
of different runs: `bench/faults --write --only FAULT` measures one anew.

"Untold" allows 0.1 s at the ends of a told time, because two ears hear an event at two moments; "false news" asks
whether what was found was so within the last second.

| column | what it counts |
|---|---|
| provoked | lifecycle events that libvirt announced, or would have |
| received | those that the agent heard and that came |
| found | those that it did not hear, and whose effect it published as found |
| in told time | those of which neither came, within a time of which `agent.gap` says that nobody listened |
| untold | those of which nothing came and nothing was told. Has to be 0 |
| duplicates | messages whose `id` had come before |
| told gaps | messages `agent.gap` |
| holes | numbers that did not come and that no gap names, and events out of order. Has to be 0 |
| false news | found events that say what was not so, a false "gone" above all. Has to be 0 |
| not found | objects that a reader has wrong who heeds events alone and asks for no snapshot after a gap |
| states | whether the subscriber's states are libvirt's in the end |
"""
HEADER = (
    "fault",
    "provoked",
    "received",
    "found",
    "in told time",
    "untold",
    "duplicates",
    "told gaps",
    "holes",
    "false news",
    "not found",
    "states",
)


def cells(account: Account) -> list[str]:
    figures = (account.provoked, account.received, account.found, account.in_gap, account.untold, account.duplicates)
    more = (account.gaps, account.holes, account.false_news, account.unfound)
    return [account.fault, *map(str, (*figures, *more)), "equal" if account.fleet else "DIFFER"]


def page(accounts: list[Account], old: str) -> str:
    """Return docs/faults.md: the rows that were not measured now stay as they were."""
    lines = {**_by_fault(old, "| {} |"), **{a.fault: f"| {' | '.join(cells(a))} |" for a in accounts}}
    notes = {**_by_fault(old, "- {}: "), **{a.fault: f"- {a.fault}: {a.note}." for a in accounts}}
    head = [f"| {' | '.join(HEADER)} |", f"|---|{'---:|' * (len(HEADER) - 1)}"]
    versions = (
        f"libvirt {_libvirt_version()}, RabbitMQ {_package('rabbitmq-server')}, Python {platform.python_version()}"
    )
    rows = [part[name] for part in (lines, notes) for name in FAULTS if name in part]
    table, rest = rows[: len(lines)], rows[len(lines) :]
    return "\n".join([PREFACE, *head, *table, "", *rest, "", f"{versions}, libvirt-amqp {__version__}."]) + "\n"


def _by_fault(text: str, beginning: str) -> dict[str, str]:
    """Return the lines that begin so, each with the name of a fault."""
    return {name: line for name in FAULTS for line in text.splitlines() if line.startswith(beginning.format(name))}


def _libvirt_version() -> str:
    version = libvirt.getVersion()
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"


def _package(name: str) -> str:
    command = ["dpkg-query", "-W", "-f", "${Version}", name]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout or "of unknown version"


async def run(names: list[str], *, quick: bool, url: str | None) -> list[Account]:
    accounts = []
    for name in names:
        began = time.monotonic()
        try:
            account = await FAULTS[name](name, QUICK if quick else FULL, url)
        except (OSError, RuntimeError, TimeoutError) as error:
            account = Account(name, details=[f"{type(error).__name__}: {error}"])
        accounts.append(account)
        verdict = "clean" if account.is_clean else "NOT CLEAN"
        print(f"{name}: {verdict}, {time.monotonic() - began:.0f} s", *account.details[:20], sep="\n  ", flush=True)
    return accounts


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench/faults", description=__doc__)
    parser.add_argument("--only", action="append", choices=FAULTS, help="this fault; may be given again")
    parser.add_argument("--quick", action="store_true", help="10 kills instead of 100, the broker away for 10 s, ...")
    parser.add_argument("--write", action="store_true", help="write the table to docs/faults.md")
    parser.add_argument("--broker", help="a broker that the faults may use; not for those that stop it")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that nothing that was started is left behind
    accounts = asyncio.run(run(options.only or list(FAULTS), quick=options.quick, url=options.broker))
    show("What came of what was provoked", HEADER, [cells(account) for account in accounts])
    for account in accounts:
        print(f"{account.fault}: {account.note}")
    if options.write:
        PAGE.write_text(page(accounts, PAGE.read_text() if PAGE.exists() else ""))
    sys.exit(0 if all(account.is_clean for account in accounts) else 1)


if __name__ == "__main__":
    main()
