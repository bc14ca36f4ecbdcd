"""The roles of docs/operations.md, made by the very commands that stand there: what each may do, and may not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiormq.exceptions import AMQPError
from conftest import TEST_UUID, Start, eventually
from documented import blocks, run_as_written
from followed import A, B, following
from hand_made import hand_made
from pamqp.commands import Basic
from private_rabbitmq import PrivateRabbitMQ
from yarl import URL

from app.claim import HostTaken
from app.service import Agent, running
from app.settings import Settings
from libvirt_amqp.broker import BrokerUnavailable, Channel, open_link
from libvirt_amqp.cli.watch import is_wanted
from libvirt_amqp.client import Message, connect
from libvirt_amqp.delivery import Delivery
from libvirt_amqp.errors import NoAnswer
from libvirt_amqp.fleet import Event, Snapshot
from libvirt_amqp.keys import EVENTS, RPC, STATS, Address
from libvirt_amqp.messages import CALL_CONTENT_TYPE, EVENT_CONTENT_TYPE, cloud_event, request
from libvirt_amqp.wire import Properties

PASSWORDS = {
    "host1": "secret1",
    "host2": "secret2",
    "monitor": "secret3",
    "monitor1": "secret4",
    "subscriber": "secret5",
    "operator": "secret6",
    "recorder": "secret7",
}
REFUSED = "ACCESS_REFUSED"

pytestmark = pytest.mark.only(
    "rabbitmq", because="the roles are made by RabbitMQ's commands, on a RabbitMQ 3 of their own"
)
DOMAIN = Address("host1", "domain", (TEST_UUID,))
BODY = Properties(EVENT_CONTENT_TYPE)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRabbitMQ]:
    """Yield a broker that has the roles as documented."""
    folder: Path = tmp_path_factory.mktemp("roles")
    (exchanges,) = blocks("4. Permissions", "json")
    (folder / "exchanges.json").write_text(exchanges)
    with PrivateRabbitMQ() as broker:
        run_as_written("".join(blocks("4. Permissions", "sh")), broker, folder)
        yield broker


@pytest.fixture(scope="module")
def broker_url(broker: PrivateRabbitMQ) -> str:
    return broker.url


@pytest.fixture
def be(broker_url: str) -> Any:
    """Return the broker's URL for a user."""

    def url(user: str) -> str:
        return str(URL(broker_url).with_user(user).with_password(PASSWORDS[user]))

    return url


@pytest.fixture
async def host1(start_agent: Start, be: Any) -> Agent:
    """Return an agent that has the permissions of one, and is asked whether it is there with them."""
    return await start_agent("host1", broker_url=be("host1"))


@asynccontextmanager
async def channel_of(url: str, **options: Any) -> AsyncIterator[Channel]:
    link = await open_link(url, "test")
    try:
        yield await link.channel(**options)
    finally:
        await link.close()


async def refuses(url: str, exchange: str, key: str, body: bytes = b"{}") -> bool:
    """Publish, and say whether the broker refused to take it."""
    async with channel_of(url, confirms=True) as channel:
        try:
            await channel.publish_mandatory(exchange, key, body, BODY)
        except BrokerUnavailable as error:
            return REFUSED in str(error)
    return False


async def refusal(doing: Awaitable[Any]) -> str:
    """Return how the broker refuses something."""
    with pytest.raises(BrokerUnavailable) as caught:
        await doing
    return str(caught.value)


async def call(url: str, address: Address, method: str, **params: Any) -> Any:
    async with connect(url, "test") as client:
        return await client.call(address, method, params, timeout=5)


async def first(url: str, exchange: str, key: str) -> Message:
    """Return the first message that comes under a binding key."""
    async with connect(url, "test") as client:
        messages = client.subscribe({exchange: [key]})
        return await asyncio.wait_for(anext(messages), 10)


def suspended(host: str) -> bytes:
    address = Address(host, "domain", (TEST_UUID,))
    data = {"object": address.identity() | {"name": "test", "id": 1}, "event": 3, "detail": 0, "names": {}}
    number = "1000000000-000000000000001"
    extensions = {"sequence": number}
    return cloud_event(
        address, "domain.lifecycle", data, event_id=number, time="2026-01-01T00:00:00Z", extensions=extensions
    )


