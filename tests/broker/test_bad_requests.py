"""Whatever is thrown at the agent: it answers or logs, and the next good call is served."""

import random
from typing import Any

import orjson
import pytest
from conftest import TEST_UUID, Start, eventually

from libvirt_amqp.client import Client
from libvirt_amqp.keys import Address
from libvirt_amqp.wire import Properties

KEY = f"h1.domain.{TEST_UUID}.virDomainGetInfo"
GOOD = {"jsonrpc": "2.0", "id": 1, "method": "virDomainGetInfo"}


class Sender:
    """Sends raw bodies and collects the raw answers."""

    def __init__(self, channel: Any, queue: str) -> None:
        self._channel, self._queue = channel, queue
        self.answers: list[dict[str, Any]] = []

    def send(self, body: bytes, key: str = KEY, *, reply: bool = True, correlation_id: str | None = None) -> None:
        properties = Properties(
            "application/json", reply_to=self._queue if reply else None, correlation_id=correlation_id
        )
        self._channel.outlet.publish("libvirt.rpc", key, body, properties)

    async def ask(self, body: bytes, key: str = KEY) -> dict[str, Any]:
        before = len(self.answers)
        self.send(body, key)
        await eventually(lambda: len(self.answers) > before)
        return self.answers[-1]


@pytest.fixture
async def sender(client: Client, start_agent: Start) -> Sender:
    await start_agent("h1", max_request_bytes=4096)
    channel = await client._link.channel()
    sender = Sender(channel, await channel.declare_queue())
    await channel.consume(sender._queue, lambda d: sender.answers.append(orjson.loads(d.body)), no_ack=True)
    return sender


def changed(**members: Any) -> bytes:
    return orjson.dumps({k: v for k, v in (GOOD | members).items() if v is not ...})


@pytest.mark.parametrize(
    ("body", "code", "says"),
    [
        (b"", -32700, "no JSON"),
        (b"{", -32700, "no JSON"),
        (b"\xff\xfe", -32700, "no JSON"),
        (b"[]", -32600, "batches"),
        (b"7", -32600, "object"),
        (b"{}", -32600, "jsonrpc"),
        (changed(jsonrpc="1.0"), -32600, "jsonrpc"),
        (changed(method=...), -32600, "method"),
        (changed(method=7), -32600, "method"),
        (changed(method="virDomainDestroy"), -32600, "routing key"),
        (changed(id=[1]), -32600, "id"),
        (changed().replace(b'"id":1', b'"id":18446744073709551616'), -32600, "64 bits"),
        (changed(dead_line="x"), -32600, "dead_line"),
        (changed(params=[1]), -32602, "by name"),
        (changed(params="x"), -32602, "by name"),
        (changed(deadline="tomorrow"), -32602, "RFC 3339"),
        (changed(deadline="2026-11-22T09:30:05"), -32602, "zone"),
        (changed(deadline=5), -32602, "RFC 3339"),
        (changed(deadline="2020-01-01T00:00:00Z"), 4, "deadline"),
        (changed(object={"class": "domain", "uuid": "other"}), -32600, "object"),
        (changed(object=7), -32600, "identity"),
        (changed(idempotency_key=""), -32600, "idempotency_key"),
        (changed(progress="yes"), -32600, "progress"),
        (changed(params={"x": "y" * 5000}), 8, "4096"),
        (changed(params={"flags": 1}).replace(b'{"flags":1}', b'{"x":' + b"[" * 900 + b"]" * 900 + b"}"), -32602, "x"),
    ],
)
async def test_a_bad_request_gets_its_own_error(sender: Sender, body: bytes, code: int, says: str) -> None:
    error = (await sender.ask(body))["error"]
    assert error["code"] == code
    assert says in error["message"]


@pytest.mark.parametrize(
    "key", ["h1.x", "h1.domain.y", "h1.domain.A.virDomainGetInfo", "h1.dragon.x.y", "h1.connect.%2e"]
)
async def test_a_bad_key_gets_an_error(sender: Sender, key: str) -> None:
    assert (await sender.ask(changed(), key))["error"]["code"] == -32600


async def test_the_answer_carries_the_id_whatever_was_wrong(sender: Sender) -> None:
    assert (await sender.ask(changed(id="abc", params=[])))["id"] == "abc"
    assert (await sender.ask(b"no"))["id"] is None


@pytest.mark.parametrize("sent", [-(2**63), 2**64 - 1, 0, "", "café"])
async def test_an_id_comes_back_as_it_was_sent(sender: Sender, sent: object) -> None:
    assert (await sender.ask(changed(id=sent)))["id"] == sent


async def test_a_notification_is_not_answered_even_when_it_is_wrong(sender: Sender) -> None:
    for wrong in ({"params": [1]}, {"deadline": "tomorrow"}, {"params": {"x": 1}}):
        sender.send(changed(id=..., **wrong))
    assert (await sender.ask(changed(id="after")))["id"] == "after"
    assert len(sender.answers) == 1


async def test_after_a_thousand_malformed_requests_a_good_one_is_answered(sender: Sender, client: Client) -> None:
    chance = random.Random(7)
    for _ in range(1000):
        body = bytearray(changed(params={"flags": 0}))
        for _ in range(chance.randint(1, 8)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        sender.send(bytes(body), reply=chance.random() < 0.5)
    sender.send(changed(id="the last"))
    answer = await eventually(lambda: [a for a in sender.answers if a["id"] == "the last"])
    assert answer[0]["result"]["state"] == 1
    assert await client.call(Address("h1", "connect"), "virConnectGetType") == "TEST"


async def test_bytes_that_are_not_utf_8_do_not_end_the_connection(sender: Sender, client: Client) -> None:
    sent = orjson.loads(changed(id="odd"))
    for odd in (
        {"correlation_id": "\udcff\udcfe"},
        {"message_id": "\udcc3"},
        {"type": "\udcff"},
        {"reply_to": "\udcff"},
    ):
        properties = Properties("application/json", **({"reply_to": sender._queue} | odd))
        sender._channel.outlet.publish("libvirt.rpc", KEY, orjson.dumps(sent), properties)
        sender._channel.outlet.publish("libvirt.rpc", "h1.\udcff.x", orjson.dumps(sent), properties)
    answers = await eventually(lambda: len(sender.answers) == 6 and sender.answers)
    assert sorted("result" in answer for answer in answers) == [False] * 3 + [True] * 3
    ping = await client.call(Address("h1", "agent"), "ping")
    assert ping["sequence"].endswith("2"), "no second session, no second libvirt-found"


async def test_an_answer_nobody_can_receive_does_no_harm(sender: Sender, client: Client) -> None:
    properties = Properties("application/json", reply_to="no-such-queue", correlation_id="x" * 255)
    for _ in range(50):
        sender._channel.outlet.publish("libvirt.rpc", KEY, changed(), properties)
        sender._channel.outlet.publish(
            "libvirt.rpc", KEY, changed(), Properties("text/plain", reply_to="libvirt.rpc.h1")
        )
    assert await client.call(Address("h1", "connect"), "virConnectGetType") == "TEST"
