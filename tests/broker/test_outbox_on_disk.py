import asyncio
import contextlib
import json
import logging
import os
import random
import signal
import sqlite3
import struct
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import libvirt
import pytest
from brokers import Broker
from conftest import Start, answering, eventually, hearing
from namespaces import enter, unshare
from private_rabbitmq import PrivateRabbitMQ
from pydantic import SecretStr
from yarl import URL

from app import bus
from app.journal import FILE
from app.service import running
from app.settings import Settings
from libvirt_amqp.client import Message

log = logging.getLogger(__name__)

EVENTFUL = Path(__file__).parents[1] / "eventful.py"
KILLS = int(os.environ.get("KILLS", "5"))


class Eventful:
    """An agent that always has something to tell, in a process that can be killed."""

    def __init__(self, url: str, folder: Path, *, pause: float = 0.002, within: tuple[str, ...] = ()) -> None:
        settings = {"BROKER_URL": url, "HOST": "k1", "URI": "test:///default", "STATE_DIR": str(folder)}
        environment = {f"LIBVIRT_AMQP_{name}": value for name, value in settings.items()}
        environment |= {"PAUSE": str(pause), "PYTHONPATH": str(EVENTFUL.parents[1])}
        self.folder, self.log = folder, folder.with_suffix(".log")
        with self.log.open("ab") as log:
            command = (*within, sys.executable, str(EVENTFUL))
            self.process = subprocess.Popen(command, env=os.environ | environment, stderr=log)

    async def end(self, number: int) -> None:
        self.process.send_signal(number)
        await asyncio.to_thread(self.process.wait, 30)

    def said(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def last_on_disk(self) -> str | None:
        """Return the last sequence that a dead agent wrote down."""
        try:
            with contextlib.closing(sqlite3.connect(self.folder / FILE)) as file:
                found: str | None = file.execute("SELECT sequence FROM state").fetchone()[0]
                return found
        except sqlite3.OperationalError:  # killed before it made the file
            return None


def check_from(events: list[Message]) -> int:
    """Assert the same of a subscriber that came later than the first event."""
    ids = [message.body["id"] for message in events]
    numbers = sorted({int(sequence.split("-")[1]) for sequence in ids})
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    return len(ids) - len(numbers)


def check(events: list[Message]) -> int:
    """Assert that nothing is missing and the order is right; returns how many came more than once."""
    seen: dict[str, dict[str, Any]] = {}
    for message in events:
        body = message.body
        assert seen.setdefault(body["id"], body) == body, "a repeat is the same event"
    assert list(seen) == sorted(seen), "whoever drops repeats reads them in order"
    epochs: dict[str, list[int]] = {}
    for sequence in seen:
        epoch, number = sequence.split("-")
        epochs.setdefault(epoch, []).append(int(number))
    for numbers in epochs.values():
        assert numbers == list(range(1, len(numbers) + 1)), "no hole up to the last one"
    return len(events) - len(seen)


async def test_what_was_written_before_a_kill_arrives_after_it_and_nothing_is_missing(
    own_broker: Broker, tmp_path: Path
) -> None:
    chance = random.Random(5)
    async with hearing(own_broker.url, "k1.#") as heard:
        written: list[str] = []
        for turn in range(KILLS):
            agent = Eventful(own_broker.url, tmp_path / "state")
            before = len(heard.events)
            await eventually(lambda before=before: len(heard.events) > before + 20, 60)
            if turn % 2:  # the broker takes nothing, so that what is killed has a backlog
                own_broker.freeze()
            await asyncio.sleep(chance.uniform(0.05, 1.0))
            await agent.end(signal.SIGKILL)
            own_broker.thaw()
            written += filter(None, [agent.last_on_disk()])
        agent = Eventful(own_broker.url, tmp_path / "state")
        try:
            await eventually(lambda: written[-1] < heard.events[-1].body["id"], 60)
        finally:
            await agent.end(signal.SIGTERM)
        repeats = check(heard.events)
        assert set(written) <= {message.body["id"] for message in heard.events}
    log.info("%d kills, %d events, %d repeats", KILLS, len(heard.events), repeats)


def cause(count: int) -> None:
    """Have the test driver of this process announce events."""
    with libvirt.open("test:///default") as connection:
        domain = connection.lookupByName("test")
        for _ in range(count // 2):
            domain.suspend()
            domain.resume()


async def test_what_a_run_could_not_send_the_next_one_sends_first(own_broker: Broker, tmp_path: Path) -> None:
    """And a stop without a broker does not wait for one."""
    first = Eventful(own_broker.url, tmp_path / "state")
    await answering(own_broker.url, "k1")
    await asyncio.to_thread(own_broker.stop)
    await eventually(lambda: first.said("broker_unavailable"))
    await asyncio.sleep(0.5)  # events come, which nobody can see
    await asyncio.wait_for(first.end(signal.SIGTERM), 5)
    assert first.said("agent_stopped")[0]["unsent_events"] > 20
    await asyncio.to_thread(own_broker.start)
    async with hearing(own_broker.url, "k1.#") as heard:
        second = Eventful(own_broker.url, tmp_path / "state")
        await heard.of_type("agent.started")
        await second.end(signal.SIGTERM)
        await eventually(lambda: len([m for m in heard.events if m.body["type"].endswith("stopping")]) == 2)
        former = [m.body["id"] for m in heard.events][: first.said("agent_stopped")[0]["unsent_events"]]
        assert len({sequence.split("-")[0] for sequence in former}) == 1
        ids = [m.body["id"] for m in heard.events]
        assert ids == sorted(ids)
        stopping = next(at for at, m in enumerate(heard.events) if m.body["type"].endswith("agent.stopping"))
        assert heard.events[stopping + 1].body["type"].endswith("agent.started")


async def test_a_full_disk_is_said_once_and_events_go_on(broker_url: str, tmp_path: Path) -> None:
    """The folder is a file system of its own, so small that it is full at once, in a namespace of its own."""
    folder = tmp_path / "state"
    folder.mkdir()
    fill = f"dd if=/dev/zero of={folder}/filler bs=1k count=900 status=none"
    mount = f'mount -t tmpfs -o size=1m none {folder} && {fill} && exec "$@"'
    async with hearing(broker_url, "k1.#") as heard:
        agent = Eventful(broker_url, folder, pause=0.01, within=(*unshare("--mount"), "sh", "-c", mount, "sh"))
        try:
            await eventually(lambda: agent.said("outbox_not_on_disk"), 30)
            count = len(heard.events)
            await eventually(lambda: len(heard.events) > count + 200)
            inside = Path(f"/proc/{agent.process.pid}/root{folder}")
            remount = (*enter(agent.process.pid, "--mount"), "mount", "-o", "remount,size=64m", str(folder))
            await asyncio.to_thread(subprocess.run, remount, check=True)
            await eventually(lambda: agent.said("outbox_on_disk_again"), 30)
            assert (inside / FILE).stat().st_size > 0
            assert len(agent.said("outbox_not_on_disk")) == 1
        finally:
            await agent.end(signal.SIGTERM)
        await eventually(lambda: heard.events[-1].body["type"].endswith("agent.stopping"))
        assert check(heard.events) == 0


class Forgetful:
    """A proxy that keeps the broker's confirms back from all connections that are made while `forgets`."""

    def __init__(self, url: str) -> None:
        self._target = URL(url)
        self.forgets = True
        self.kept_back = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        yield str(self._target.with_host("127.0.0.1").with_port(port))
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passing = self._pass_frames if self.forgets else self._pass
        there = await asyncio.open_connection(self._target.host, self._target.port)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await asyncio.gather(self._pass(reader, there[1]), passing(there[0], writer))

    @staticmethod
    async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async def _pass_frames(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readexactly(7)
            kind, _, size = struct.unpack(">BHI", head)
            rest = await reader.readexactly(size + 1)
            if kind == 1 and rest[:4] == struct.pack(">HH", 60, 80):  # basic.ack
                self.kept_back += 1
            else:
                writer.write(head + rest)


async def test_a_confirm_that_never_comes_is_no_loss(
    broker_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Forgetful(broker_url)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(proxy.running())
        heard = await stack.enter_async_context(hearing(broker_url, "h1.#"))
        settings = Settings(broker_url=SecretStr(url), host="h1", uri="test:///default", state_dir=tmp_path)
        agent = await stack.enter_async_context(running(settings))
        await answering(broker_url, "h1")
        proxy.forgets = False
        monkeypatch.setattr(bus, "CONFIRM_SECONDS", 1.0)
        await asyncio.to_thread(cause, 20)
        await heard.of_type("domain.lifecycle", 40)  # each of them twice
        await eventually(lambda: len(agent._bus.outbox) == 0)
        assert proxy.kept_back
        assert check(heard.events) >= 20


@pytest.mark.feature("a memory alarm is waited for on the same connection")
@pytest.mark.only("rabbitmq", "rabbitmq4", because="Broker-J has no alarm that it tells its clients of")
async def test_a_memory_alarm_is_waited_for_on_the_same_connection(
    own_broker: PrivateRabbitMQ, start_agent: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus, "CONFIRM_SECONDS", 1.0)
    agent = await start_agent("h1", broker_url=own_broker.url)
    async with hearing(own_broker.url, "h1.#") as heard:
        session = agent._bus._session
        await asyncio.to_thread(own_broker.ctl, "set_vm_memory_high_watermark", "absolute", "1")
        await asyncio.to_thread(cause, 20)
        await eventually(session.link.is_blocked)
        await asyncio.sleep(4)  # much more than a confirm may take
        assert agent._bus._session is session
        assert len(agent._bus.outbox) > 0
        await asyncio.to_thread(own_broker.ctl, "set_vm_memory_high_watermark", "0.6")
        await heard.of_type("domain.lifecycle", 20)
        assert check_from(heard.events) == 0


@pytest.mark.only("rabbitmq", "rabbitmq4", because="Broker-J has no alarm that it tells its clients of")
async def test_a_stop_during_a_memory_alarm_is_quick_and_loses_nothing(
    own_broker: PrivateRabbitMQ, tmp_path: Path
) -> None:
    agent = Eventful(own_broker.url, tmp_path / "state")
    await answering(own_broker.url, "k1")
    await asyncio.to_thread(own_broker.ctl, "set_vm_memory_high_watermark", "absolute", "1")
    await asyncio.sleep(0.5)  # events come meanwhile
    await asyncio.wait_for(agent.end(signal.SIGTERM), 10 + 5)
    written = agent.last_on_disk()
    assert agent.said("agent_stopped")[0]["unsent_events"] > 0
    async with hearing(own_broker.url, "k1.#") as heard:
        again = Eventful(own_broker.url, tmp_path / "state")
        await asyncio.to_thread(own_broker.ctl, "set_vm_memory_high_watermark", "0.6")
        await eventually(lambda: written in {m.body["id"] for m in heard.events}, 30)
        await again.end(signal.SIGTERM)


async def test_an_epoch_is_later_than_the_last_one_also_without_the_file_of_the_state(
    broker_url: str, tmp_path: Path
) -> None:
    """As when the clock was set back: the last run's epoch lies in the future."""
    (tmp_path / "state.json").write_text('{"host": "h1", "epoch": 9000000000}')
    settings = Settings(broker_url=SecretStr(broker_url), host="h1", uri="test:///default", state_dir=tmp_path)
    async with hearing(broker_url, "h1.#") as heard:
        for _ in range(2):
            async with running(settings):
                await answering(broker_url, "h1")
            (tmp_path / "state.json").unlink()
        epochs = [m.body["id"].partition("-")[0] for m in await heard.of_type("agent.started", 2)]
        assert epochs == ["9000000001", "9000000002"]