# An agent


async def test_an_agent_serves_its_host(host1: Agent, be: Any) -> None:
    hearing = asyncio.create_task(first(be("monitor"), EVENTS, "host1.domain.*.lifecycle.suspended"))
    await eventually(lambda: _bound(be, hearing))
    assert await call(be("operator"), DOMAIN, "virDomainSuspend") == 0
    assert (await hearing).body["data"]["object"]["name"] == "test"
    await call(be("operator"), DOMAIN, "virDomainResume")
    assert len(host1._bus.outbox) == 0 or await eventually(lambda: not len(host1._bus.outbox))


async def _bound(be: Any, hearing: Any) -> bool:
    """What is published reaches a subscriber from now on: one that began later has had a heartbeat."""
    await first(be("monitor"), STATS, "host1.agent.heartbeat")
    return not hearing.done()


async def test_an_agent_that_may_not_make_the_exchanges_says_that_they_are_missing(
    broker: PrivateRabbitMQ, be: Any
) -> None:
    broker.ctl("add_vhost", "empty")
    broker.ctl("set_permissions", "-p", "empty", "host1", "^libvirt.rpc", ".*", ".*")
    async with channel_of(str(URL(be("host1")).with_path("/empty"))) as channel:
        text = await refusal(channel.declare_exchange(EVENTS, STATS, RPC))
        assert "no exchange 'libvirt.events' in vhost 'empty', and this user may not make it: ACCESS_REFUSED" in text
        assert not channel.link.lost.done()


async def test_calls_that_are_refused_leave_no_channel_open(broker: PrivateRabbitMQ, be: Any) -> None:
    broker.ctl("add_vhost", "bare")
    broker.ctl("set_permissions", "-p", "bare", "operator", "^amq.gen", ".*", ".*")
    async with connect(str(URL(be("operator")).with_path("/bare")), "test") as client:
        for _ in range(3):
            assert "exchange 'libvirt.rpc'" in await refusal(client.call(DOMAIN, "virDomainSuspend"))
        assert "bare" not in broker.ctl("list_channels", "vhost")


async def test_a_health_check_with_the_agents_own_user_reaches_it(host1: Agent, be: Any) -> None:
    answer = await call(be("host1"), Address(host1.host, "agent"), "ping")
    assert answer["instance"] == host1.instance


async def test_a_second_agent_of_the_same_name_is_told_so(host1: Agent, be: Any, tmp_path: Path) -> None:
    settings = Settings(broker_url=be("host1"), uri="test:///default", host="host1", state_dir=tmp_path / "other")
    async with running(settings) as second:
        with pytest.raises(HostTaken, match=f"another agent serves host 'host1': instance {host1.instance}"):
            await asyncio.wait_for(second.ended, 15)


async def test_an_agent_cannot_take_the_queue_of_another_host(be: Any) -> None:
    async with channel_of(be("host1")) as channel:
        assert REFUSED in await refusal(channel.declare_queue("libvirt.rpc.host2"))


@pytest.mark.parametrize("exchange", [EVENTS, STATS, RPC])
async def test_an_agent_cannot_publish_under_the_name_of_another_host(be: Any, exchange: str) -> None:
    for key in ("host2.agent.heartbeat", "host10.agent.heartbeat", "host2.domain.x.virDomainDestroy", "any.connect.x"):
        assert await refuses(be("host1"), exchange, key), key


async def test_an_agent_cannot_call_its_own_host_either(be: Any) -> None:
    assert await refuses(be("host1"), RPC, "host1.connect.virConnectListAllSecrets")


@pytest.mark.parametrize("key", ["host2.#", "#", "*.connect.*", "any.#", "host1"])
async def test_an_agent_cannot_read_the_calls_for_another_host(be: Any, key: str) -> None:
    async with channel_of(be("host1")) as channel:
        queue = await channel.declare_queue()
        assert REFUSED in await refusal(channel.bind(queue, RPC, key))


