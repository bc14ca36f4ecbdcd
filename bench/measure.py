"""What the benches share: processes and what they cost, a raw AMQP client that measures, medians, a table."""

import asyncio
import contextlib
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pamqp import base, commands, frame
from yarl import URL

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "scripts"))

from private_rabbitmq import PrivateRabbitMQ  # noqa: E402 (found by the line above)

from libvirt_amqp.client import connect  # noqa: E402
from libvirt_amqp.errors import CallError, Unroutable  # noqa: E402
from libvirt_amqp.keys import Address  # noqa: E402

HOST = "bench"
AGENT = (str(Path(sys.executable).parent / "libvirt-amqp"), "serve")
READY_SECONDS = 15.0
STOP_SECONDS = 15.0
FRAME_MAX = 131_072


# Processes


def run(main: Callable[[str], Coroutine[Any, Any, None]]) -> None:
    """Run a bench with the URL of a broker of its own."""
    with PrivateRabbitMQ() as broker:
        asyncio.run(main(broker.url))


def python(program: str, *arguments: str) -> tuple[str, ...]:
    """Return the command line of a program beside this one."""
    return sys.executable, str(HERE / program), *arguments


def agent_environment(broker_url: str, state: str, **settings: str) -> dict[str, str]:
    """Return the environment of an agent on the test driver; `settings` by their names in lower case."""
    values = {"broker_url": broker_url, "host": HOST, "uri": "test:///default", "state_dir": state}
    values |= {"log_level": "error"} | settings
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LIBVIRT_AMQP_")}
    return inherited | {f"LIBVIRT_AMQP_{name.upper()}": value for name, value in values.items()}


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Run a process with pipes to its standard input and output; it has ended when the block is left."""
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()


def ready(process: subprocess.Popen[str]) -> None:
    """Wait until a program of ours says that it is ready.  Raises RuntimeError when it ended instead."""
    assert process.stdout is not None
    if process.stdout.readline() != "ready\n":
        raise RuntimeError(f"{process.args!r} did not start")


async def tell(process: subprocess.Popen[str], line: str) -> str:
    """Write a line to a program of ours and return the line that it answers."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n")
    return await asyncio.to_thread(process.stdout.readline)


@contextmanager
def running_agent(broker_url: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """Run the agent as its users do."""
    with (
        tempfile.TemporaryDirectory(prefix="libvirt-amqp-bench-") as state,
        running(AGENT, agent_environment(broker_url, state, **settings)) as process,
    ):
        yield process


async def answering(broker_url: str, host: str = HOST) -> None:
    """Wait until the agent answers and its libvirt is connected."""
    end = time.monotonic() + READY_SECONDS
    async with connect(broker_url, "bench: is it there?") as client:
        while True:
            with contextlib.suppress(CallError, Unroutable):
                answer = await client.call(Address(host, "agent"), "ping", timeout=2)
                if answer["libvirt"]["connected"]:
                    return
            if time.monotonic() > end:
                raise TimeoutError(f"no agent within {READY_SECONDS} s")
            await asyncio.sleep(0.02)


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that the living threads of a process have used, by the scheduler's own counters."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


class Memory(NamedTuple):
    """MiB."""

    rss: float
    pss: float


def memory(pid: int) -> Memory:
    """Return what a process holds now."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}
    return Memory(kib["Rss"] / 1024, kib["Pss"] / 1024)


# The raw client


class Raw(asyncio.Protocol):
    """An AMQP client as thin as it gets, the same for everything that is measured: one channel, one queue, no ack.

    `on_message` is called with correlation_id and body; what it writes in one burst leaves in one write.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._answers: asyncio.Queue[base.Frame] = asyncio.Queue()
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._correlation_id, self._missing, self._parts = "", 0, [b""]
        self.on_message: Callable[[str, bytes], None] = lambda _correlation_id, _body: None
        self.queue = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"AMQP\0\0\x09\x01")

    def write(self, frames: bytes) -> None:
        """Send, joined with what else is written in this burst."""
        self._out.append(frames)

    def flush(self) -> None:
        assert self._transport is not None
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def data_received(self, data: bytes) -> None:
        buffer, at = self._buffer + data, 0
        while len(buffer) - at >= 7:
            kind, _, size = struct.unpack_from(">BHI", buffer, at)
            end = at + 7 + size + 1
            if len(buffer) < end:
                break
            self._on_frame(kind, buffer[at:end])
            at = end
        self._buffer = buffer[at:]
        self.flush()

    def _on_frame(self, kind: int, raw: bytes) -> None:
        if kind == 1 and raw[7:11] != b"\0\x3c\0\x3c":  # not basic.deliver
            answer: Any = frame.unmarshal(raw)[2]
            self._answers.put_nowait(answer)
        elif kind == 2:
            self._missing, self._correlation_id, self._parts = _read_header(raw[7:-1])
        elif kind == 3:
            self._parts.append(raw[7:-1])
            self._missing -= len(raw) - 8
            if self._missing == 0:
                self.on_message(self._correlation_id, b"".join(self._parts))

    async def ask(self, method: base.Frame, channel: int = 1) -> Any:
        """Send a method and return the next one that comes."""
        self.write(frame.marshal(method, channel))
        self.flush()
        return await self.answer()

    async def answer(self) -> Any:
        method: Any = await asyncio.wait_for(self._answers.get(), READY_SECONDS)
        if isinstance(method, commands.Connection.Close | commands.Channel.Close):
            raise ConnectionError(method.reply_text)
        return method

    async def open(self, url: URL) -> None:
        """Log in, open the channel, and consume from a queue of our own."""
        await self.answer()
        login = commands.Connection.StartOk({}, "PLAIN", f"\0{url.user}\0{url.password}", "en_US")
        tune = await self.ask(login, 0)
        self.write(frame.marshal(commands.Connection.TuneOk(tune.channel_max, FRAME_MAX, 0), 0))
        await self.ask(commands.Connection.Open("/"), 0)
        await self.ask(commands.Channel.Open())
        self.queue = (await self.ask(commands.Queue.Declare(exclusive=True))).queue
        await self.ask(commands.Basic.Consume(queue=self.queue, no_ack=True))

    async def listen(self, exchange: str, key: str) -> None:
        """Have what is published to a topic exchange come to the queue."""
        await self.ask(commands.Exchange.Declare(exchange=exchange, exchange_type="topic", durable=True))
        await self.ask(commands.Queue.Bind(queue=self.queue, exchange=exchange, routing_key=key))

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


