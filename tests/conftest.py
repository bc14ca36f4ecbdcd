"""What every test with a broker uses: one real broker, agents, clients, and facts to wait for."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import conformance
import libvirt
import pytest
from brokers import KINDS, NAMES, Broker, divide, kind_at, software_at
from queues import delete_all

from app.service import Agent, running
from app.settings import Settings
from libvirt_amqp.broker import BrokerUnavailable
from libvirt_amqp.client import Client, Message, connect
from libvirt_amqp.errors import NoAnswer, Unroutable
from libvirt_amqp.keys import EVENTS, STATS, Address

TEST_UUID = "6695eb01-f6a4-8304-79aa-97f2502e193f"
"""The domain that test:///default begins with."""


LEFT_OUT = pytest.StashKey[dict[str, str]]()
SOFTWARE = pytest.StashKey[str]()
BROKER_KIND = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--broker", choices=KINDS, default="rabbitmq", help="the broker that is started for the tests")


def pytest_configure(config: pytest.Config) -> None:
    """Learn which broker it will be; that of BROKER_URL says so itself."""
    config.stash[conformance.CELLS] = {}
    url = os.environ.get("BROKER_URL")
    try:
        config.stash[BROKER_KIND] = kind_at(url) if url else config.getoption("--broker")
    except BrokerUnavailable as error:
        pytest.exit(f"BROKER_URL: {error}", returncode=1)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what this broker cannot have; nothing is left out without a word at the end."""
    is_foreign = "BROKER_URL" in os.environ
    kept, left = divide(items, config.stash[BROKER_KIND], is_foreign=is_foreign)
    for item in items:
        if item.nodeid in left:
            conformance.left_out(config.stash[conformance.CELLS], item, left[item.nodeid])
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in left])
    items[:] = kept
    config.stash[LEFT_OUT] = left


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    report = yield
    stash = item.config.stash
    conformance.told(stash[conformance.CELLS], stash[BROKER_KIND], item, report)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    stash = session.config.stash
    conformance.write(stash[conformance.CELLS], stash[BROKER_KIND], stash.get(SOFTWARE, "unknown"))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    terminalreporter.section(f"broker: {NAMES[config.stash[BROKER_KIND]]}", "-")
    left = config.stash.get(LEFT_OUT, {})
    for reason in sorted(set(left.values())):
        tests = [test for test, why in left.items() if why == reason]
        terminalreporter.line(f"LEFT OUT {len(tests)} {reason}")
        for test in tests:
            terminalreporter.line(f"    {test}")


@pytest.fixture(scope="session")
def broker_kind(pytestconfig: pytest.Config) -> str:
    return pytestconfig.stash[BROKER_KIND]


@pytest.fixture(scope="session")
def broker_url(broker_kind: str, pytestconfig: pytest.Config) -> Iterator[str]:
    """Yield the URL of a real broker: BROKER_URL's, or that of a private one of the kind that --broker says."""
    if url := os.environ.get("BROKER_URL"):
        yield url
        delete_all(url)
        return
    with KINDS[broker_kind]() as broker:
        pytestconfig.stash[SOFTWARE] = software_at(broker.url)
        yield broker.url


@pytest.fixture
def own_broker(broker_kind: str) -> Iterator[Broker]:
    """Yield a broker that this test may kill, freeze, stop and alarm."""
    with KINDS[broker_kind]() as broker:
        yield broker


@pytest.fixture
async def client(broker_url: str) -> AsyncIterator[Client]:
    async with connect(broker_url, "test") as client:
        yield client


Start = Callable[..., Any]


@pytest.fixture
async def start_agent(broker_url: str, tmp_path: Path) -> AsyncIterator[Start]:
    """Yield what starts an agent on the test driver and waits until it answers; it is stopped in the end."""
    async with AsyncExitStack() as stack:

        async def start(host: str = "h1", **settings: Any) -> Agent:
            defaults = {
                "broker_url": broker_url,
                "uri": "test:///default",
                "access": "full",
                "state_dir": tmp_path / host,
                "stats_interval": 0.5,
                "heartbeat_interval": 0.5,
                "stats_cpu_share": 100,  # at such an interval a round is over one percent
            }
            agent = await stack.enter_async_context(running(Settings(host=host, **(defaults | settings))))
            await answering(str(settings.get("broker_url", broker_url)), host)
            return agent

        yield start


@pytest.fixture
def beside() -> Iterator[libvirt.virConnect]:
    """Yield a connection past the agent; as long as it is open the test driver's objects stay, agent or not."""
    connection = libvirt.open("test:///default")
    yield connection
    connection.close()


async def answering(url: str, host: str, seconds: float = 15) -> dict[str, Any]:
    """Wait until the host's agent answers and its libvirt is connected."""

    async def ask() -> Any:
        try:
            async with connect(url, "test: is it there?") as client:
                answer = await client.call(Address(host, "agent"), "ping", timeout=2)
        except (Unroutable, NoAnswer, BrokerUnavailable):
            return None
        return answer if answer["libvirt"]["connected"] else None

    return await eventually(ask, seconds)


async def eventually(fact: Callable[[], Any], seconds: float = 10) -> Any:
    """Wait until `fact`, which may be a coroutine, is true, and return it."""
    end = time.monotonic() + seconds
    while True:
        value = fact()
        if asyncio.iscoroutine(value):
            value = await value
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s: {fact}"
        await asyncio.sleep(0.02)


class Heard(list[Message]):
    """The messages that a subscriber got, in their order."""

    async def of_type(self, kind: str, count: int = 1, **data: Any) -> list[Message]:
        """Wait for `count` messages of a type whose data has these members, and return them."""

        def found() -> list[Message]:
            return [
                m for m in self if m.body["type"] == f"org.libvirt.{kind}" and data.items() <= m.body["data"].items()
            ]

        return await eventually(lambda: found() if len(found()) >= count else None)

    @property
    def events(self) -> list[Message]:
        return [message for message in self if message.exchange == EVENTS]


@asynccontextmanager
async def hearing(url: str, key: str = "#") -> AsyncIterator[Heard]:
    """Subscribe to events and statistics; what comes is in the list."""
    heard = Heard()
    ready = asyncio.Event()
    async with connect(url, "test subscriber") as client:

        async def listen() -> None:
            messages = client.subscribe({EVENTS: [key], STATS: [key]})
            waiting = asyncio.ensure_future(anext(messages))
            await asyncio.sleep(0)
            ready.set()
            heard.append(await waiting)
            async for message in messages:
                heard.append(message)

        task = asyncio.create_task(listen())
        await ready.wait()
        await asyncio.sleep(0.2)  # the bindings are made by then: a subscriber cannot see its own
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
