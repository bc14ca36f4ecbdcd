from pathlib import Path
from typing import Any

import pytest
from conftest import Heard, answering, eventually, hearing
from private_libvirtd import PrivateLibvirtd
from structlog.testing import capture_logs

from app.service import running
from app.settings import Settings
from libvirt_amqp import errors
from libvirt_amqp.client import Client
from libvirt_amqp.keys import Address
from libvirt_amqp.messages import timestamp
from qemu.conftest import AGENT, CONNECT, HOST, Qemu, assert_contiguous, seconds_between, virsh, words_of

KEEPALIVE_SECONDS = 20
"""Three questions five seconds apart, and one interval more."""


async def test_a_killed_libvirtd_is_told_and_calls_meanwhile_are_refused(
    heard: Heard, client: Client, daemon: PrivateLibvirtd, qemu_agent: Qemu, guest: Address
) -> None:
    await qemu_agent()
    await client.call(guest, "virDomainGetInfo")
    daemon.kill()
    lost = (await heard.of_type("agent.libvirt-lost"))[0]
    assert lost.body["data"]["reason"] == "eof"
    for _ in range(3):
        with pytest.raises(errors.LibvirtLost) as caught:
            await client.call(guest, "virDomainGetInfo", timeout=5)
        assert caught.value.code == 6
    with pytest.raises(errors.LibvirtLost):
        await client.call(Address("any", "connect"), "virDomainLookupByName", {"name": "shared"}, timeout=0.1)
    beat = await _heartbeat(heard, connected=False)
    assert seconds_between(lost.body, {"time": beat["libvirt"]["since"]}) < 1
    assert (await client.call(AGENT, "ping"))["libvirt"]["connected"] is False


async def test_libvirts_return_is_told_with_the_gap_and_events_are_heard_again_without_any_call(
    heard: Heard, daemon: PrivateLibvirtd, qemu_agent: Qemu, guest: Address
) -> None:
    await qemu_agent()
    daemon.kill()
    lost = (await heard.of_type("agent.libvirt-lost"))[0].body
    daemon.start()
    found = (await heard.of_type("agent.libvirt-found", 2))[1].body
    assert seconds_between(lost, found) < 2
    gap = (await heard.of_type("agent.gap"))[0].body["data"]
    assert (gap["reason"], gap["first"], gap["last"], gap["count"]) == ("libvirt-lost", None, None, None)
    assert gap["from"] <= lost["time"] < gap["to"]
    virsh(daemon.uri, "suspend", "shared")
    virsh(daemon.uri, "resume", "shared")
    await eventually(lambda: words_of(heard, guest)[-2:] == ["lifecycle.suspended", "lifecycle.resumed"])
    await _heartbeat(heard, connected=True, after=found["time"])
    assert_contiguous(heard)


async def test_events_are_registered_within_a_second_of_libvirts_return(
    heard: Heard, fresh_daemon: PrivateLibvirtd, qemu_agent: Qemu
) -> None:
    fresh_daemon.start()
    await qemu_agent(uri=fresh_daemon.test_uri)
    for outage in (1, 2):
        fresh_daemon.kill()
        lost = (await heard.of_type("agent.libvirt-lost", outage, reason="eof"))[-1].body
        await _longest_delay(heard, lost)
        fresh_daemon.start()
        await eventually(lambda n=outage: len(_of(heard, "agent.libvirt-found")) == 1 + n, seconds=1)


async def test_calls_work_again_after_libvirts_return(
    client: Client, daemon: PrivateLibvirtd, qemu_agent: Qemu, guest: Address
) -> None:
    await qemu_agent()
    for _ in range(3):
        daemon.kill()
        with pytest.raises(errors.LibvirtLost):
            await client.call(guest, "virDomainGetInfo", timeout=5)
        daemon.start()
        await eventually(lambda: _answers(client, guest))


async def test_a_libvirtd_that_stops_in_good_order_is_told_too(
    heard: Heard, fresh_daemon: PrivateLibvirtd, qemu_agent: Qemu
) -> None:
    fresh_daemon.start()
    await qemu_agent(uri=fresh_daemon.test_uri)
    fresh_daemon.stop()
    await heard.of_type("agent.libvirt-lost")
    await _heartbeat(heard, connected=False)


