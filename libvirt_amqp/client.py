"""A client for asyncio: calls with libvirt's own names, and what comes over the bus as an iterator.

async with connect("amqp://guest:guest@127.0.0.1:5672/") as client:
    print(await client.call(Address("host1", "connect"), "virConnectGetHostname"))
    async for message in client.subscribe({EVENTS: ["host1.#"]}):
        print(message.key, message.body)
"""

import asyncio
import itertools
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import orjson

from libvirt_amqp.broker import BrokerUnavailable, Channel, Link, open_link
from libvirt_amqp.delivery import Delivery
from libvirt_amqp.errors import DeadlinePassed, NoAnswer, Unroutable
from libvirt_amqp.jobs import ENDED, READY, STARTS_A_JOB
from libvirt_amqp.keys import ANY, RPC, Address, encode_word
from libvirt_amqp.messages import CALL_CONTENT_TYPE, parse_time, read_reply, request
from libvirt_amqp.wire import Properties

ANSWER_MARGIN = 2.0
"""Seconds that an answer may take after the deadline for the start of the call."""
SILENCE_SECONDS = 10.0
"""An agent tells of a call's progress each second: after so much silence it is lost."""

Progress = Callable[[dict[str, Any]], None]
"""Takes the `params` of a progress notification: id, number, elapsed, state, job."""


class Message(NamedTuple):
    """A CloudEvent as it came: `body` is the parsed JSON."""

    exchange: str
    key: str
    body: dict[str, Any]


