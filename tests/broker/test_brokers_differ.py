"""What brokers do differently below the agent, and that the same comes of it."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from aiormq.exceptions import AMQPError
from brokers import Broker
from conftest import TEST_UUID, Start, eventually
from followed import A, following
from hand_made import HandMadeHost, hand_made
from queues import declare, delete

from libvirt_amqp.broker import BrokerUnavailable, Channel, QueueHeld, open_link
from libvirt_amqp.client import Client, connect
from libvirt_amqp.errors import Unroutable
from libvirt_amqp.fleet import Event
from libvirt_amqp.keys import EVENTS, RPC, STATS, Address
from libvirt_amqp.messages import CALL_CONTENT_TYPE, EVENT_CONTENT_TYPE, request
from libvirt_amqp.wire import ConfirmedOutlet, Properties

Report = Callable[[str, object], None]

CONNECT, TEST = Address("h1", "connect"), Address("h1", "domain", (TEST_UUID,))
LIMIT = 5
NEWEST: dict[str, dict[str, Any]] = {
    "rabbitmq": {"x-max-length": LIMIT},
    "brokerj": {"qpid.max_count": LIMIT, "qpid.policy_type": "RING"},
}
REFUSING: dict[str, dict[str, Any]] = {
    "rabbitmq": {"x-max-length": LIMIT, "x-overflow": "reject-publish"},
    "brokerj": {"qpid.max_count": LIMIT, "qpid.policy_type": "REJECT"},
}


def _told(arguments: dict[str, Any]) -> str:
    return f"`{', '.join(f'{name}={value}' for name, value in arguments.items())}`"


@pytest.mark.feature("a call for a host without an agent comes back at once")
async def test_a_call_for_a_host_without_an_agent_comes_back_at_once(
    broker_url: str, start_agent: Start, record_property: Report
) -> None:
    await start_agent("h1")
    async with connect(broker_url) as client:
        with pytest.raises(Unroutable):
            await client.call(Address("nobody", "connect"), "virConnectGetType", timeout=30)
        assert await client.call(CONNECT, "virConnectGetType") == "TEST", "on the same channel"
        frames = await _frames_of_a_return(client)
    record_property("cell", frames)


async def _frames_of_a_return(client: Client) -> str:
    """Return what the broker sends for a mandatory message that no queue takes, in its order."""
    channel = await client._link.channel(confirms=True)
    came: list[str] = []
    for name in ("_on_return_frame", "_on_confirm_frame"):
        _note(channel, name, came)
    body, properties = request("virConnectGetType", {}, call_id=1), Properties(CALL_CONTENT_TYPE)
    assert not await channel.publish_mandatory(RPC, "nobody.connect.virConnectGetType", body, properties)
    await eventually(lambda: len(came) == 2)
    return ", then ".join(came)


def _note(channel: Channel, name: str, came: list[str]) -> None:
    inside: Any = channel._underlay
    former = getattr(inside, name)

    async def noted(frame: Any) -> None:
        came.append(type(frame).__name__.lower())
        await former(frame)

    setattr(inside, name, noted)


@pytest.mark.feature("a sample lives as long as it is of use, and no longer")
async def test_a_sample_lives_as_long_as_it_is_of_use_and_no_longer(broker_url: str, record_property: Report) -> None:
    link = await open_link(broker_url, "test: lifetimes")
    channel = await link.channel()
    await channel.declare_exchange(STATS)
    queue = await channel.declare_queue()
    await channel.bind(queue, STATS, "lives.#")

    def publish(word: str, expiration: str | None) -> None:
        properties = Properties(EVENT_CONTENT_TYPE, expiration=expiration)
        channel.outlet.publish(STATS, f"lives.{word}", word.encode(), properties)

    publish("short", link.expiration(0.2))
    publish("long", link.expiration(60))
    publish("span", "60000")
    publish("last", None)
    over = time.monotonic() + 1
    await eventually(lambda: time.monotonic() > over)
    got: list[bytes] = []
    await channel.consume(queue, lambda delivery: got.append(delivery.body), no_ack=True)
    await eventually(lambda: b"last" in got)
    await link.close()
    assert b"long" in got
    assert b"short" not in got
    record_property("cell", f"`expiration` is {'a span' if b'span' in got else 'a moment since 1970'}, in ms")


@pytest.mark.feature("a queue that another connection holds is told from every other failure")
async def test_a_queue_that_another_connection_holds_is_told_from_every_other_failure(
    broker_url: str, record_property: Report
) -> None:
    holder, other = await open_link(broker_url, "test: holder"), await open_link(broker_url, "test: other")
    await (await holder.channel()).declare_queue("libvirt.rpc.held")
    channel = await other.channel()
    with pytest.raises(QueueHeld):
        await channel.declare_queue("libvirt.rpc.held")
    try:
        await asyncio.wait_for(other.channel(), 5)
        closed = "the channel"
    except (BrokerUnavailable, TimeoutError):
        closed = "the connection"
    for link in (other, holder):
        await link.close()
    record_property("cell", f"{closed} is closed")


@pytest.mark.feature("a bounded queue of one's own that keeps the newest")
async def test_a_bounded_queue_keeps_the_newest(broker_url: str, broker_kind: str, record_property: Report) -> None:
    arguments = NEWEST["brokerj" if broker_kind == "brokerj" else "rabbitmq"]
    await declare(broker_url, "newest", "newest.#", **arguments)
    async with hand_made(broker_url, "newest") as host:
        host.has_snapshots = False
        for number in range(3 * LIMIT):
            host.change(A, active=number % 2 == 0)
        await _has_settled(host, "newest")
        async with following(broker_url, queue="newest") as followed:
            await followed.count(Event, LIMIT)
            numbers = range(2 * LIMIT + 1, 3 * LIMIT + 1)
            assert [e.sequence for e in followed.of(Event)] == [f"0000000001-{number:015}" for number in numbers]
    record_property("cell", _told(arguments))


async def _has_settled(host: HandMadeHost, queue: str) -> None:
    """Wait until what was published stands in the queue, and no more of it."""

    async def count() -> bool:
        declared = await host._channel._underlay.queue_declare(queue, passive=True)
        return declared.message_count == LIMIT

    await host._channel.outlet.flush()
    await eventually(count)


@pytest.mark.feature("a bounded queue of one's own that refuses when it is full: the agent counts")
async def test_what_a_full_queue_refuses_is_counted_and_nobody_else_is_held_up(
    broker_url: str, broker_kind: str, start_agent: Start, client: Client, record_property: Report
) -> None:
    arguments = REFUSING["brokerj" if broker_kind == "brokerj" else "rabbitmq"]
    await declare(broker_url, "full", "h1.#", **arguments)
    agent = await start_agent("h1")
    for _ in range(2 * LIMIT):
        await client.call(TEST, "virDomainSuspend")
        await client.call(TEST, "virDomainResume")
    await eventually(lambda: len(agent._bus.outbox) == 0)
    async with following(broker_url, queue="full") as followed:
        await followed.count(Event, LIMIT)
    await delete(broker_url, "full")
    if broker_kind == "brokerj":
        assert agent._bus.refused == 0, "if Broker-J has learnt to say so, the page has to say so too"
        record_property("cell", "no: `REJECT` drops and confirms; a reader sees the hole")
    else:
        assert agent._bus.refused > 0
        record_property("cell", _told(arguments))


@pytest.mark.feature("a durable queue of one's own outlives the broker's kill")
async def test_a_durable_queue_of_ones_own_outlives_the_brokers_kill(own_broker: Broker) -> None:
    await declare(own_broker.url, "kept", "m1.#")
    link = await open_link(own_broker.url, "test: events")
    outlet = (await link.channel(pipelined=True)).outlet
    assert isinstance(outlet, ConfirmedOutlet)
    taken: list[bool] = []
    for number in range(20):
        properties = Properties(EVENT_CONTENT_TYPE, persistent=True)
        outlet.publish_confirmed(EVENTS, "m1.kept", str(number).encode(), properties, taken.append)
    await eventually(lambda: len(taken) == 20)
    own_broker.kill()
    await asyncio.to_thread(own_broker.start)
    got: list[bytes] = []
    again = await open_link(own_broker.url, "test: events")
    await (await again.channel()).consume("kept", lambda delivery: got.append(delivery.body), no_ack=True)
    await eventually(lambda: len(got) == 20)
    assert got == [str(number).encode() for number in range(20)]
    await again.close()


@pytest.mark.feature("direct reply-to (a caller that declares no queue)")
@pytest.mark.only("rabbitmq", "rabbitmq4", because="the caller declares a queue, as this client always does")
async def test_a_caller_may_use_direct_reply_to(broker_url: str, start_agent: Start) -> None:
    await start_agent("h1")
    link = await open_link(broker_url, "test: direct reply-to")
    channel = await link.channel()
    got: list[bytes] = []
    await channel.consume("amq.rabbitmq.reply-to", lambda delivery: got.append(delivery.body), no_ack=True)
    properties = Properties(CALL_CONTENT_TYPE, reply_to="amq.rabbitmq.reply-to")
    body = request("virConnectGetType", {}, call_id=1)
    channel.outlet.publish(RPC, CONNECT.key("virConnectGetType"), body, properties)
    await eventually(lambda: got)
    assert orjson.loads(got[0])["result"] == "TEST"
    await link.close()


async def test_a_broker_without_direct_reply_to_says_so(broker_url: str, broker_kind: str) -> None:
    """So that the row of direct reply-to is right about those that have it, and about those that have not."""
    link = await open_link(broker_url, "test: direct reply-to")
    channel = await link.channel()
    try:
        await channel.consume("amq.rabbitmq.reply-to", lambda _: None, no_ack=True)
        has = True
    except (BrokerUnavailable, AMQPError):
        has = False
    await link.close()
    assert has == (broker_kind != "brokerj")


async def test_a_broker_that_does_not_tell_of_alarms_does_not_promise_to(broker_url: str, broker_kind: str) -> None:
    """So that the row of the memory alarm is right about those that have it, and about those that have not."""
    link = await open_link(broker_url, "test: capabilities")
    tells = bool(link.underlay.server_properties["capabilities"].get("connection.blocked"))
    await link.close()
    assert tells == (broker_kind != "brokerj")
