import asyncio
import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import TEST_UUID, Start, eventually, hearing
from scraped import HOST, Scrape, ask, free_port, scrape

from app.service import Agent
from libvirt_amqp.client import Client
from libvirt_amqp.keys import Address

ROOT = Path(__file__).resolve().parents[2]
DOMAIN = Address("h1", "domain", (TEST_UUID,))


async def scraped(port: int, fact: Any, **headers: str) -> Scrape:
    """Scrape until `fact` is true of what came."""

    async def look() -> Scrape | None:
        try:
            found = await asyncio.to_thread(scrape, port, **headers)
        except ConnectionError:
            return None
        return found if fact(found) else None

    found: Scrape = await eventually(look)
    return found


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def listen(port: int) -> str:
    return f"{HOST}:{port}"


async def test_the_agents_own_health_is_shown(start_agent: Start, listen: str, port: int) -> None:
    await start_agent(metrics_listen=listen)
    found = await scraped(port, lambda s: s.value("libvirt_amqp_events_published_total"))
    assert found.value("libvirt_amqp_up") == 1
    assert found.value("libvirt_amqp_libvirt_connected") == 1
    assert found.value("libvirt_amqp_broker_connected") == 1
    assert found.value("libvirt_amqp_events_lost_total") == 0
    assert found.value("libvirt_amqp_events_refused_total") == 0
    assert found.value("libvirt_amqp_calls_open") == 0
    assert found.value("libvirt_amqp_heartbeat_interval_seconds") == 0.5
    [told] = found.labels("libvirt_amqp_agent_info")
    assert (told["host"], told["driver"], told["access"]) == ("h1", "TEST", "full")


async def test_the_sequence_shown_is_the_agents(start_agent: Start, client: Client, listen: str, port: int) -> None:
    await start_agent(metrics_listen=listen)
    await scraped(port, lambda s: s.names)
    before = await client.call(Address("h1", "agent"), "ping")
    await client.call(DOMAIN, "virDomainSuspend")

    async def agree() -> bool:
        told = (await client.call(Address("h1", "agent"), "ping"))["sequence"]
        found = await asyncio.to_thread(scrape, port)
        shown = found.value("libvirt_amqp_epoch"), found.value("libvirt_amqp_sequence_number")
        return told != before["sequence"] and shown == tuple(map(int, told.split("-")))

    await eventually(agree)


async def test_what_grows_is_a_counter_and_heartbeats_grow(start_agent: Start, listen: str, port: int) -> None:
    await start_agent(metrics_listen=listen)
    first = await scraped(port, lambda s: s.value("libvirt_amqp_heartbeats_total"))
    beats = first.value("libvirt_amqp_heartbeats_total")
    await scraped(port, lambda s: s.value("libvirt_amqp_heartbeats_total") > beats)
    assert first.families["libvirt_amqp_heartbeats"].type == "counter"
    assert first.families["libvirt_amqp_events_pending"].type == "gauge"


async def test_the_process_and_the_host_are_shown(start_agent: Start, listen: str, port: int) -> None:
    await start_agent(metrics_listen=listen)
    found = await scraped(port, lambda s: s.value("libvirt_amqp_host_free_memory_bytes"))
    assert found.value("process_resident_memory_bytes")
    assert found.value("libvirt_amqp_host_cpu_seconds_total", mode="idle")
    assert found.value("libvirt_amqp_host_load_average", minutes="1") is not None


async def test_no_sample_is_about_a_domain_unless_asked_for(start_agent: Start, listen: str, port: int) -> None:
    agent: Agent = await start_agent(metrics_listen=listen)
    found = await scraped(port, lambda s: s.value("libvirt_amqp_host_free_memory_bytes"))
    assert agent.host == "h1"
    assert not [sample for sample in found.samples if "domain" in sample.labels]
    assert not {"libvirt_up", "libvirt_domains"} & found.names


async def test_a_domains_figures_are_those_that_were_published(
    start_agent: Start, client: Client, broker_url: str, listen: str, port: int
) -> None:
    await start_agent(metrics_listen=listen, metrics_domains=True)
    await client.call(DOMAIN, "virDomainSuspend")
    async with hearing(broker_url, DOMAIN.key("info")) as heard:
        [message] = await heard.of_type("domain.info")
    data = message.body["data"]
    found = await scraped(port, lambda s: s.value("libvirt_domain_info_virtual_cpus", domain="test"))
    assert found.value("libvirt_domain_info_maximum_memory_bytes", domain="test") == data["maxMem"] * 1024
    assert found.value("libvirt_domain_info_memory_usage_bytes", domain="test") == data["memory"] * 1024
    assert found.value("libvirt_domain_info_virtual_cpus", domain="test") == data["nrVirtCpu"]
    seconds = found.value("libvirt_domain_info_cpu_time_seconds_total", domain="test")
    assert seconds == pytest.approx(data["cpuTime"] / 1e9, abs=10)  # the test driver's CPU time is the time of day
    assert found.value("libvirt_domain_timed_out", domain="test") == 0
    assert found.value("libvirt_domains") == 1
    assert found.value("libvirt_up") == 1


