"""AMQP 1.0 beside 0-9-1 on the same broker: Qpid Proton reads what the agent publishes, and calls it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import libvirt
import orjson
import pytest
from amqp10 import Proton, address
from conftest import TEST_UUID, Start, eventually
from proton import Message
from queues import declare
from raw import hearing_raw

from libvirt_amqp.keys import EVENTS, RPC, STATS, Address
from libvirt_amqp.messages import EVENT_CONTENT_TYPE, request
from libvirt_amqp.wire import Properties

REPLIES = "amqp10-replies"
SOURCES = {
    # An empty one is made and named by the broker; RabbitMQ has none such, and 4.0 wants a queue that is there.
    "rabbitmq": [f"/queue/{REPLIES}"],
    "rabbitmq4": [f"/queues/{REPLIES}", f"/amq/queue/{REPLIES}"],
    "brokerj": [""],
}
GET_TYPE = Address("h1", "connect").key("virConnectGetType")
XML = "<domain type='test'><name>d{}</name><memory>65536</memory><os><type>hvm</type></os></domain>"

Report = Callable[[str, object], None]


@asynccontextmanager
async def proton(url: str, *sources: str, target: str | None = None) -> AsyncIterator[Proton]:
    peer = Proton(url, *sources, target=target)
    await asyncio.to_thread(peer.__enter__)
    try:
        yield peer
    finally:
        await asyncio.to_thread(peer.__exit__, None, None, None)


@pytest.mark.feature("AMQP 1.0: a reader gets every event and sample, byte by byte")
async def test_an_amqp_1_0_reader_gets_every_event_and_sample_byte_by_byte(
    broker_url: str, broker_kind: str, start_agent: Start, record_property: Report
) -> None:
    sources = {exchange: address(broker_kind, exchange, "h1.#") for exchange in (EVENTS, STATS)}
    async with hearing_raw(broker_url, "h1.#") as heard, proton(broker_url, *sources.values()) as reader:
        # A sample lives as long as the interval: long enough for both readers, and many in a round.
        agent = await start_agent("h1", heartbeat_interval=1, stats_interval=2)
        await asyncio.to_thread(_cause, 500, 60)
        large = orjson.dumps({"text": "ü" * 1_000_000})
        heard.channel.outlet.publish(EVENTS, "h1.large", large, Properties(EVENT_CONTENT_TYPE, persistent=True))
        await eventually(lambda: len(heard.bodies(STATS)) > 100)
        await agent.stop()
        await eventually(lambda: any(m.key == "h1.agent.stopping" for m in heard))
        for exchange, source in sources.items():
            await eventually(lambda e=exchange, s=source: len(reader.bodies(s)) >= len(heard.bodies(e)))
            assert sorted(reader.bodies(source)) == sorted(heard.bodies(exchange))
        assert [b for b in reader.bodies(sources[EVENTS]) if b != large] == [
            b for b in heard.bodies(EVENTS) if b != large
        ], "the agent's own are in order"
        assert len(heard.bodies(EVENTS)) >= 1000
    record_property("cell", f"from `{sources[EVENTS]}`")


def _cause(count: int, domains: int) -> None:
    with libvirt.open("test:///default") as connection:
        for number in range(domains):
            connection.createXML(XML.format(number))
        domain = connection.lookupByName("test")
        for _ in range(count):
            domain.suspend()
            domain.resume()


@pytest.mark.feature("AMQP 1.0: a caller is answered")
async def test_an_amqp_1_0_caller_is_answered(
    broker_url: str, broker_kind: str, start_agent: Start, record_property: Report
) -> None:
    await start_agent("h1")
    if broker_kind == "rabbitmq4":
        await declare(broker_url, REPLIES)
    for source in SOURCES[broker_kind]:
        answer = await _answer(broker_url, broker_kind, source)
        assert orjson.loads(answer.body if isinstance(answer.body, str) else bytes(answer.body))["result"] == "TEST"
        assert answer.correlation_id == "mine"
    told = " or ".join(
        f"`{source}`" if source else "an address that the broker makes" for source in SOURCES[broker_kind]
    )
    record_property("cell", f"at {told}")


async def _answer(url: str, kind: str, source: str) -> Message:
    async with proton(url, source, target=address(kind, RPC, GET_TYPE)) as caller:
        body = request("virConnectGetType", {}, call_id=1)
        caller.send(
            Message(
                inferred=True,  # a data section, whose bytes are the body
                body=body,
                subject=GET_TYPE,  # on Broker-J the agent sees this, not the key in the address
                reply_to=caller.reply_to,
                correlation_id="mine",
            )
        )
        answers: list[Message] = await eventually(lambda: caller.messages)
        return answers[0]


@pytest.mark.feature("AMQP 1.0: the key of a request that the agent sees")
async def test_what_an_amqp_1_0_caller_may_choose_is_the_key_that_the_agent_sees(
    broker_url: str, broker_kind: str, start_agent: Start, record_property: Report
) -> None:
    """The address is one that a broker's permissions may allow, the subject another method on another object."""
    await start_agent("h1")
    suspend = Address("h1", "domain", (TEST_UUID,)).key("virDomainSuspend")
    target = address(broker_kind, RPC, GET_TYPE)
    async with hearing_raw(broker_url, "h1.#") as heard, proton(broker_url, target=target) as caller:
        body = request("virDomainSuspend", {}, call_id=1)
        caller.send(Message(inferred=True, body=body, subject=suspend, reply_to=heard.queue))
        answer = await eventually(lambda: _replies(heard))
    ran = answer[0].get("result") == 0
    record_property("cell", "the sender's subject" if ran else "the one it was routed by")
    if not ran:
        assert "routing key" in answer[0]["error"]["message"]


def _replies(heard: Any) -> list[dict[str, Any]]:
    return [orjson.loads(message.body) for message in heard if message.exchange == ""]