@pytest.mark.parametrize("exchange", [EVENTS, STATS])
async def test_an_agent_cannot_read_what_hosts_say(be: Any, exchange: str) -> None:
    async with channel_of(be("host1")) as channel:
        queue = await channel.declare_queue()
        assert REFUSED in await refusal(channel.bind(queue, exchange, "host1.#"))


@pytest.mark.parametrize("user", PASSWORDS)
async def test_nobody_can_delete_an_exchange(be: Any, user: str) -> None:
    async with channel_of(be(user)) as channel:
        with pytest.raises(AMQPError, match=REFUSED):
            await channel._underlay.exchange_delete(EVENTS)


async def test_a_request_put_straight_into_an_agents_queue_is_refused(host1: Agent, be: Any) -> None:
    answers: list[Delivery] = []
    async with channel_of(be("host2")) as channel:
        queue = await channel.declare_queue()
        await channel.consume(queue, answers.append, no_ack=True)
        properties = Properties(CALL_CONTENT_TYPE, reply_to=queue)
        body = request("virDomainDestroy", {}, call_id=1)
        channel.outlet.publish("", f"libvirt.rpc.{host1.host}", body, properties)
        (answer,) = await eventually(lambda: answers)
    assert orjson.loads(answer.body)["error"]["code"] == -32600


@pytest.mark.parametrize("headers", [{}, {"CC": [f"host2.storage-pool.{A}.lifecycle.started"]}])
async def test_an_event_in_the_name_of_another_host_is_not_believed(
    broker_url: str, be: Any, headers: dict[str, Any]
) -> None:
    """By its own key, and by the header CC, for which RabbitMQ 3.10 asks no permission."""
    async with (
        hand_made(broker_url, "host2") as host2,
        following(be("subscriber")) as followed,
        channel_of(be("host1"), confirms=True) as host1,
    ):
        await eventually(lambda: host2.beat() or followed.of(Snapshot, "host2"))
        forged = host2.change(A, active=True, is_lost=True)
        host2.number -= 1
        key = f"host1.storage-pool.{A}.lifecycle.started"
        properties = Basic.Properties(content_type=EVENT_CONTENT_TYPE, headers=headers)
        await host1._underlay.basic_publish(forged, exchange=EVENTS, routing_key=key, properties=properties)
        host2.change(B, active=True)
        await followed.count(Event, 1, "host2")
        assert followed.table["host2"] == {B: True}


async def test_an_agent_cannot_answer_for_another_host(broker_url: str, be: Any) -> None:
    """It knows the reply queue of who has called it, but not the calls to others."""
    async with (
        channel_of(broker_url) as silent,
        connect(broker_url, "caller") as caller,
        channel_of(be("host1")) as host1,
    ):
        await silent.bind(await silent.declare_queue("libvirt.rpc.host3"), RPC, "host3.#")
        asked = asyncio.create_task(caller.call(Address("host3", "agent"), "ping", timeout=0.5))
        await eventually(lambda: caller._waiting)
        for id_ in (None, "", *map(str, range(50))):
            properties = Properties(CALL_CONTENT_TYPE, correlation_id=id_)
            host1.outlet.publish("", caller._reply_to, b'{"jsonrpc":"2.0","id":1,"result":"forged"}', properties)
        with pytest.raises(NoAnswer):
            await asked


async def test_watch_does_not_show_an_event_in_the_name_of_another_host() -> None:
    forged = Message(EVENTS, DOMAIN.key("lifecycle", "suspended"), orjson.loads(suspended("host2")))
    assert not is_wanted(forged, None, None)


# A monitor


async def test_a_monitor_hears_all_hosts(host1: Agent, be: Any) -> None:
    message = await first(be("monitor"), STATS, "#")
    assert message.body["source"] == host1.host


async def test_a_monitor_cannot_call(host1: Agent, be: Any) -> None:
    assert REFUSED in await refusal(call(be("monitor"), Address(host1.host, "agent"), "ping"))


@pytest.mark.parametrize("exchange", [EVENTS, STATS, RPC])
async def test_a_monitor_cannot_publish(be: Any, exchange: str) -> None:
    assert await refuses(be("monitor"), exchange, "host1.agent.heartbeat")