async def test_the_state_has_libvirts_words(start_agent: Start, client: Client, listen: str, port: int) -> None:
    await start_agent(metrics_listen=listen, metrics_domains=True)
    labels = {"domain": "test", "state_desc": "the domain is paused by user"}
    await client.call(DOMAIN, "virDomainSuspend")
    found = await scraped(port, lambda s: s.value("libvirt_domain_info_state", **labels))
    assert found.value("libvirt_domain_info_state", **labels) == 3
    assert len(found.labels("libvirt_domain_info_state")) == 1


async def test_tinkoffs_names_are_there_when_asked_for(start_agent: Start, listen: str, port: int) -> None:
    await start_agent(metrics_listen=listen, metrics_domains=True, metrics_names="tinkoff")
    found = await scraped(port, lambda s: s.value("libvirt_domain_info_vstate", domain="test"))
    assert found.value("libvirt_domain_info_vstate", domain="test") == 1
    assert "libvirt_domain_info_state" not in found.names
    [versions] = found.labels("libvirt_versions_info")
    assert set(versions) == {"hypervisor_running", "libvirtd_running", "libvirt_library"}


async def test_a_domain_that_is_gone_disappears(start_agent: Start, client: Client, listen: str, port: int) -> None:
    await start_agent(metrics_listen=listen, metrics_domains=True)
    await scraped(port, lambda s: s.value("libvirt_domain_info_virtual_cpus", domain="test"))
    await client.call(DOMAIN, "virDomainDestroy")
    found = await scraped(port, lambda s: s.value("libvirt_domains") == 0)
    assert not [sample for sample in found.samples if "domain" in sample.labels]
    assert found.value("libvirt_up") == 1


async def test_both_formats_of_prometheus_are_spoken(start_agent: Start, listen: str, port: int) -> None:
    agent: Agent = await start_agent(metrics_listen=listen, metrics_domains=True)
    publish_groups(agent)
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    answer = await asyncio.to_thread(ask, port, **accept)
    assert answer.kind.startswith("application/openmetrics-text")
    openmetrics, plain = Scrape(answer), await asyncio.to_thread(scrape, port)
    assert openmetrics.names == plain.names


async def test_an_ipv6_address_is_listened_on(start_agent: Start) -> None:
    port = free_port("::1")
    await start_agent(metrics_listen=f"[::1]:{port}")
    assert (await eventually(lambda: answer_or_none(port, host="::1"))).status == 200


async def test_after_the_agents_end_nobody_listens(start_agent: Start, listen: str, port: int) -> None:
    agent: Agent = await start_agent(metrics_listen=listen)
    await scraped(port, lambda s: s.value("libvirt_amqp_up"))
    with socket.create_connection((HOST, port)) as idle:
        await agent.stop()
        assert not await asyncio.to_thread(idle.recv, 1)  # hung up on
    with pytest.raises(ConnectionError):
        ask(port)