async def test_a_libvirtd_that_comes_later_is_found(
    broker_url: str, heard: Heard, client: Client, fresh_daemon: PrivateLibvirtd, tmp_path: Path
) -> None:
    settings = _settings(broker_url, tmp_path, uri=fresh_daemon.test_uri, host=HOST)
    async with running(settings):
        await heard.of_type("agent.libvirt-lost")
        await _heartbeat(heard, connected=False)
        with pytest.raises(errors.LibvirtLost):
            await client.call(CONNECT, "virConnectGetHostname", timeout=5)
        fresh_daemon.start()
        await eventually(lambda: _of(heard, "agent.libvirt-found"), seconds=1)
        assert await client.call(CONNECT, "virConnectGetType") == "TEST"
        names = [m.body["type"].removeprefix("org.libvirt.agent.") for m in heard.events]
        assert names[:3] == ["started", "libvirt-lost", "libvirt-found"]
        assert_contiguous(heard)


async def test_nothing_is_said_before_libvirt_has_told_the_hosts_name(
    broker_url: str, client: Client, fresh_daemon: PrivateLibvirtd, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = _settings(broker_url, tmp_path, uri=fresh_daemon.test_uri)
    async with hearing(broker_url) as heard, running(settings) as agent:
        await eventually(lambda: "host_name_unknown" in capsys.readouterr().out)
        assert agent.host == ""
        came = timestamp()
        fresh_daemon.start()
        await eventually(lambda: agent.host)
        await answering(broker_url, agent.host)
        assert await client.call(Address(agent.host, "connect"), "virConnectGetHostname") == agent.host
        await heard.of_type("agent.heartbeat")
        assert min(m.body["time"] for m in heard if m.key.startswith(Address(agent.host, "agent").key())) > came


async def test_an_agent_whose_libvirt_has_no_name_for_the_host_waits_and_says_what_can_be_done(
    broker_url: str, fresh_daemon: PrivateLibvirtd, tmp_path: Path
) -> None:
    """As the driver of secrets alone; nothing but HOST helps there, but elsewhere it may pass."""
    fresh_daemon.start()
    uri = fresh_daemon.uri.replace("qemu+", "secret+")
    with capture_logs() as logs:
        async with running(_settings(broker_url, tmp_path, uri=uri)) as agent:
            said = await eventually(lambda: [line for line in logs if line["event"] == "host_name_unknown"])
            assert "HOST" in said[0]["remedy"]
            assert not agent.ended.done()


async def test_a_frozen_libvirtd_is_noticed_by_keepalive_and_found_when_it_thaws(
    heard: Heard, client: Client, fresh_daemon: PrivateLibvirtd, qemu_agent: Qemu
) -> None:
    fresh_daemon.start()
    await qemu_agent(uri=fresh_daemon.test_uri)
    fresh_daemon.freeze()
    await eventually(lambda: _of(heard, "agent.libvirt-lost"), seconds=KEEPALIVE_SECONDS + 5)
    assert _of(heard, "agent.libvirt-lost")[0]["data"]["reason"] == "keepalive"
    assert (await client.call(AGENT, "ping"))["libvirt"]["connected"] is False
    await _heartbeat(heard, connected=False)
    with pytest.raises(errors.CallError):
        await client.call(CONNECT, "virConnectGetHostname", timeout=2)
    fresh_daemon.thaw()
    await eventually(lambda: len(_of(heard, "agent.libvirt-found")) == 2)
    await heard.of_type("agent.gap", reason="libvirt-lost")
    assert await client.call(CONNECT, "virConnectGetType") == "TEST"


def _settings(broker_url: str, folder: Path, **settings: Any) -> Settings:
    return Settings(
        broker_url=broker_url,
        access="full",
        state_dir=folder,
        stats_interval=0.25,
        heartbeat_interval=0.25,
        stats_cpu_share=100,
        **settings,
    )


def _of(heard: Heard, kind: str) -> list[dict[str, Any]]:
    return [m.body for m in heard if m.body["type"] == f"org.libvirt.{kind}"]


async def _heartbeat(heard: Heard, *, connected: bool, after: str = "") -> dict[str, Any]:
    """Wait for a heartbeat that says so, and return its data."""

    def said() -> Any:
        beats = [b for b in _of(heard, "agent.heartbeat") if b["time"] > after]
        return next((b["data"] for b in beats if b["data"]["libvirt"]["connected"] is connected), None)

    return await eventually(said)


async def _answers(client: Client, address: Address) -> Any:
    try:
        return await client.call(address, "virDomainGetInfo", timeout=5)
    except errors.LibvirtLost:
        return None


async def _longest_delay(heard: Heard, lost: dict[str, Any]) -> None:
    """Wait until the agent has tried in vain for over a second, and pauses longest between two attempts."""
    await eventually(lambda: seconds_between(lost, _of(heard, "agent.heartbeat")[-1]) > 1)