async def test_a_monitor_cannot_put_a_message_into_a_queue(be: Any) -> None:
    assert await refuses(be("monitor"), "", "libvirt.rpc.host1")


async def test_a_monitor_cannot_read_calls(be: Any) -> None:
    async with channel_of(be("monitor")) as channel:
        queue = await channel.declare_queue()
        assert REFUSED in await refusal(channel.bind(queue, RPC, "#"))


async def test_a_monitor_of_one_host_hears_no_other(host1: Agent, be: Any) -> None:
    assert (await first(be("monitor1"), STATS, "host1.agent.heartbeat")).body["source"] == host1.host
    for key in ("host2.#", "#", "*.agent.heartbeat"):
        assert REFUSED in await refusal(first(be("monitor1"), STATS, key)), key


# A subscriber


async def test_a_subscriber_gets_snapshots(host1: Agent, be: Any) -> None:
    async with following(be("subscriber"), hosts=[host1.host]) as followed:
        await followed.count(Snapshot, 1, host1.host)


async def test_a_subscriber_can_call_nothing_else(host1: Agent, be: Any) -> None:
    for address, method in ((DOMAIN, "virDomainGetXMLDesc"), (Address(host1.host, "agent"), "abort")):
        assert REFUSED in await refusal(call(be("subscriber"), address, method)), method


# An operator


async def test_an_operator_can_call_what_its_line_names(host1: Agent, be: Any) -> None:
    found = await call(be("operator"), Address(host1.host, "connect"), "virDomainLookupByName", name="test")
    assert found["uuid"] == TEST_UUID
    assert (await call(be("operator"), DOMAIN, "virDomainGetInfo"))["nrVirtCpu"] == 2


@pytest.mark.parametrize("method", ["virDomainDestroy", "virDomainGetInfoX", "virDomainCreateWithFiles"])
async def test_an_operator_can_call_no_other_function(host1: Agent, be: Any, method: str) -> None:
    assert REFUSED in await refusal(call(be("operator"), DOMAIN, method)), host1


async def test_an_operator_can_call_no_other_host(be: Any) -> None:
    for host in ("host2", "host10", "any"):
        for method in ("virConnectListAllDomains", "virDomainLookupByName"):
            assert REFUSED in await refusal(call(be("operator"), Address(host, "connect"), method)), host


async def test_an_operator_cannot_publish_events(be: Any) -> None:
    for exchange in (EVENTS, STATS):
        assert await refuses(be("operator"), exchange, "host1.agent.heartbeat")


async def test_an_operator_cannot_read_the_replies_or_calls_of_another(be: Any) -> None:
    async with connect(be("operator"), "one") as one, channel_of(be("operator")) as other:
        await one._open()
        assert "RESOURCE_LOCKED" in await refusal(other.consume(one._reply_to, print))
    async with channel_of(be("operator")) as other:
        queue = await other.declare_queue()
        assert REFUSED in await refusal(other.bind(queue, RPC, "host1.#"))


async def test_an_operator_cannot_get_round_its_line_by_an_agents_queue(host1: Agent, be: Any) -> None:
    assert await refuses(be("operator"), "", f"libvirt.rpc.{host1.host}")


# A recorder


async def test_a_recorder_keeps_events_in_a_queue_of_its_own(host1: Agent, be: Any) -> None:
    kept: list[Delivery] = []
    async with channel_of(be("recorder")) as channel:
        queue = await channel.topology.declare_queue("record.all", durable=True)
        await channel.bind(queue.name, EVENTS, "#")
    await call(be("operator"), DOMAIN, "virDomainSuspend")
    await call(be("operator"), DOMAIN, "virDomainResume")
    async with channel_of(be("recorder")) as channel:
        await channel.consume("record.all", kept.append, no_ack=True)
        await eventually(lambda: [d for d in kept if d.key.startswith(f"{host1.host}.domain.")])
        await channel._underlay.queue_delete("record.all")


async def test_a_recorder_cannot_call(host1: Agent, be: Any) -> None:
    assert await refuses(be("recorder"), RPC, f"{host1.host}.agent.ping")
