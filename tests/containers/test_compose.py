"""compose.yaml as it is: every profile used from outside, everything in it restarted."""

import subprocess
import time
from collections.abc import Iterator
from typing import NamedTuple

import aio_pika
import pytest
from conftest import TEST_UUID, answering, eventually, hearing

from containers.conftest import HYPERVISOR, Compose, docker, project, run
from libvirt_amqp.client import connect
from libvirt_amqp.keys import EVENTS, Address

pytestmark = pytest.mark.usefixtures("images")

TEST = Address("test1", "domain", (TEST_UUID,))
STATS_INTERVAL = 10
"""Seconds, the default: a wait of as long would now and then be too short."""
GUEST = """<domain type='qemu'><name>one</name><memory unit='MiB'>16</memory><os><type>hvm</type></os>
<devices><memballoon model='none'/></devices></domain>"""
PROFILES = ("host", "fleet", "qpid")
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
        await eventually(lambda: [m for m in heard if m.body["type"] == "org.libvirt.domain.info"], 3 * STATS_INTERVAL)


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


def test_the_volume_of_its_state_is_the_agents_own(default: Compose) -> None:
    agent = default.container("agent")
    (mount,) = [m for m in agent["Mounts"] if m["Destination"] == "/var/lib/libvirt-amqp"]
    assert (mount["Type"], mount["RW"]) == ("volume", True)
    assert mount["Name"].endswith("_agent")
    owner = docker(
        "exec", agent["Id"], "stat", "-c", "%u:%g", "/var/lib/libvirt-amqp", "/var/lib/libvirt-amqp/state.json"
    )
    assert owner.split() == ["10001:10001"] * 2


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


class Host(NamedTuple):
    """A hypervisor that is no part of compose.yaml, and the agent on the folder of its sockets."""

    compose: Compose
    daemon: str
    settings: dict[str, str]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("host") / "libvirt"
    daemon = f"hypervisor-{time.monotonic_ns()}"
    options = ("-d", "--init", "--name", daemon, "-v", f"{folder}:/run/libvirt", "--hostname", "real1")
    docker("run", *options, HYPERVISOR)
    try:
        settings = {"LIBVIRT_RUN": str(folder), "LIBVIRT_GID": "900", "ACCESS": "full"}
        with project("host", ("host",), **settings) as compose:
            compose("up", "-d", "host", profile="host")
            yield Host(compose, daemon, settings)
    finally:
        docker("rm", "-f", "-v", daemon)


async def test_the_real_hypervisor_is_reached_through_its_folder_by_a_user_that_it_knows(host: Host) -> None:
    await healthy(host.compose, "host")
    await answering(host.compose.url, "real1", 60)
    agent = host.compose.container("host")
    assert agent["Config"]["User"] == "65534:65534"
    assert agent["HostConfig"]["GroupAdd"] == ["900"]
    (mount,) = [m for m in agent["Mounts"] if m["Destination"] == "/run/libvirt"]
    assert mount["RW"] is False


async def test_the_real_host_has_the_name_that_is_given(host: Host) -> None:
    with project("named", ("host",), LIBVIRT_AMQP_HOST="given1", **host.settings) as compose:
        compose("up", "-d", "host", profile="host")
        await answering(compose.url, "given1", 60)


async def test_a_libvirtd_that_was_restarted_is_found_again(host: Host) -> None:
    await answering(host.compose.url, "real1", 60)
    async with hearing(host.compose.url, "real1.agent.#") as heard:
        docker("restart", "-t", "5", host.daemon)
        await heard.of_type("agent.libvirt-lost")
        await eventually(lambda: [m for m in heard if m.key.endswith(".libvirt-found")], 60)
    async with connect(host.compose.url) as client:
        assert await client.call(Address("real1", "connect"), "virConnectListAllDomains") == []


async def test_what_happens_while_the_broker_is_away_arrives_when_it_is_back(host: Host) -> None:
    """In a queue that outlives the broker: a subscriber of its own connection may be back later than the agent."""
    await answering(host.compose.url, "real1", 60)
    async with await aio_pika.connect(host.compose.url) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("kept", durable=True)
        await queue.bind(EVENTS, "real1.domain.#")
    host.compose("stop", "rabbitmq")
    docker("exec", host.daemon, "sh", "-c", f'echo "{GUEST}" > /tmp/one.xml && virsh -q create /tmp/one.xml')
    host.compose("start", "rabbitmq")
    await answering(host.compose.url, "real1", 60)
    async with await aio_pika.connect(host.compose.url) as connection:
        channel = await connection.channel()
        kept = await channel.get_queue("kept")
        keys: list[str] = []

        async def has_started() -> bool:
            if message := await kept.get(no_ack=True, fail=False):
                keys.append(message.routing_key or "")
            return any(key.endswith(".lifecycle.started") for key in keys)

        await eventually(has_started, 30)


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


@pytest.fixture(params=("old", "new"))
def either(request: pytest.FixtureRequest, new_compose: tuple[str, ...]) -> tuple[str, ...]:
    return new_compose if request.param == "new" else ("docker-compose",)


def test_every_profile_is_read_by_either_compose(either: tuple[str, ...]) -> None:
    chosen = [flag for profile in PROFILES for flag in ("--profile", profile)]
    services = set(run((*either, *chosen, "config", "--services")).split())
    assert {"agent", "watch", "host", "migrate", "agent1", "agent2", "qpid-agent", "qpid-watch"} <= services


def test_without_a_profile_there_is_a_broker_an_agent_and_the_live_bus(either: tuple[str, ...]) -> None:
    with project("plain", command=either) as compose:
        compose("up", "--no-start")
        label = "label=com.docker.compose"
        made = docker(
            "ps", "-a", f"--filter={label}.project={compose.name}", '--format={{.Label "com.docker.compose.service"}}'
        )
        assert sorted(made.split()) == ["agent", "rabbitmq", "watch"]


async def test_compose_2_reads_the_same_file(new_compose: tuple[str, ...]) -> None:
    assert " v2." in run((*new_compose, "version")) or " 2." in run((*new_compose, "version"))
    with project("new", command=new_compose) as compose:
        compose("up", "-d", "--wait", "agent")
        await suspend_and_resume(compose)