class Waiting:
    """A call whose answer has not come."""

    def __init__(self, progress: Progress | None, *, is_for_any_host: bool) -> None:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.job_ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.progress = progress
        self.heard = asyncio.Event()
        self.refusals: list[bytes] | None = [] if is_for_any_host else None
        """What hosts answered that do not have the object, or cannot say."""

    def receive(self, body: bytes) -> None:
        """Take a message to this call: its answer, or news of its progress."""
        self.heard.set()
        if self.progress is not None and b'"progress"' in body[:64]:
            self._tell(self.progress, body)
        elif self.answer.done():
            return
        elif self.refusals is not None and b'"error"' in body and "error" in orjson.loads(body):
            self.refusals.append(body)  # another host may have the object
        else:
            self.answer.set_result(body)

    def _tell(self, progress: Progress, body: bytes) -> None:
        """Hand over news; what the caller's own function raises is the caller's, not the connection's."""
        try:
            news = orjson.loads(body)["params"]
            progress(news)
        except Exception as error:  # noqa: BLE001 (see above)
            waiting = self.job_ended if self.answer.done() else self.answer
            if not waiting.done():
                waiting.set_exception(error)
            return
        if news["state"] in {ENDED, READY} and not self.job_ended.done():
            self.job_ended.set_result(None)

    async def heard_of(self, what: asyncio.Future[Any]) -> None:
        """Wait for something as long as there is news.  Raises TimeoutError."""
        while not what.done():
            self.heard.clear()
            news = asyncio.ensure_future(self.heard.wait())
            try:
                done, _ = await asyncio.wait({what, news}, timeout=SILENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            finally:
                news.cancel()
            if not done:
                raise TimeoutError


class Client:
    """One connection; replies come to a queue of its own.  `connect` makes one."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._channel: Channel | None = None
        self._opening = asyncio.Lock()
        self._reply_to = ""
        self._ids = itertools.count(1)
        self._waiting: dict[str, Waiting] = {}
        """By correlation_id."""

    async def call(  # noqa: PLR0913 (an option each)
        self,
        address: Address,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: float = 60.0,  # noqa: ASYNC109 (it also bounds the start of the call at the agent)
        idempotency_key: str | None = None,
        progress: Progress | None = None,
    ) -> Any:
        """Call a function of an object and return its result.

        Raises CallError as the agent answered, Unroutable when no agent listens, NoAnswer when none came in time (a
        call that changes something may have been carried out), BrokerUnavailable when the connection is lost.
        A call to any host returns the first result; an error of one host (its libvirt is lost) is raised only when
        none came in time.
        With `progress` the call may take as long as the agent tells that it goes on; one that starts a job (block
        copy, commit, pull, backup) then returns when the job has ended or is ready.
        A host whose clock is ahead by more than `timeout` refuses the call at once and unseen; it is sent again, once,
        with the deadline by that clock.
        """
        end = datetime.now(UTC) + timedelta(seconds=timeout)
        try:
            return await self._call(address, method, params, end, timeout, idempotency_key, progress)
        except DeadlinePassed as error:
            left, moment = (end - datetime.now(UTC)).total_seconds(), _clock(error)
            if left <= 0 or moment is None or moment < end or address.host == ANY:
                raise
            deadline = moment + timedelta(seconds=left)
            return await self._call(address, method, params, deadline, left, idempotency_key, progress)

    async def _call(  # noqa: PLR0913 (as `call`)
        self,
        address: Address,
        method: str,
        params: Mapping[str, Any] | None,
        deadline: datetime,
        timeout: float,  # noqa: ASYNC109 (as `call`)
        idempotency_key: str | None,
        progress: Progress | None,
    ) -> Any:
        channel = await self._open()
        call_id = next(self._ids)
        # Every agent that we ever called knows our reply queue: none can answer for another without this.
        correlation_id = secrets.token_hex(16)
        body = request(
            method,
            dict(params or {}),
            call_id=call_id,
            deadline=deadline,
            idempotency_key=idempotency_key,
            identity=_identity_for_hashed(address),
            wants_progress=progress is not None,
        )
        waiting = self._waiting[correlation_id] = Waiting(progress, is_for_any_host=address.host == ANY)
        properties = Properties(CALL_CONTENT_TYPE, correlation_id=correlation_id, reply_to=self._reply_to)
        try:
            if not await channel.publish_mandatory(RPC, address.key(method), body, properties):
                raise Unroutable(f"no agent listens for host {address.host!r}")
            if progress is not None:
                return await self._follow(waiting, method)
            async with asyncio.timeout(timeout + ANSWER_MARGIN):
                reply = await self._or_lost(waiting.answer)
        except TimeoutError as error:
            if waiting.refusals:
                return read_reply(waiting.refusals[0])
            limit = SILENCE_SECONDS if progress is not None else timeout + ANSWER_MARGIN
            raise NoAnswer(f"no answer from {address.host} within {limit:g} s") from error
        finally:
            self._waiting.pop(correlation_id, None)
        return read_reply(reply)

    async def _follow(self, waiting: Waiting, method: str) -> Any:
        """Return the result of a call that tells of its progress."""
        await self._or_lost(waiting.heard_of(waiting.answer))
        result = read_reply(waiting.answer.result())
        if STARTS_A_JOB.fullmatch(method):
            try:
                await self._or_lost(waiting.heard_of(waiting.job_ended))
                waiting.job_ended.result()
            except TimeoutError as error:
                text = f"{method} was answered {result!r}, but nothing was heard of its job for {SILENCE_SECONDS:g} s"
                raise NoAnswer(text) from error
        return result

    async def subscribe(
        self, bindings: Mapping[str, Sequence[str]], limit: int = 100_000
    ) -> AsyncGenerator[Message, None]:
        """Yield what is published to exchanges under binding keys (`*` one word, `#` any number of words).

        A queue of this connection: what is published while nobody is subscribed does not come.  Raises
        BrokerUnavailable when the connection is lost.  `limit` messages may wait for the reader.
        The subscription ends with the iterator: when it is closed, or nobody has it any more.
        """
        channel = await self._link.channel(prefetch=0)
        try:
            queue: asyncio.Queue[Delivery] = asyncio.Queue(limit)
            name = await channel.declare_queue()
            for exchange, keys in bindings.items():
                await channel.declare_exchange(exchange, look_first=True)
                for key in keys:
                    await channel.bind(name, exchange, key)

            def receive(delivery: Delivery) -> None:
                if queue.full():
                    self._link.fail(f"the reader is {limit} messages behind")
                    return
                queue.put_nowait(delivery)

            await channel.consume(name, receive, no_ack=True)
            while True:
                delivery = await self._or_lost(queue.get())
                yield Message(delivery.exchange, delivery.key, orjson.loads(delivery.body))
        finally:
            await channel.close()

    async def _open(self) -> Channel:
        """Open the channel for calls and the queue for their replies at the first call."""
        async with self._opening:
            if self._channel is None:
                channel = await self._link.channel(confirms=True)
                try:
                    await channel.declare_exchange(RPC, look_first=True)
                    self._reply_to = await channel.declare_queue()
                    await channel.consume(self._reply_to, self._on_reply, no_ack=True)
                except BaseException:
                    await channel.close()
                    raise
                self._channel = channel
            return self._channel

    def _on_reply(self, delivery: Delivery) -> None:
        waiting = self._waiting.get(delivery.correlation_id or "")
        if waiting is not None:
            waiting.receive(delivery.body)

    async def _or_lost(self, what: Any) -> Any:
        """Await something, or raise BrokerUnavailable when the connection is lost first."""
        task = asyncio.ensure_future(what)
        try:
            await asyncio.wait({task, self._link.lost}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise BrokerUnavailable(f"connection lost: {self._link.lost.result()}")
        finally:
            task.cancel()


@asynccontextmanager
async def connect(url: str, name: str = "libvirt-amqp client") -> AsyncIterator[Client]:
    """Connect to a broker.  Raises BrokerUnavailable."""
    link = await open_link(url, name)
    try:
        yield Client(link)
    finally:
        await link.close()


def _clock(error: DeadlinePassed) -> datetime | None:
    """Return the time by the clock of the agent that refused."""
    try:
        return parse_time((error.data or {})["time"])
    except (ValueError, KeyError, TypeError):
        return None


def _identity_for_hashed(address: Address) -> dict[str, Any] | None:
    """Return the full identity when a word of the key is too long to stand in it."""
    if not any(encode_word(word).startswith("~") for word in address.words):
        return None
    return address.identity()
