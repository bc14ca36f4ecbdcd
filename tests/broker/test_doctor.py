"""`libvirt-amqp doctor`, the broker's half: what is wrong there is found, and the lines that it gives mend it."""

import asyncio
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Start, answering, eventually, hearing
from documented import blocks, run_as_written
from examined import COMMAND, STRANGER, Examined, examine
from namespaces import unshare
from private_rabbitmq import PrivateRabbitMQ, free_port
from test_clock import SETTABLE
from test_processes import Process

from app.doctor.place import in_container
from libvirt_amqp.broker import QueueHeld, open_link
from libvirt_amqp.cli import watch

START = "LIBVIRT_AMQP_BROKER_URL=amqp://" if in_container() else "systemctl start rabbitmq-server"
"""What mends that nobody answers at 127.0.0.1, which in a container is not the machine."""
TOPIC_CHECKS = {"receive calls", "publish events", "publish statistics"}
CHECKS = {*TOPIC_CHECKS, "exchanges", "publish replies"}


@pytest.fixture(scope="module")
def rabbit() -> Iterator[PrivateRabbitMQ]:
    """Yield a RabbitMQ whose users can be changed."""
    with PrivateRabbitMQ() as broker:
        yield broker


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"URI": "test:///default", "HOST": "d1", "STATE_DIR": str(tmp_path / "state")}.items():
        monkeypatch.setenv(f"LIBVIRT_AMQP_{name}", value)


@pytest.fixture
def agents() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for agent in started:
        agent.close()


def as_user(broker: PrivateRabbitMQ, name: str, *permissions: str) -> str:
    """Make a user anew, with these permissions, and return its URL."""
    if name in broker.ctl("list_users"):
        broker.ctl("delete_user", name)
    broker.ctl("add_user", name, "secret")
    if permissions:
        broker.ctl("set_permissions", name, *permissions)
    return broker.url.replace("guest:guest", f"{name}:secret")


def follow(broker: PrivateRabbitMQ, examined: Examined, *statuses: str) -> None:
    """Do what the doctor says."""
    for found in examined.found.values():
        if found.status in statuses and (found.mend or "").startswith("rabbitmqctl"):
            for command in (found.mend or "").partition("   (")[0].split(";"):
                if "add_vhost /" not in command:  # it is there, and adding it again is an error
                    broker.ctl(*shlex.split(command)[1:])


async def test_where_nothing_is_wrong_the_doctor_says_so(broker_url: str) -> None:
    examined = await examine(BROKER_URL=broker_url)
    assert (examined.code, examined.wrong) == (0, set()), examined
    assert {examined.found[check].status for check in CHECKS} == {"ok"}


async def test_a_misspelt_setting_is_named_with_the_line_that_takes_it_away() -> None:
    examined = await examine(HOSTS="d1")
    assert (examined.code, examined.wrong) == (1, {"settings"})
    assert examined.found["settings"].mend == "unset LIBVIRT_AMQP_HOSTS"


async def test_a_broker_that_is_away_is_found_by_its_address() -> None:
    found = (await examine(BROKER_URL=f"amqp://127.0.0.1:{free_port()}/")).found["broker address"]
    assert (found.status, "Connection refused" in found.text) == ("wrong", True), found
    assert (found.mend or "").startswith(START), found


async def test_a_broker_whose_name_nobody_knows_is_found_by_it() -> None:
    found = (await examine(BROKER_URL="amqp://no-such-host.invalid/")).found["broker address"]
    assert (found.status, "getent hosts no-such-host.invalid" in (found.mend or "")) == ("wrong", True), found


async def test_a_broker_that_takes_connections_and_says_nothing_is_found(tmp_path: Path) -> None:
    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        examined = await examine(BROKER_URL=f"amqp://127.0.0.1:{port}/", STATE_DIR=str(tmp_path))
    assert examined.found["broker address"].status == "ok"
    assert "did not answer within" in examined.found["broker login"].text


async def test_a_wrong_password_is_told_from_everything_else(rabbit: PrivateRabbitMQ) -> None:
    as_user(rabbit, "d1", ".*", ".*", ".*")
    found = (await examine(BROKER_URL=rabbit.url.replace("guest:guest", "d1:wrong"))).found["broker login"]
    assert (found.status, "password" in found.text) == ("wrong", True), found
    assert (found.mend or "").startswith("rabbitmqctl change_password d1 ")


