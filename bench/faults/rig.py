"""What a fault is put into: a broker, a libvirtd, an agent, who changes things, and two who read what comes of it."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aio_pika
import orjson
from account import STEPS, Account, Happening, Message, Table, balance, read, step
from measure import AGENT, agent_environment, python, ready, running, tell
from private_libvirtd import PrivateLibvirtd
from private_rabbitmq import PrivateRabbitMQ

from libvirt_amqp.broker import BrokerUnavailable
from libvirt_amqp.client import connect
from libvirt_amqp.errors import CallError, NoAnswer, Unroutable
from libvirt_amqp.fleet import Event, Fleet, Missed, Snapshot
from libvirt_amqp.keys import EVENTS, Address

QUEUE = "faults"
READ_SECONDS = 300.0
SETTLED_SECONDS = 30.0
LATE_SECONDS = 1.0
"""After everything is there, what comes too often has this time to show."""
PAUSED = 3
"""VIR_DOMAIN_PAUSED"""


class Known:
    """What somebody knows who follows by the subscriber of the client library."""

    def __init__(self) -> None:
        self.table: Table = {}
        self.is_begun = False
        self.missed: list[Missed] = []

    async def follow(self, fleet: Fleet, host: str) -> None:
        async for item in fleet.events(hosts=[host]):
            if isinstance(item, Snapshot):
                self.is_begun = True
                self.table = {
                    f"{s.object['class']}/{s.object['uuid']}": [
                        s.state["active"],
                        s.state["persistent"],
                        s.state.get("state") == PAUSED,
                    ]
                    for s in item.objects
                    if "persistent" in s.state
                }
            elif isinstance(item, Missed):
                self.missed.append(item)
            elif isinstance(item, Event) and ".lifecycle." in item.key and item.object["class"] != "node-device":
                step(self.table, str(item.body["subject"]), item.happened)


class Rig:
    """One fault's; `running` is how to use it."""

    def __init__(self, fault: str, broker: PrivateRabbitMQ | None, url: str, folder: Path) -> None:
        self.fault = fault
        self.host = f"faults-{fault.replace(' ', '-')}"
        self.broker_url = url
        self.agent_url = url
        self.state = folder / "state"
        self.log = folder / "agent.log"
        self.silent: list[Happening] = []
        """What was done while libvirt could not announce it."""
        self.last: Table = {}
        """What there was before the fault."""
        self.clock_steps = 0.0
        """The agent's clock is off by a multiple of so many seconds."""
        self._began = time.time()
        self.environment: dict[str, str] = {}
        self.queue_arguments: dict[str, Any] = {}
        self.stack = AsyncExitStack()
        """What is open until the account is drawn up."""
        self._broker = broker
        self._folder = folder
        self._heard = folder / "heard"
        self._messages: list[Message] = []
        self._known = Known()
        self._queue = f"{QUEUE}.{self.host}"

    @property
    def has_broker(self) -> bool:
        return self._broker is not None

    @property
    def broker(self) -> PrivateRabbitMQ:
        assert self._broker is not None, "a fault of the broker needs one of its own"
        return self._broker

    async def begin(self, daemon: PrivateLibvirtd, uri: str, rate: float) -> None:
        """Start everything, the queue first, and let things change."""
        self.uri = uri
        folder = daemon.socket.parents[2] / "data"
        command = python("faults/provoker.py", uri, str(self._heard), str(folder))
        self._provoker = self.stack.enter_context(running(command))
        await asyncio.to_thread(ready, self._provoker)
        self._before = await self.now()
        await self._declare()
        self.start_agent()
        await self.until(self.is_answering)
        await self.stack.enter_async_context(self._following())
        await self.until(lambda: self._known.is_begun)
        await self.rate(rate)

    async def close(self) -> None:
        self.kill_agent()
        await self.stack.aclose()

    @asynccontextmanager
    async def _following(self) -> AsyncIterator[None]:
        async with Fleet(self.broker_url) as fleet:
            task = asyncio.create_task(self._known.follow(fleet, self.host))
            yield
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    # The agent

    def start_agent(self) -> None:
        settings = {"uri": self.uri, "host": self.host, "access": "full", "log_format": "json"}
        settings |= {"heartbeat_interval": "0.5", "log_level": "info"}
        environment = agent_environment(self.agent_url, str(self.state), **settings) | self.environment
        with self.log.open("ab") as log:
            self.agent = subprocess.Popen(AGENT, env=environment, stdout=log, stderr=log)

    def kill_agent(self) -> None:
        with contextlib.suppress(ProcessLookupError, AttributeError):
            self.agent.send_signal(signal.SIGKILL)
            self.agent.wait()

    async def ping(self) -> dict[str, Any] | None:
        try:
            async with connect(self.broker_url, "faults: is it there?") as client:
                answer = await client.call(Address(self.host, "agent"), "ping", timeout=2)
        except (CallError, Unroutable, NoAnswer, BrokerUnavailable):
            return None
        return answer if answer["libvirt"]["connected"] else None

    async def is_answering(self) -> bool:
        return await self.ping() is not None

    def said(self, word: str) -> int:
        """Return how often the agent's log has a word."""
        return self.log.read_text().count(word)

    async def until(self, fact: Callable[[], Any], seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while True:
            value = fact()
            if isinstance(value, Awaitable):
                value = await value
            if value:
                return
            if time.monotonic() > end:
                raise TimeoutError(f"{self.fault}: not within {seconds} s: {fact}; {self.log.read_text()[-2000:]}")
            await asyncio.sleep(0.05)

    # Who changes things

    async def rate(self, changes_per_second: float) -> None:
        await tell(self._provoker, json.dumps(["rate", changes_per_second]))

    async def now(self) -> Table:
        """Return what libvirt says."""
        table: Table = json.loads(await tell(self._provoker, json.dumps(["list"])))
        return table

    def heard(self) -> list[Happening]:
        """Return what libvirt announced, with what it could not announce, by its moment."""
        lines = [json.loads(line) for line in self._heard.read_text().splitlines()]
        announced = [Happening(moment, f"{cls}/{whose}", word) for moment, cls, whose, word in lines if word in STEPS]
        known = {h[1:] for h in announced}
        return sorted(announced + [h for h in self.silent if h[1:] not in known])

    # What came

    async def account(self, note: str = "") -> Account:
        """Let nothing more change, wait until everything is there, and draw up the account."""
        await self.rate(0)
        await self.until(self.is_answering)
        async with self._reading():
            await self.until(self._is_read, READ_SECONDS)
            end = time.monotonic() + SETTLED_SECONDS
            while not (account := await self._balance()).is_clean and time.monotonic() < end:
                await asyncio.sleep(0.25)
            await asyncio.sleep(LATE_SECONDS)
            account = await self._balance()
        account.note = note
        if account.ahead:
            account.note += f"; {account.ahead} events came that were not on disk when the agent was killed"
        return account

    async def _is_read(self) -> bool:
        """Say whether everything that the agent gave a number has come."""
        answer = await self.ping()
        last = max((message.id for message in self._messages), default="")
        return answer is not None and answer["pending"] == 0 and last >= answer["sequence"]

    async def _balance(self) -> Account:
        after = await self.now()
        account = balance(self.fault, self._before, after, self.heard(), list(self._messages), self._correct)
        if not await self._is_read():
            account.untold += 1
            account.details.append("there is more to come")
        account.fleet = self._known.table == after
        return account

    def _correct(self, moment: float) -> float:
        step = self.clock_steps
        return moment + step * round((self._began - moment) / step) if step else moment

    async def _declare(self) -> None:
        connection = await aio_pika.connect(self.broker_url)
        async with connection, connection.channel() as channel:
            exchange = await channel.declare_exchange(EVENTS, aio_pika.ExchangeType.TOPIC, durable=True)
            queue = await channel.declare_queue(self._queue, durable=True, arguments=self.queue_arguments)
            await queue.bind(exchange, f"{self.host}.#")

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        """Read the durable queue as any client would."""
        connection = await aio_pika.connect(self.broker_url)
        async with connection, connection.channel() as channel:
            await channel.set_qos(1000)
            queue = await channel.get_queue(self._queue)

            async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
                self._messages.append(read(message.routing_key or "", orjson.loads(message.body), self._correct))
                await message.ack()

            await queue.consume(take)
            yield
            await queue.delete(if_unused=False, if_empty=False)


@asynccontextmanager
async def rig(fault: str, url: str | None, extra: str = "") -> AsyncIterator[Rig]:
    """Yield what a fault needs, on a broker of its own unless a URL is given."""
    with contextlib.ExitStack() as stack:
        broker = None if url else await asyncio.to_thread(stack.enter_context, PrivateRabbitMQ(extra))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="libvirt-amqp-faults-")))
        one = Rig(fault, broker, broker.url if broker else str(url), folder)
        one.state.mkdir()
        try:
            yield one
        finally:
            await one.close()
            if keep := os.environ.get("FAULTS_LOG"):
                Path(keep).write_bytes(one.log.read_bytes())
