"""compose.yaml as it is: every profile used from outside, everything in it restarted."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import TEST_UUID, answering, eventually, hearing

from containers.conftest import Compose, docker, project, run
from libvirt_amqp.client import connect
from libvirt_amqp.keys import Address

pytestmark = pytest.mark.usefixtures("images")

TEST = Address("test1", "domain", (TEST_UUID,))
NEW_COMPOSE = "usr/libexec/docker/cli-plugins/docker-compose"


@pytest.fixture(scope="module")
def default() -> Iterator[Compose]:
    """Yield the project as `docker compose up` makes it."""
    with project("default") as compose:
        compose("up", "-d")
        yield compose


async def healthy(compose: Compose, service: str, seconds: float = 60) -> None:
    await eventually(lambda: compose.health(service) == "healthy", seconds)


async def suspend_and_resume(compose: Compose, target: Address = TEST) -> None:
    """Have both events come to a subscriber outside."""
    await answering(compose.url, target.host, 60)
    async with hearing(compose.url) as heard, connect(compose.url) as client:
        await client.call(target, "virDomainSuspend")
        await client.call(target, "virDomainResume")
        words = [m.key.split(".")[-1] for m in await heard.of_type("domain.lifecycle", 2)]
        assert words == ["suspended", "resumed"]
        assert await heard.of_type("domain.info")


async def test_everything_is_healthy_and_the_bus_is_live(default: Compose) -> None:
    await healthy(default, "agent")
    await suspend_and_resume(default)
    await eventually(lambda: "suspended" in docker("logs", default.container("watch")["Id"]))


def test_the_agent_has_no_rights(default: Compose) -> None:
    agent = default.container("agent")
    assert agent["Config"]["User"] == "10001:10001"
    assert agent["HostConfig"]["ReadonlyRootfs"] is True
    assert agent["HostConfig"]["CapDrop"] == ["ALL"]
    assert agent["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true"]
    status = docker("exec", agent["Id"], "cat", "/proc/1/status")
    assert "CapEff:\t0000000000000000" in status
    assert "CapBnd:\t0000000000000000" in status


async def test_a_broker_that_is_away_kills_no_agent(default: Compose) -> None:
    """For longer than it takes a health check to give up."""
    before = default.container("agent")["State"]["StartedAt"]
    default("stop", "rabbitmq")
    agent = default.container("agent")
    gives_up = 3 * 5 + 5
    end = time.monotonic() + gives_up
    await eventually(lambda: time.monotonic() > end and default.health("agent") == "healthy", gives_up + 5)
    said = docker("exec", agent["Id"], "sh", "-c", "libvirt-amqp ping 2>&1 || echo exit code $?")
    assert "exit code 3" in said
    default("start", "rabbitmq")
    await suspend_and_resume(default)
    assert default.container("agent")["State"]["StartedAt"] == before


async def test_the_agent_keeps_its_state_in_its_volume(default: Compose) -> None:
    await answering(default.url, "test1", 60)
    async with hearing(default.url, "test1.agent.started") as heard:
        default("restart", "agent")
        (started,) = await heard.of_type("agent.started")
        assert started.body["data"]["former"] is not None


def test_a_stop_is_in_order(default: Compose) -> None:
    default("stop", "agent")
    assert default.container("agent")["State"]["ExitCode"] == 0


async def test_a_guest_moves_between_two_simulated_hosts_and_their_daemons_may_restart() -> None:
    with project("fleet", ("fleet",)) as compose:
        compose("up", "-d", "migrate", profile="fleet")
        migrate = compose.container("migrate")["Id"]
        assert docker("wait", migrate, seconds=180).strip() == "0", docker("logs", migrate)
        said = docker("logs", migrate)
        assert "VIR_DOMAIN_EVENT_STOPPED_MIGRATED" in said
        assert "VIR_DOMAIN_EVENT_RESUMED_MIGRATED" in said
        async with hearing(compose.url, "hypervisor1.agent.#") as heard:
            docker("restart", "-t", "5", compose.container("hypervisor1")["Id"])
            await heard.of_type("agent.libvirt-lost")
            await eventually(lambda: [m for m in heard if m.key.endswith(".libvirt-found")], 30)
        async with connect(compose.url) as client:
            assert await client.call(Address("hypervisor1", "connect"), "virConnectGetType") == "QEMU"


async def test_the_real_hypervisor_is_reached_through_its_folder_and_again_after_its_restart(tmp_path: Path) -> None:
    folder = tmp_path / "libvirt"
    daemon = f"hypervisor-{time.monotonic_ns()}"
    options = ("-d", "--init", "--name", daemon, "-v", f"{folder}:/run/libvirt", "--hostname", "real1")
    docker("run", *options, "libvirt-amqp-hypervisor")
    try:
        with project("host", ("host",), LIBVIRT_RUN=str(folder), LIBVIRT_GID="900", ACCESS="full") as compose:
            compose("up", "-d", "host", profile="host")
            await healthy(compose, "host")
            await answering(compose.url, "real1", 60)
            docker("restart", "-t", "5", daemon)
            async with connect(compose.url) as client:

                async def is_back() -> Any:
                    answer = await client.call(Address("real1", "agent"), "ping")
                    return answer["libvirt"]["connected"]

                await eventually(is_back, 30)
                assert await client.call(Address("real1", "connect"), "virConnectListAllDomains") == []
    finally:
        docker("rm", "-f", "-v", daemon)


async def test_the_same_on_apache_qpid() -> None:
    with project("qpid", ("qpid",)) as compose:
        compose("up", "-d", "qpid-agent", "qpid-watch", profile="qpid")
        await healthy(compose, "qpid-agent")
        await suspend_and_resume(compose)
        compose("restart", "qpid", profile="qpid")
        await suspend_and_resume(compose)


@pytest.fixture(scope="module")
def new_compose(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Return Docker's own `docker compose`, or Debian 13's package of Compose 2.x."""
    if subprocess.run(("docker", "compose", "version"), check=False, capture_output=True).returncode == 0:
        return ("docker", "compose")
    folder = tmp_path_factory.mktemp("compose")
    unpack = (
        "cd /tmp && apt-get -qq update && apt-get -qq download docker-compose && dpkg-deb -x docker-compose_*.deb /out"
    )
    docker("run", "--rm", "-v", f"{folder}:/out", "debian:trixie-slim", "sh", "-c", unpack)
    return (str(folder / NEW_COMPOSE),)


async def test_compose_2_reads_the_same_file(new_compose: tuple[str, ...]) -> None:
    assert " v2." in run((*new_compose, "version")) or " 2." in run((*new_compose, "version"))
    with project("new", command=new_compose) as compose:
        compose("up", "-d", "--wait", "agent")
        await suspend_and_resume(compose)