async def test_an_agent_whose_port_is_taken_works_and_gets_it_later(
    start_agent: Start, client: Client, listen: str, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server((HOST, port)):
        await start_agent(metrics_listen=listen)
        assert await client.call(Address("h1", "connect"), "virConnectGetHostname")
        [line] = [line for line in "".join(capfd.readouterr()).splitlines() if "metrics_not_served" in line]
        assert "METRICS_LISTEN" in line
        assert listen in line
        assert "Address already in use" in line
    assert (await scraped(port, lambda s: s.names)).value("libvirt_amqp_up") == 1


HANG_UP = "hung up"


def raw(port: int, sent: bytes) -> bytes | str:
    """What comes back for these bytes."""
    with socket.create_connection((HOST, port), timeout=10) as line:
        try:
            line.sendall(sent)
            return line.makefile("rb").readline()
        except ConnectionError:
            return HANG_UP


async def test_what_is_no_scrape_is_refused(start_agent: Start, listen: str, port: int) -> None:
    await start_agent(metrics_listen=listen)
    await scraped(port, lambda s: s.names)
    assert (await asyncio.to_thread(ask, port, "/")).status == 404
    assert (await asyncio.to_thread(ask, port, "/metrics/../../etc/passwd")).status == 404
    for method in ("HEAD", "POST", "DELETE"):
        assert (await asyncio.to_thread(ask, port, method=method)).status == 405


async def test_nonsense_does_not_disturb_the_agent(
    start_agent: Start, client: Client, listen: str, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    await start_agent(metrics_listen=listen)
    await scraped(port, lambda s: s.names)
    capfd.readouterr()
    many = b"".join(b"h%d: x\r\n" % number for number in range(200))
    for sent in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n",
        b"GET /" + 100_000 * b"x" + b" HTTP/1.1\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nA: " + 100_000 * b"x" + b"\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + many + b"\r\n",
    ):
        answer = await asyncio.to_thread(raw, port, sent)
        assert answer == HANG_UP or b" 200 " not in answer, answer
    assert (await asyncio.to_thread(ask, port)).status == 200
    assert await client.call(Address("h1", "connect"), "virConnectGetHostname")
    assert not [line for line in "".join(capfd.readouterr()).splitlines() if " call " not in line]


async def test_idle_clients_are_bounded_and_end(start_agent: Start, client: Client, listen: str, port: int) -> None:
    await start_agent(metrics_listen=listen)
    await scraped(port, lambda s: s.names)
    idle = [socket.create_connection((HOST, port)) for _ in range(40)]
    try:
        idle[0].sendall(b"GET /metrics HTTP/1.1\r\nA")
        assert await client.call(Address("h1", "connect"), "virConnectGetHostname")
        assert await eventually(lambda: answer_or_none(port), 20)
    finally:
        for line in idle:
            line.close()


def answer_or_none(port: int, **options: Any) -> Any:
    try:
        return ask(port, **options)
    except OSError:
        return None


async def test_without_the_setting_prometheus_client_is_not_imported(broker_url: str, tmp_path: Path) -> None:
    program = f"""
import asyncio, sys
from app.service import running
from app.settings import Settings
async def main():
    settings = Settings(broker_url={broker_url!r}, uri="test:///default", host="lean", state_dir={str(tmp_path)!r})
    async with running(settings) as agent:
        while agent._bus is None or not agent._bus.linked.is_set():
            await asyncio.sleep(0.02)
asyncio.run(main())
print("imported:", [name for name in ("prometheus_client", "wsgiref") if name in sys.modules])
"""
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.stdout.endswith("imported: []\n"), done


GROUPS = {
    **{f"balloon.{name}": 1024 for name in ("current", "maximum", "swap_in", "swap_out", "rss", "available", "usable")},
    "balloon.major_fault": 3,
    "vcpu.current": 1,
    "vcpu.maximum": 2,
    **{f"vcpu.0.{name}": 10**9 for name in ("state", "time", "wait", "delay")},
    "block.count": 1,
    "block.0.name": "vda",
    "block.0.path": "/images/a.qcow2",
    **{f"block.0.{name}.{what}": 5 for name in ("rd", "wr", "fl") for what in ("reqs", "bytes", "times")},
    "block.0.capacity": 2**30,
    "net.count": 1,
    "net.0.name": "vnet0",
    **{f"net.0.{way}.{what}": 7 for way in ("rx", "tx") for what in ("bytes", "pkts", "errs", "drop")},
}


def publish_groups(agent: Agent) -> None:
    """Hand over the groups of bulk statistics, which the test driver does not have, as the pollers do."""
    assert agent._metrics is not None
    identity = {"class": "domain", "host": "h1", "uuid": TEST_UUID, "name": "test", "id": 1}
    agent._metrics.take("domain.stats", {"object": identity, "call": "virConnectGetAllDomainStats", "stats": GROUPS})


@pytest.mark.parametrize("name", ["agent", "domains"])
async def test_a_dashboard_uses_only_what_is_exported(start_agent: Start, name: str, listen: str, port: int) -> None:
    agent: Agent = await start_agent(metrics_listen=listen, metrics_domains=True)
    publish_groups(agent)
    assert agent._metrics is not None
    expected = {"libvirt_domain_info_state", "libvirt_domain_vcpu_current", "libvirt_amqp_polling_stale"}
    found = await scraped(port, lambda s: expected <= s.names)
    text = (ROOT / "docs" / "grafana" / f"{name}.json").read_text()
    used = set(re.findall(r"\b(?:libvirt|process)_[a-z0-9_]+", " ".join(expressions(json.loads(text)))))
    assert len(used) > 10
    assert not used - found.names


@pytest.mark.parametrize("names", ["inovex", "tinkoff"])
async def test_every_name_is_in_the_docs(start_agent: Start, names: str, listen: str, port: int) -> None:
    agent: Agent = await start_agent(metrics_listen=listen, metrics_domains=True, metrics_names=names)
    publish_groups(agent)
    found = await scraped(port, lambda s: {"libvirt_domain_timed_out", "libvirt_domain_vcpu_current"} <= s.names)
    documented = set(re.findall(r"\blibvirt_\w+", (ROOT / "docs" / "prometheus.md").read_text()))
    assert not {name for name in found.names if not name.startswith("process_")} - documented


def expressions(dashboard: Any) -> list[str]:
    """Every PromQL expression of a dashboard: those of the panels, and the queries of the variables."""
    if isinstance(dashboard, list):
        return [one for item in dashboard for one in expressions(item)]
    if not isinstance(dashboard, dict):
        return []
    own = [
        value for key, value in dashboard.items() if key in {"expr", "definition", "query"} and isinstance(value, str)
    ]
    return own + [one for value in dashboard.values() for one in expressions(value)]


@pytest.mark.parametrize("name", ["agent", "domains"])
def test_a_dashboard_asks_the_datasource_that_is_chosen(name: str) -> None:
    dashboard = json.loads((ROOT / "docs" / "grafana" / f"{name}.json").read_text())
    [variable] = [v for v in dashboard["templating"]["list"] if v["type"] == "datasource"]
    assert variable["query"] == "prometheus"
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert panels
    assert all(panel["datasource"]["uid"] == f"${{{variable['name']}}}" for panel in panels)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