def _read_header(payload: bytes) -> tuple[int, str, list[bytes]]:
    """Return size of the body, correlation_id, and no parts yet."""
    size, flags = struct.unpack_from(">QH", payload, 4)
    at = 14
    for bit in (15, 14):  # content_type, content_encoding
        at += 1 + payload[at] if flags >> bit & 1 else 0
    if flags >> 13 & 1:
        at += 4 + int(struct.unpack_from(">I", payload, at)[0])
    at += (flags >> 12 & 1) + (flags >> 11 & 1)
    correlation_id = payload[at + 1 : at + 1 + payload[at]].decode() if flags >> 10 & 1 else ""
    return size, correlation_id, []


@asynccontextmanager
async def raw_client(broker_url: str) -> AsyncIterator[Raw]:
    """Connect a raw client."""
    url = URL(broker_url)
    _, client = await asyncio.get_running_loop().create_connection(Raw, url.host or "", url.port or 5672)
    try:
        await client.open(url)
        yield client
    finally:
        client.close()


# Figures


async def until(fact: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
    """Wait until something is so.  Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s")
        await asyncio.sleep(0.002)


Row = Mapping[str, float]
"""One round's figures of one program."""


async def interleaved(programs: Mapping[str, Callable[[], Awaitable[Row]]], rounds: int) -> dict[str, dict[str, float]]:
    """Run every program once a round, in turn, and return the median of each figure."""
    seen: dict[str, list[Row]] = {name: [] for name in programs}
    for turn in range(rounds):
        for name in list(programs)[:: -1 if turn % 2 else 1]:
            seen[name].append(await programs[name]())
    return {
        name: {figure: statistics.median(row[figure] for row in rows) for figure in rows[0]}
        for name, rows in seen.items()
    }


def show(title: str, header: Sequence[str], rows: Sequence[Sequence[str | float]]) -> None:
    """Print a table: text to the left, figures to the right."""
    cells = [list(header), *([_shown(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    print(f"\n{title}\n")
    for row in cells:
        first, *rest = (
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print("  ".join((first, *rest)))


def _shown(cell: str | float) -> str:
    if isinstance(cell, str):
        return cell
    return f"{cell:.0f}" if abs(cell) >= 100 else f"{cell:.1f}" if abs(cell) >= 10 else f"{cell:.2f}"