async def test_a_missing_virtual_host_is_mended_by_the_line_that_the_doctor_gives(rabbit: PrivateRabbitMQ) -> None:
    url = as_user(rabbit, "d1") + "missing"
    before = await examine(BROKER_URL=url)
    assert (before.wrong, "virtual host missing" in before.found["broker login"].text) == ({"broker login"}, True)
    follow(rabbit, before, "wrong")
    assert (await examine(BROKER_URL=url)).wrong == set()


async def test_amqps_to_a_port_without_tls_is_named(rabbit: PrivateRabbitMQ) -> None:
    found = (await examine(BROKER_URL=rabbit.url.replace("amqp:", "amqps:"))).found["broker login"]
    assert (found.status, "there is no TLS on this port" in found.text) == ("wrong", True), found
    assert "amqp:// instead of amqps://" in (found.mend or "")


@pytest.mark.parametrize(
    ("permissions", "refused"),
    [
        (("^libvirt", "", ".*"), {"receive calls", "publish events", "publish statistics", "publish replies"}),
        ((".*", "^(libvirt|amq.gen)", ".*"), {"publish replies"}),
        ((".*", ".*", "^amq.gen"), {"receive calls"}),
    ],
)
async def test_each_permission_that_is_missing_is_named_and_the_line_given_brings_it(
    rabbit: PrivateRabbitMQ, permissions: tuple[str, str, str], refused: set[str]
) -> None:
    await examine(BROKER_URL=rabbit.url)  # makes the exchanges
    url = as_user(rabbit, "d1", *permissions)
    before = await examine(BROKER_URL=url)
    assert before.wrong == refused, before
    follow(rabbit, before, "wrong")
    after = await examine(BROKER_URL=url)
    assert after.wrong == set(), after


async def test_topics_that_are_refused_are_told_and_the_lines_given_bring_them(rabbit: PrivateRabbitMQ) -> None:
    url = as_user(rabbit, "d1", ".*", ".*", ".*")
    for exchange in ("libvirt.events", "libvirt.stats", "libvirt.rpc"):
        rabbit.ctl("set_topic_permissions", "d1", exchange, "^d2", "^d2")
    before = await examine(BROKER_URL=url)
    assert before.wrong == TOPIC_CHECKS, before
    follow(rabbit, before, "wrong")
    assert (await examine(BROKER_URL=url)).wrong == set()


async def test_no_line_takes_from_the_user_of_another_host_what_it_has(rabbit: PrivateRabbitMQ, tmp_path: Path) -> None:
    await examine(BROKER_URL=rabbit.url)  # makes the exchanges
    run_as_written(blocks("4. Permissions", "sh")[1], rabbit, tmp_path)
    url = rabbit.url.replace("guest:guest", "host1:secret1")
    before = rabbit.ctl("list_permissions"), rabbit.ctl("list_topic_permissions")
    examined = await examine(BROKER_URL=url, HOST="host2")
    assert {"receive calls", "publish events"} <= examined.wrong, examined
    assert {examined.found[check].mend for check in examined.wrong | {"agent"}} == {
        "LIBVIRT_AMQP_HOST=host1   (the host that this user speaks for)"
    }
    follow(rabbit, examined, "wrong", "advice", "unseen")
    look = (
        (examined.found["clock of other hosts"].mend or "").partition("; libvirt-amqp watch ")[2].partition("   (")[0]
    )
    assert watch.command.make_context("watch", shlex.split(look)).params["event"] == "heartbeat"
    assert (rabbit.ctl("list_permissions"), rabbit.ctl("list_topic_permissions")) == before
    assert (await examine(BROKER_URL=url, HOST="host1")).wrong == set()


async def test_a_user_that_is_no_hosts_keeps_what_it_has_and_the_host_gets_one(rabbit: PrivateRabbitMQ) -> None:
    guest = [line for line in rabbit.ctl("list_permissions").splitlines() if line.startswith("guest")]
    before = await examine(BROKER_URL=rabbit.url, HOST="d9")
    assert (before.code, before.found["other hosts' events"].status) == (0, "advice"), before
    follow(rabbit, before, "advice")
    assert [line for line in rabbit.ctl("list_permissions").splitlines() if line.startswith("guest")] == guest
    url = rabbit.url.replace("guest:guest", "d9:PASSWORD")
    follow(rabbit, await examine(BROKER_URL=url, HOST="d9"), "advice")
    after = await examine(BROKER_URL=url, HOST="d9")
    assert (after.wrong, after.found["other hosts' events"].status) == (set(), "ok"), after


