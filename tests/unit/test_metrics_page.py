import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from conftest import eventually
from scraped import HOST, Answer, Scrape, ask, free_port, scrape

from app.metrics import exporter, server
from app.metrics.exporter import Exporter
from app.metrics.last import label_of

UUID = "6695eb01-f6a4-8304-79aa-97f2502e193f"
STATE = "libvirt_domain_info_state"
CPUS = "libvirt_domain_info_virtual_cpus"


class Shown:
    """An exporter, what the agent says of itself, and what Prometheus gets."""

    def __init__(self, **options: Any) -> None:
        self.health: dict[str, Any] = {"libvirt": {"connected": True}}
        self.port = free_port()
        settings = {"of_domains": True, "names": "inovex", "interval": 60.0} | options
        self.exporter = Exporter((HOST, self.port), lambda: self.health, **settings)

    def info(self, name: Any = "web", *, uuid: str = UUID, **data: Any) -> None:
        figures = {"state": 1, "maxMem": 2048, "memory": 1024, "nrVirtCpu": 2, "cpuTime": 1_500_000_000}
        self.exporter.take("domain.info", {"object": identity(name, uuid), **figures, "call": "c", **data})

    def stats(self, stats: dict[str, Any], name: str = "web", **data: Any) -> None:
        self.exporter.take("domain.stats", {"object": identity(name, UUID), "stats": stats, **data})

    async def scrape(self, **headers: str) -> Scrape:
        return await asyncio.to_thread(scrape, self.port, **headers)


def identity(name: Any, uuid: str) -> dict[str, Any]:
    return {"class": "domain", "host": "h1", "uuid": uuid, "name": name, "id": 1}


Open = Callable[..., Any]


@pytest.fixture
async def open_exporter() -> AsyncIterator[Open]:
    opened: list[Shown] = []

    async def start(**options: Any) -> Shown:
        shown = Shown(**options)
        opened.append(shown)
        shown.exporter.start()
        await eventually(lambda: is_there(shown.port))
        return shown

    yield start
    for shown in opened:
        await shown.exporter.close()


def is_there(port: int) -> bool:
    try:
        socket.create_connection((HOST, port)).close()
    except OSError:
        return False
    return True


async def test_kib_become_bytes_and_nanoseconds_seconds(open_exporter: Open) -> None:
    shown = await open_exporter()
    shown.info()
    found = await shown.scrape()
    assert found.value("libvirt_domain_info_maximum_memory_bytes", domain="web") == 2048 * 1024
    assert found.value("libvirt_domain_info_cpu_time_seconds_total", domain="web") == 1.5


async def test_stale_figures_are_marked_and_not_shown(open_exporter: Open) -> None:
    shown = await open_exporter()
    shown.info(stale=True, age=20.0)
    shown.info("other", uuid="0" * 36)
    found = await shown.scrape()
    assert found.value("libvirt_domain_timed_out", domain="web") == 1
    assert found.value("libvirt_domain_timed_out", domain="other") == 0
    of_web = {sample.name for sample in found.samples if sample.labels.get("domain") == "web"}
    assert of_web == {"libvirt_domain_timed_out"}
    assert found.value("libvirt_domains") == 2


async def test_stale_groups_hide_nothing_of_what_was_read(open_exporter: Open) -> None:
    shown = await open_exporter()
    shown.info()
    shown.stats({"vcpu.current": 2}, stale=True, age=9.0)
    found = await shown.scrape()
    assert found.value("libvirt_domain_timed_out", domain="web") == 1
    assert found.value(CPUS, domain="web") == 2
    assert "libvirt_domain_vcpu_current" not in found.names


async def test_a_domain_that_recovers_is_shown_again(open_exporter: Open) -> None:
    shown = await open_exporter()
    shown.info(stale=True, age=20.0)
    shown.info()
    found = await shown.scrape()
    assert found.value("libvirt_domain_timed_out", domain="web") == 0
    assert found.value(CPUS, domain="web") == 2


async def test_figures_older_than_two_and_a_half_intervals_are_not_shown(open_exporter: Open) -> None:
    shown = await open_exporter(interval=1.0)
    shown.info()
    assert (await shown.scrape()).value(CPUS, domain="web") == 2

    async def is_gone() -> bool:
        return (await shown.scrape()).value(CPUS, domain="web") is None

    await eventually(is_gone)


async def test_figures_that_are_not_shown_any_more_are_forgotten(open_exporter: Open) -> None:
    shown = await open_exporter(interval=0.2)
    shown.info()
    await eventually(lambda: not shown.exporter._last._kept)


