"""The agent as a process of its own, and a broker that comes, goes and dies."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest
from brokers import Broker
from conftest import TEST_UUID, Start, answering, eventually, hearing
from private_rabbitmq import free_port

from app.claim import HostTaken
from app.service import running
from app.settings import Settings
from libvirt_amqp.cli.watch import REFUSED_WITHIN_SECONDS
from libvirt_amqp.client import Client, connect
from libvirt_amqp.errors import CallError, ResultUnknown
from libvirt_amqp.keys import EVENTS, RPC, Address
from libvirt_amqp.messages import EVENT_CONTENT_TYPE, cloud_event
from libvirt_amqp.wire import Properties

COMMAND = Path(sys.executable).parent / "libvirt-amqp"
TEST = Address("p1", "domain", (TEST_UUID,))


class Process:
    """`libvirt-amqp serve` with its log in a file."""

    def __init__(self, folder: Path, url: str, log: Path | None = None, **settings: str) -> None:
        values = {"BROKER_URL": url, "URI": "test:///default", "HOST": "p1", "ACCESS": "full", "STATE_DIR": str(folder)}
        values |= {"HEARTBEAT_INTERVAL": "0.5", "LOG_FORMAT": "json"} | settings
        environment = {f"LIBVIRT_AMQP_{name}": value for name, value in values.items()}
        self.log = log or folder / "log"
        with self.log.open("ab") as stderr:
            self._process = subprocess.Popen([COMMAND, "serve"], env=os.environ | environment, stderr=stderr)

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def exit_code(self, seconds: float = 15) -> int:
        return await asyncio.to_thread(self._process.wait, seconds)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def spawn(tmp_path: Path, broker_url: str) -> Iterator[Any]:
    running: list[Process] = []

    def start(url: str = broker_url, log: Path | None = None, **settings: str) -> Process:
        running.append(Process(tmp_path, url, log, **settings))
        return running[-1]

    yield start
    for process in running:
        process.close()


async def test_sigterm_ends_the_agent_in_order(spawn: Any, broker_url: str) -> None:
    process = spawn()
    await answering(broker_url, "p1")
    async with hearing(broker_url, "p1.agent.#") as heard:
        process.signal(signal.SIGTERM)
        assert await process.exit_code() == 0
        await heard.of_type("agent.stopping")


@pytest.mark.feature("a second agent is told that the host is taken")
async def test_a_second_agent_is_told_that_the_host_is_taken(spawn: Any, broker_url: str) -> None:
    spawn()
    await answering(broker_url, "p1")
    second = spawn()
    assert await second.exit_code() == 3
    assert b"another agent serves host 'p1'" in second.log.read_bytes()
    await answering(broker_url, "p1")


async def test_after_kill_9_the_next_run_serves_and_knows_what_it_cannot_know(
    spawn: Any, broker_url: str, client: Client
) -> None:
    first = spawn()
    await answering(broker_url, "p1")
    assert await client.call(TEST, "virDomainSuspend", idempotency_key="again") == 0
    first.signal(signal.SIGKILL)
    await first.exit_code()
    spawn()
    await answering(broker_url, "p1")
    with pytest.raises(ResultUnknown):
        await client.call(TEST, "virDomainSuspend", idempotency_key="again")


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_an_agent_whose_log_is_on_a_full_disk_serves_and_ends_as_any_other(
    spawn: Any, client: Client, log_format: str
) -> None:
    await _serves_and_ends(spawn(log=Path("/dev/full"), LOG_FORMAT=log_format), client)


async def test_an_agent_whose_log_nobody_reads_any_more_serves_and_ends_as_any_other(
    spawn: Any, client: Client, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    process = spawn(log=tmp_path / "pipe")
    os.close(reader)
    await _serves_and_ends(process, client)


async def _serves_and_ends(process: Process, client: Client) -> None:
    await eventually(lambda: _is_there(client))
    for _ in range(20):
        await client.call(TEST, "virDomainGetInfo", timeout=5)
    process.signal(signal.SIGTERM)
    assert await process.exit_code() == 0


async def _is_there(client: Client) -> bool:
    try:
        return bool((await client.call(Address("p1", "agent"), "ping", timeout=1))["libvirt"]["connected"])
    except CallError:
        return False


async def test_wrong_settings_are_one_line_and_exit_code_2(spawn: Any) -> None:
    process = spawn(ACCESS="everything", WORKRES="3")
    assert await process.exit_code() == 2
    text = process.log.read_text()
    assert text.count("\n") == 1
    assert "LIBVIRT_AMQP_ACCESS" in text
    assert "LIBVIRT_AMQP_WORKRES is no setting" in text


async def test_the_password_is_in_no_log_line(spawn: Any) -> None:
    process = spawn(f"amqp://user:hunter2@127.0.0.1:{free_port()}/")
    await eventually(lambda: b"broker_unavailable" in process.log.read_bytes())
    process.signal(signal.SIGTERM)
    assert await process.exit_code() == 0
    assert b"hunter2" not in process.log.read_bytes()


async def test_the_agent_waits_for_a_broker_that_is_not_there_yet(own_broker: Broker, tmp_path: Path) -> None:
    own_broker.stop()
    process = Process(tmp_path, own_broker.url)
    try:
        await eventually(lambda: b"broker_unavailable" in process.log.read_bytes())
        await asyncio.to_thread(own_broker.start)
        await answering(own_broker.url, "p1", 20)
        assert process.log.read_bytes().count(b"broker_unavailable") <= 3, "once for each reason, not for each attempt"
    finally:
        process.close()


async def test_watch_waits_for_a_broker_that_was_lost_before_anything_came(own_broker: Broker) -> None:
    """It shows only refreshed pools, and of those none comes."""
    command = (COMMAND, "watch", "--broker", own_broker.url, "--event", "refresh")
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    await _somebody_listens(own_broker.url)
    async with asyncio.timeout(30):
        await asyncio.sleep(REFUSED_WITHIN_SECONDS)  # until then a loss counts as a refusal
        await asyncio.to_thread(own_broker.kill)
        assert b"trying again" in await process.stderr.readline()
        assert process.returncode is None
        process.terminate()
        await process.wait()


async def _somebody_listens(url: str) -> None:
    address = Address("nobody", "agent")
    body = cloud_event(
        address, "agent.probe", {"object": address.identity()}, event_id="1", time="2026-01-01T00:00:00Z"
    )
    async with connect(url) as client:
        channel = await client._link.channel(confirms=True)
        await channel.declare_exchange(EVENTS)
        key, properties = address.key("probe"), Properties(EVENT_CONTENT_TYPE)
        await eventually(lambda: channel.publish_mandatory(EVENTS, key, body, properties))


@pytest.mark.feature("what happens while the broker is stopped or killed arrives after")
@pytest.mark.parametrize("how", ["kill", "stop"])
async def test_what_happens_while_the_broker_is_away_arrives_after(
    own_broker: Broker, start_agent: Start, beside: libvirt.virConnect, how: str
) -> None:
    """The subscriber's queue dies with the broker, so it listens again before the agent's next session."""
    agent = await start_agent("h1", broker_url=own_broker.url, heartbeat_interval=0.2)
    await asyncio.to_thread(getattr(own_broker, how))
    await eventually(lambda: not agent._bus.linked.is_set())
    for _ in range(20):
        beside.lookupByName("test").suspend()
        beside.lookupByName("test").resume()
    await eventually(lambda: len(agent._bus.outbox) == 40)
    start = asyncio.create_task(asyncio.to_thread(own_broker.start))
    await answering(own_broker.url, "h1", 30)
    await start
    await eventually(lambda: len(agent._bus.outbox) == 0)
    assert agent._bus.outbox.lost_total == 0


@pytest.mark.feature("a frozen broker is noticed and the agent comes back")
async def test_a_frozen_broker_is_noticed_and_the_agent_comes_back(own_broker: Broker, start_agent: Start) -> None:
    agent = await start_agent("h1", broker_url=f"{own_broker.url}?heartbeat=2")
    own_broker.freeze()
    try:
        await eventually(lambda: not agent._bus.linked.is_set(), 20)
    finally:
        own_broker.thaw()
    await answering(own_broker.url, "h1", 30)


async def test_its_own_former_connection_is_not_mistaken_for_another_agent(broker_url: str, start_agent: Start) -> None:
    """A second connection holds the queue and nobody answers: the agent waits and takes it when it is free."""
    async with connect(broker_url, "the remains") as remains:
        channel = await remains._link.channel()
        await channel.declare_queue("libvirt.rpc.h9")
        starting = asyncio.create_task(start_agent("h9"))
        await asyncio.sleep(1)
        assert not starting.done()
    agent = await starting
    assert not agent.ended.done()


async def test_an_agent_is_alive_within_a_second(spawn: Any, client: Client) -> None:
    """Not a bench: only that nothing waits for a timeout at the start."""
    start = time.monotonic()
    spawn()
    await eventually(lambda: _is_there(client), 20)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("answer", [b"hello", b"[]", b"7", b'{"jsonrpc":"2.0","id":1,"result":{}}', b'{"error":7}'])
async def test_a_host_is_taken_by_whoever_answers_whatever_it_says(
    broker_url: str, tmp_path: Path, answer: bytes
) -> None:
    async with connect(broker_url, "no agent") as holder:
        channel = await holder._link.channel()
        await channel.declare_exchange(RPC)
        queue = await channel.declare_queue("libvirt.rpc.h9")
        await channel.bind(queue, RPC, "h9.#")
        properties = Properties("application/json")
        await channel.consume(queue, lambda d: channel.outlet.publish("", d.reply_to, answer, properties), no_ack=True)
        settings = Settings(broker_url=broker_url, uri="test:///default", host="h9", state_dir=tmp_path)
        async with running(settings) as agent:
            with pytest.raises(HostTaken, match="another agent serves host 'h9'"):
                await asyncio.wait_for(agent.ended, 10)


async def test_an_agent_that_is_refused_keeps_nothing_and_says_nothing(
    broker_url: str, start_agent: Start, tmp_path: Path
) -> None:
    await start_agent("h9")
    refused = Settings(broker_url=broker_url, uri="test:///default", host="h9", state_dir=tmp_path / "other")
    async with hearing(broker_url, "h9.agent.#") as heard:
        async with running(refused) as agent:
            with pytest.raises(HostTaken):
                await asyncio.wait_for(agent.ended, 10)
        assert list(refused.state_path.iterdir()) == []
        assert {m.key for m in heard} <= {"h9.agent.heartbeat"}


async def test_confirms_that_come_after_a_session_count(
    own_broker: Broker, start_agent: Start, beside: libvirt.virConnect
) -> None:
    """A session may end while the connection is sound: what the broker confirms then is not sent again."""
    agent = await start_agent("h1", broker_url=own_broker.url)
    async with hearing(own_broker.url, "h1.domain.#") as heard:
        session, domain = agent._bus._session, beside.lookupByName("test")
        for _ in range(500):
            domain.suspend()
            domain.resume()
        async with asyncio.timeout(10):
            while len(agent._bus.outbox.unconfirmed) < 50:
                await asyncio.sleep(0)
        session.link.fail("the test says")
        unconfirmed = len(agent._bus.outbox.unconfirmed)
        await eventually(lambda: len({m.body["id"] for m in heard.events if m.key.endswith("ed")}) == 1000)
        repeats = len(heard.events) - len({m.body["id"] for m in heard.events})
        assert repeats < unconfirmed


async def test_a_stop_beside_a_frozen_broker_ends_in_time(own_broker: Broker, tmp_path: Path) -> None:
    settings = Settings(
        broker_url=own_broker.url, uri="test:///default", host="h1", state_dir=tmp_path / "h1", stop_grace=1
    )
    async with running(settings) as agent:
        await answering(own_broker.url, "h1")
        own_broker.freeze()
        await eventually(lambda: len(agent._bus.outbox) == 0)
        await asyncio.wait_for(agent.stop(), 10)


async def test_hosts_are_followed_over_a_restart_of_the_broker(own_broker: Broker, start_agent: Start) -> None:
    agent = await start_agent("h1", broker_url=own_broker.url)
    follower = await asyncio.create_subprocess_exec(
        COMMAND, "--broker", own_broker.url, "hosts", "h1", "--follow", stdout=asyncio.subprocess.PIPE
    )
    try:
        await asyncio.wait_for(_row(follower, "yes"), 10)
        await asyncio.to_thread(own_broker.stop)
        await asyncio.to_thread(own_broker.start)
        await asyncio.wait_for(_row(follower, "yes"), 40)
        await agent.stop()
        await asyncio.wait_for(_row(follower, "no,"), 20)
    finally:
        follower.kill()
        await follower.wait()


async def _row(process: asyncio.subprocess.Process, alive: str) -> None:
    """Wait for a row in which h1 is so."""
    assert process.stdout is not None
    while (line := (await process.stdout.readline()).decode()).split()[:2] != ["h1", alive]:
        assert line, "it has ended"