async def test_in_a_container_a_broker_beside_it_is_not_this_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("container", "a test's")
    found = (await examine(BROKER_URL=f"amqp://127.0.0.1:{free_port()}/")).found["broker address"]
    assert (found.status, "127.0.0.1 is this container" in (found.mend or "")) == ("wrong", True), found
    assert "systemctl" not in (found.mend or "")


async def test_in_a_container_the_test_drivers_name_for_the_host_is_advised_against(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("container", "a test's")
    monkeypatch.delenv("LIBVIRT_AMQP_HOST")
    found = (await examine(BROKER_URL=f"amqp://127.0.0.1:{free_port()}/")).found["host"]
    assert (found.status, found.mend) == ("advice", "LIBVIRT_AMQP_HOST=NAME"), found


async def test_in_a_container_the_images_folder_is_given_for_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("container", "a test's")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    url = f"amqp://127.0.0.1:{free_port()}/"
    found = (await examine(*STRANGER, BROKER_URL=url, STATE_DIR=str(closed / "x"))).found["state"]
    there = "-v libvirt-amqp:/var/lib/libvirt-amqp -e LIBVIRT_AMQP_STATE_DIR=/var/lib/libvirt-amqp   ("
    assert (found.status, (found.mend or "").startswith(there)) == ("wrong", True), found


async def test_a_user_that_may_impersonate_others_is_examined_without_being_heard(rabbit: PrivateRabbitMQ) -> None:
    url = as_user(rabbit, "d1", ".*", ".*", ".*")
    rabbit.ctl("set_user_tags", "d1", "impersonator")
    async with hearing(rabbit.url) as heard:
        before = await examine(BROKER_URL=url)
        assert heard == []
    assert (before.code, before.found["publish events"].status) == (0, "unseen"), before
    follow(rabbit, before, "unseen")
    assert (await examine(BROKER_URL=url)).found["publish events"].status == "ok"


async def test_who_follows_the_doctor_gets_an_agent_that_serves_and_cannot_speak_for_others(
    rabbit: PrivateRabbitMQ, tmp_path: Path, agents: list[Process]
) -> None:
    url = as_user(rabbit, "d1")
    examined = await examine(BROKER_URL=url)
    for _ in range(5):
        follow(rabbit, examined, "wrong", "advice")
        examined = await examine(BROKER_URL=url)
        if not examined.wrong and examined.found["other hosts' events"].status == "ok":
            break
    assert (examined.code, examined.wrong) == (0, set()), examined
    assert "refused, as it should be" in examined.found["other hosts' events"].text
    agents.append(Process(tmp_path, url, HOST="d1"))
    await answering(rabbit.url, "d1")


async def test_the_doctor_is_heard_by_nobody_and_leaves_no_queue(rabbit: PrivateRabbitMQ) -> None:
    async with hearing(rabbit.url) as heard:
        assert (await examine(BROKER_URL=rabbit.url)).code == 0
        assert heard == []
    assert "libvirt.rpc.d1" not in rabbit.ctl("list_queues", "name")


async def test_an_agent_that_lives_here_is_no_trouble(broker_url: str, tmp_path: Path, agents: list[Process]) -> None:
    agents.append(Process(tmp_path / "state", broker_url, log=tmp_path / "log", HOST="d1"))
    await answering(broker_url, "d1")
    examined = await examine(BROKER_URL=broker_url)
    assert (examined.code, examined.found["agent"].status) == (0, "ok"), examined
    assert "the agent of this machine serves d1" in examined.found["agent"].text
    await answering(broker_url, "d1")


async def test_a_host_that_another_agent_serves_is_told(broker_url: str, start_agent: Start) -> None:
    agent = await start_agent("d1")
    found = (await examine(BROKER_URL=broker_url)).found["agent"]
    assert (found.status, agent.instance in (found.mend or "")) == ("wrong", True), found
    assert "LIBVIRT_AMQP_HOST=" in (found.mend or "")


async def test_a_host_whose_queue_is_held_in_silence_is_told(broker_url: str) -> None:
    link = await open_link(broker_url, "test: holds the queue")
    channel = await link.channel()
    await channel.bind(await channel.declare_queue("libvirt.rpc.d1"), "libvirt.rpc", "d1.#")
    with pytest.raises(QueueHeld):
        await (await (other := await open_link(broker_url, "test")).channel()).declare_queue("libvirt.rpc.d1")
    found = (await examine(BROKER_URL=broker_url)).found["agent"]
    await other.close()
    await link.close()
    assert (found.status, "does not answer" in found.text) == ("wrong", True), found
    assert "rabbitmqctl list_queues" in (found.mend or "")


async def test_without_any_name_for_the_host_the_line_that_sets_one_is_given(
    broker_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LIBVIRT_AMQP_HOST")
    found = (await examine(BROKER_URL=broker_url, URI=f"qemu+unix:///session?socket={tmp_path}/none")).found["host"]
    assert (found.status, (found.mend or "").startswith("LIBVIRT_AMQP_HOST=")) == ("wrong", True), found
    assert "(libvirt's name of this machine)" in (await examine(BROKER_URL=broker_url)).found["host"].text


async def test_a_clock_that_differs_from_the_other_hosts_is_told(
    broker_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agents: list[Process]
) -> None:
    monkeypatch.setenv("CLOCK_FILE", str(tmp_path / "clock"))
    (tmp_path / "clock").write_text("30")
    with monkeypatch.context() as ahead:
        ahead.setenv("PYTHONPATH", str(SETTABLE))
        agents.append(Process(tmp_path, broker_url, HOST="d2"))
    async with hearing(broker_url, "d2.agent.heartbeat") as heard:
        await eventually(lambda: heard)
        found = (await examine(BROKER_URL=broker_url, listen=3)).found["clock of other hosts"]
        (tmp_path / "clock").write_text("0")
        (agreed,) = [(await examine(BROKER_URL=broker_url, listen=3)).found["clock of other hosts"]]
    assert (found.status, "d2 -" in found.text) == ("wrong", True), found
    assert "timedatectl set-ntp true" in (found.mend or "")
    assert agreed.status == "ok", agreed


async def test_a_place_for_state_that_is_read_only_is_told(broker_url: str, tmp_path: Path) -> None:
    script = f'mount -t tmpfs -o ro none "{tmp_path}" && exec "$@"'
    prefix = (*unshare("--mount"), "sh", "-c", script, "sh")
    found = (await examine(*prefix, BROKER_URL=broker_url)).found["state"]
    assert (found.status, "Read-only file system" in found.text) == ("wrong", True), found
    assert str(tmp_path / "state") in (found.mend or "") or "LIBVIRT_AMQP_STATE_DIR=" in (found.mend or "")


async def test_a_place_for_state_that_is_another_users_is_told(broker_url: str, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    found = (await examine(*STRANGER, BROKER_URL=broker_url, STATE_DIR=str(closed / "state"))).found["state"]
    assert (found.status, f"{closed}: user 10001" in found.text) == ("wrong", True), found
    assert str(closed / "state") in (found.mend or "")


async def test_a_user_without_a_home_is_examined_as_well(broker_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_STATE_HOME", "LIBVIRT_AMQP_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    found = (await examine(*STRANGER, BROKER_URL=broker_url)).found["state"]
    assert "libvirt-amqp" in (found.mend or found.text), found


async def test_a_place_for_state_that_is_too_small_is_told(broker_url: str, tmp_path: Path) -> None:
    script = f'mount -t tmpfs -o size=20m none "{tmp_path}" && exec "$@"'
    prefix = (*unshare("--mount"), "sh", "-c", script, "sh")
    found = (await examine(*prefix, BROKER_URL=broker_url)).found["state"]
    assert (found.status, found.mend) == ("wrong", "LIBVIRT_AMQP_OUTBOX_MAX_MIB=10   (or make room)"), found


async def test_a_person_sees_the_line_that_mends_below_what_is_wrong() -> None:
    url = f"amqp://127.0.0.1:{free_port()}/"
    command = (str(COMMAND), "doctor", "--broker", url)
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30, check=False)
    lines = done.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("wrong   broker address: "))
    assert (done.returncode, lines[at + 1].startswith(f"        > {START}")) == (1, True), done
