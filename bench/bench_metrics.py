"""What a scrape of /metrics costs the agent, by the number of domains: CPU of the page, and of taking what is shown."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from measure import Row, interleaved, show

from app.metrics.last import DOMAIN_INFO, DOMAIN_STATS, HOST, Last, Shown
from app.metrics.page import Page

ROUNDS = 7
CASES = ((0, False), (100, False), (1000, False), (10_000, False), (1000, True))
INFO = {"state": 1, "maxMem": 8388608, "memory": 2097152, "nrVirtCpu": 2, "cpuTime": 123456789012345}
BALLOON = (
    "current",
    "maximum",
    "swap_in",
    "swap_out",
    "major_fault",
    "minor_fault",
    "unused",
    "available",
    "usable",
    "rss",
)
BLOCK = ("rd.reqs", "rd.bytes", "rd.times", "wr.reqs", "wr.bytes", "wr.times", "fl.reqs", "fl.times", "capacity")
NET = ("rx.bytes", "rx.pkts", "rx.errs", "rx.drop", "tx.bytes", "tx.pkts", "tx.errs", "tx.drop")


def groups() -> dict[str, Any]:
    """Return what the bulk call says of a guest with two virtual CPUs, two disks and an interface."""
    stats: dict[str, Any] = {f"balloon.{name}": 2097152 for name in BALLOON}
    for number in range(2):
        stats |= {f"vcpu.{number}.{name}": 123456789 for name in ("state", "time", "wait", "delay")}
        stats[f"block.{number}.name"] = f"vd{'ab'[number]}"
        stats |= {f"block.{number}.{name}": 123456789 for name in BLOCK}
    return stats | {"net.0.name": "vnet0"} | {f"net.0.{name}": 123456789 for name in NET}


def messages(domains: int, *, with_groups: bool) -> list[tuple[str, dict[str, Any]]]:
    """Return what a round publishes."""
    told: list[tuple[str, dict[str, Any]]] = []
    for number in range(domains):
        whose = {
            "class": "domain",
            "host": "bench",
            "uuid": f"{number:036x}",
            "name": f"instance-{number:08x}",
            "id": 1,
        }
        told.append((DOMAIN_INFO, {"object": whose, **INFO}))
        if with_groups:
            told.append((DOMAIN_STATS, {"object": whose, "stats": groups()}))
    return told


async def scrape(told: list[tuple[str, dict[str, Any]]], headers: dict[str, str]) -> Row:
    """Take a round, make the page once, and return ms of CPU for each, and KiB."""
    last = Last(of_domains=True)
    begun = time.thread_time()
    for kind, data in told:
        last.take(kind, data)
    taken = time.thread_time()
    health = {"libvirt": {"connected": True}}

    def shown() -> Shown:
        host, infos, stats = (last.shown(kind, 60) for kind in (HOST, DOMAIN_INFO, DOMAIN_STATS))
        return Shown(health, connected=True, host=host, infos=infos, stats=stats)

    def start_response(status: str, _headers: Any) -> None:
        if status != "200 OK":
            raise RuntimeError(status)

    page = Page(shown, of_domains=True, tinkoff=False)
    environ = {"PATH_INFO": "/metrics", "REQUEST_METHOD": "GET", **headers}
    ready = time.thread_time()
    body = b"".join(page.answer(environ, start_response))
    done = time.thread_time()
    return {"take": (taken - begun) * 1e3, "page": (done - ready) * 1e3, "size": len(body) / 1024}


def main() -> None:
    """Measure and print."""
    programs: dict[str, Callable[[], Awaitable[Row]]] = {}
    for domains, with_groups in CASES:
        told = messages(domains, with_groups=with_groups)
        name = f"{domains} domains{', groups too' if with_groups else ''}"
        programs[name] = partial(scrape, told, {})
        programs[f"{name}, gzip"] = partial(scrape, told, {"HTTP_ACCEPT_ENCODING": "gzip"})
    figures = asyncio.run(interleaved(programs, ROUNDS))
    rows = [[name, row["take"], row["page"], row["size"], row["page"] / 15_000 * 100] for name, row in figures.items()]
    header = ("", "taking it, ms", "the page, ms", "KiB", "% of a core, every 15 s")
    show(f"A scrape: CPU in the agent, medians of {ROUNDS} rounds", header, rows)


if __name__ == "__main__":
    main()