async def test_the_interval_in_force_decides_what_is_old(open_exporter: Open) -> None:
    shown = await open_exporter(interval=0.001)
    shown.health["polling"] = {"interval_in_force": 60, "groups": {"interval_in_force": 600}}
    shown.info()
    await asyncio.sleep(0.01)
    assert (await shown.scrape()).value(CPUS, domain="web") == 2
    assert shown.exporter._fresh_seconds(shown.health)["domain.stats"] == 1500


async def test_nothing_of_libvirt_is_shown_while_it_is_away(open_exporter: Open) -> None:
    shown = await open_exporter()
    shown.info()
    shown.exporter.take("connect.info", {"object": {"class": "connect", "host": "h1"}, "virNodeGetFreeMemory": 1})
    shown.health = {"libvirt": {"connected": False}}

    async def is_down() -> Scrape | None:
        found = await shown.scrape()
        return found if found.value("libvirt_up") == 0 else None

    found: Scrape = await eventually(is_down)
    assert not [sample for sample in found.samples if "domain" in sample.labels]
    assert "libvirt_domains" not in found.names
    assert "libvirt_amqp_host_free_memory_bytes" not in found.names
    assert found.value("libvirt_amqp_libvirt_connected") == 0


async def test_a_loop_that_hangs_is_not_called_up(open_exporter: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = await open_exporter()
    shown.info()
    monkeypatch.setattr(exporter, "HUNG_SECONDS", 0.1)
    answers: list[Scrape] = []
    thread = threading.Thread(target=lambda: (time.sleep(0.3), answers.append(scrape(shown.port))))
    thread.start()
    thread.join()  # the loop cannot look at its health meanwhile
    assert answers[0].value("libvirt_amqp_up") == 0
    assert not {"libvirt_up", CPUS, "libvirt_amqp_libvirt_connected"} & answers[0].names


async def test_two_domains_that_had_one_name_are_one_series(open_exporter: Open) -> None:
    shown = await open_exporter()
    shown.info(nrVirtCpu=1)
    shown.info(uuid="0" * 36, nrVirtCpu=4)
    assert (await shown.scrape()).value(CPUS, domain="web") == 4  # a series that is there twice would have failed


@pytest.mark.parametrize("name", ['a"b\\c\nd', "größe 🐧", "x" * 300, "{domain=}", "a,b"])
async def test_any_name_is_a_label(open_exporter: Open, name: str) -> None:
    shown = await open_exporter()
    shown.info(name)
    assert (await shown.scrape()).value(CPUS, domain=name) == 2


async def test_a_name_that_is_no_text_gives_way_to_the_uuid(open_exporter: Open) -> None:
    shown = await open_exporter()
    shown.info({"$base64": "/w=="})
    assert (await shown.scrape()).value(CPUS, domain=UUID) == 2
    assert label_of({"class": "connect", "host": "h1"}) == ""


async def test_a_state_that_is_newer_than_we_has_no_words(open_exporter: Open) -> None:
    shown = await open_exporter()
    shown.info(state=42)
    assert (await shown.scrape()).value(STATE, domain="web", state_desc="") == 42


async def test_the_images_behind_a_disk_are_not_the_disk(open_exporter: Open) -> None:
    shown = await open_exporter()
    shown.stats(
        {
            "block.count": 2,
            "block.0.name": "vda",
            "block.0.path": "/top",
            "block.0.rd.reqs": 5,
            "block.1.name": "vda",
            "block.1.backingIndex": 1,
            "block.1.path": "/base",
            "block.1.rd.reqs": 7,
        }
    )
    found = await shown.scrape()
    labels = {"domain": "web", "target_device": "vda"}
    assert found.value("libvirt_domain_block_stats_read_requests_total", **labels) == 5
    assert found.labels("libvirt_domain_block_stats_info") == [{**labels, "source_file": "/top"}]


async def test_disks_interfaces_and_virtual_cpus_are_told_apart(open_exporter: Open) -> None:
    shown = await open_exporter()
    stats = {f"vcpu.{n}.time": n * 10**9 for n in range(12)} | {f"vcpu.{n}.state": 1 for n in range(12)}
    stats |= {f"net.{n}.name": f"vnet{n}" for n in range(12)} | {f"net.{n}.tx.errs": n for n in range(12)}
    shown.stats(stats)
    found = await shown.scrape()
    for n in range(12):
        assert found.value("libvirt_domain_vcpu_time_seconds_total", domain="web", vcpu=str(n)) == n
        device = {"domain": "web", "target_device": f"vnet{n}"}
        assert found.value("libvirt_domain_interface_stats_transmit_errors_total", **device) == n


async def test_what_libvirt_does_not_say_is_left_out(open_exporter: Open) -> None:
    shown = await open_exporter()
    shown.stats({"balloon.current": 4, "block.0.rd.reqs": 1, "net.0.rx.bytes": 1, "perf.cmt": 1, "odd": None})
    found = await shown.scrape()
    assert {sample.name for sample in found.samples if "domain" in sample.labels} == {
        "libvirt_domain_timed_out",
        "libvirt_domain_memory_stats_current_balloon_bytes",
    }


async def test_the_used_percentage_is_of_what_the_guest_sees(open_exporter: Open) -> None:
    shown = await open_exporter()
    shown.stats({"balloon.available": 1000, "balloon.usable": 250})
    shown.stats({"balloon.available": 0, "balloon.usable": 0}, "no-driver-in-it")
    found = await shown.scrape()
    assert found.value("libvirt_domain_memory_stats_used_percent", domain="web") == 75
    assert len(found.labels("libvirt_domain_memory_stats_used_percent")) == 1


async def test_tinkoffs_names_differ_where_they_do(open_exporter: Open) -> None:
    shown = await open_exporter(names="tinkoff")
    shown.info()
    shown.stats({"balloon.current": 4, "balloon.disk_caches": 1, "balloon.rss": 2})
    found = await shown.scrape()
    memory = "libvirt_domain_memory_stats_"
    assert found.value(memory + "actual_balloon_bytes", domain="web") == 4096
    assert {memory + "disk_cache_bytes", memory + "rss_bytes", "libvirt_domain_info_vstate"} <= found.names
    assert not {memory + "current_balloon_bytes", memory + "disk_caches_bytes", STATE} & found.names


async def test_what_polling_costs_is_shown_for_each_poller(open_exporter: Open) -> None:
    shown = await open_exporter()
    light = {"interval": 10, "interval_in_force": 30, "share": 0.009, "skipped": 2, "stale": 1, "round_cpu_ms": 90.0}
    shown.health["polling"] = {**light, "ceiling": 0.01, "call": "x", "groups": {**light, "stale": 4}}
    prefix = "libvirt_amqp_polling_"

    async def stale() -> Scrape | None:
        found = await shown.scrape()
        return found if prefix + "stale" in found.names else None

    found: Scrape = await eventually(stale)
    assert found.value(prefix + "interval_seconds", poller="statistics") == 10
    assert found.value(prefix + "interval_in_force_seconds", poller="statistics") == 30
    assert found.value(prefix + "cpu_share_ratio", poller="statistics") == 0.009
    assert found.value(prefix + "cpu_share_ceiling_ratio", poller="statistics") == 0.01
    assert found.value(prefix + "round_cpu_seconds", poller="statistics") == 0.09
    assert found.value(prefix + "skipped_total", poller="statistics") == 2
    assert found.value(prefix + "stale", poller="groups") == 4


async def test_where_domains_could_not_be_listed_and_none_is_known_nobody_says_that_there_are_none(
    open_exporter: Open,
) -> None:
    shown = await open_exporter()
    shown.health["polling"] = {"listed": False}

    async def not_listed() -> Scrape | None:
        found = await shown.scrape()
        return found if found.value("libvirt_amqp_polling_listed", poller="statistics") == 0 else None

    found: Scrape = await eventually(not_listed)
    assert found.value("libvirt_up") == 0
    assert "libvirt_domains" not in found.names
    shown.info()
    found = await shown.scrape()
    assert (found.value("libvirt_up"), found.value("libvirt_domains")) == (1, 1)


async def test_prometheus_may_ask_for_some_names_only(open_exporter: Open) -> None:
    shown = await open_exporter()
    shown.info()
    answer = await asyncio.to_thread(ask, shown.port, f"/metrics?name[]={CPUS}")
    assert Scrape(answer).names == {CPUS}


async def test_a_client_that_drips_is_ended(open_exporter: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "CLIENT_SECONDS", 1.0)
    shown = await open_exporter()

    def drip() -> float:
        begun = time.monotonic()
        with socket.create_connection((HOST, shown.port)) as line:
            line.settimeout(0.05)
            while time.monotonic() - begun < 20:
                try:
                    line.sendall(b"x")
                    if not line.recv(1):
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
        return time.monotonic() - begun

    assert await asyncio.to_thread(drip) < 10


async def test_more_clients_than_bearable_get_no_thread(open_exporter: Open) -> None:
    shown = await open_exporter()
    idle = [socket.create_connection((HOST, shown.port)) for _ in range(5 * server.MOST_CLIENTS)]
    try:
        await eventually(lambda: serving() == server.MOST_CLIENTS)
        hung_up = await asyncio.to_thread(lambda: [line.recv(1) for line in idle[-server.MOST_CLIENTS :]])
        assert hung_up == [b""] * server.MOST_CLIENTS
        assert serving() == server.MOST_CLIENTS
    finally:
        for line in idle:
            line.close()
    await eventually(lambda: answer_or_none(shown.port))


def serving() -> int:
    """How many threads serve clients now."""
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def answer_or_none(port: int) -> Answer | None:
    try:
        return ask(port)
    except OSError:
        return None
