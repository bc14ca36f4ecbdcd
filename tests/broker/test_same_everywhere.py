"""The same calls and events, message by message: on the broker of this run, and on a RabbitMQ 3."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from brokers import KINDS
from conftest import TEST_UUID, eventually
from pydantic import SecretStr
from raw import Raw, RawHeard, hearing_raw

from app.service import running
from app.settings import Settings
from libvirt_amqp.keys import EVENTS, RPC, STATS, Address
from libvirt_amqp.messages import CALL_CONTENT_TYPE, request
from libvirt_amqp.wire import Properties

CONNECT, AGENT, TEST = Address("h1", "connect"), Address("h1", "agent"), Address("h1", "domain", (TEST_UUID,))
MADE = "11111111-2222-3333-4444-555555555555"
XML = (
    f"<domain type='test'><name>made</name><uuid>{MADE}</uuid><memory>65536</memory><os><type>hvm</type></os></domain>"
)

CALLS: list[tuple[Address, str, dict[str, Any]]] = [
    (CONNECT, "virConnectGetType", {}),
    (CONNECT, "virConnectGetCapabilities", {}),
    (CONNECT, "virNodeGetInfo", {}),
    (CONNECT, "virConnectListAllDomains", {}),
    (CONNECT, "virConnectListAllNodeDevices", {}),
    (CONNECT, "virDomainDefineXML", {"xml": XML}),
    (Address("h1", "domain", (MADE,)), "virDomainCreate", {}),
    (Address("h1", "domain", (MADE,)), "virDomainGetXMLDesc", {"flags": 0}),
    (TEST, "virDomainSuspend", {}),
    (TEST, "virDomainGetState", {}),
    (TEST, "virDomainGetVcpus", {}),
    (TEST, "virDomainResume", {}),
    (TEST, "virDomainSetMetadata", {"type": 0, "metadata": "ünïcödé", "flags": 0}),
    (TEST, "virDomainCreate", {}),  # libvirt's own error
    (TEST, "virDomainNoSuch", {}),
    (TEST, "virDomainSetMemory", {"memory": "much"}),
    (TEST, "virDomainGetXMLDesc", {"flags": 1}),  # denied
    (AGENT, "snapshot", {"classes": ["domain", "network"]}),
    (AGENT, "rpc.discover", {}),
    (Address("h1", "domain", (MADE,)), "virDomainDestroy", {}),
    (Address("h1", "domain", (MADE,)), "virDomainUndefine", {}),
]
SAMPLES = [CONNECT.key("info"), TEST.key("info"), AGENT.key("heartbeat")]
OF_THE_RUN = {"time", "instance", "since", "uptime", "epoch", "cpuTime"}


@pytest.mark.feature("the same calls and events, message by message, as on RabbitMQ 3")
async def test_the_same_calls_and_events_are_the_same_messages(broker_url: str, tmp_path: Path) -> None:
    here = await _transcript(broker_url, tmp_path / "here")
    with KINDS["rabbitmq"]() as other:
        there = await _transcript(other.url, tmp_path / "there")
    for exchange in (EVENTS, RPC, STATS):
        assert here[exchange] == there[exchange]


async def _transcript(url: str, folder: Path) -> dict[str, list[Any]]:
    """Let an agent do the same as always; returns what came of it, without what no two runs have in common."""
    settings = Settings(
        host="h1",
        uri="test:///default",
        access="full",
        broker_url=SecretStr(url),
        state_dir=folder,
        stats_interval=1,
        heartbeat_interval=1,
    )
    async with hearing_raw(url, "h1.#") as heard:
        async with running(settings):
            await eventually(lambda: _has(heard, AGENT.key("libvirt-found")), 20)
            for number, call in enumerate(CALLS):
                await _call(heard, number, *call)
            # The first round may be from before libvirt was there.
            await eventually(lambda: all(sum(m.key == key for m in heard) > 1 for key in SAMPLES))
        await eventually(lambda: _has(heard, AGENT.key("stopping")))
    return {
        EVENTS: [_comparable(m, _without_the_run) for m in heard if m.exchange == EVENTS],
        RPC: [_comparable(m, _without_the_run) for m in heard if m.exchange == ""],
        STATS: [_comparable([m for m in heard if m.key == key][-1], _shape) for key in SAMPLES],
    }


def _has(heard: RawHeard, key: str) -> bool:
    return any(message.key == key for message in heard)


async def _call(heard: RawHeard, number: int, address: Address, method: str, params: dict[str, Any]) -> None:
    """Call, and wait for the answer, so that the order is always the same."""
    properties = Properties(CALL_CONTENT_TYPE, correlation_id=str(number), reply_to=heard.queue)
    body = request(method, params, call_id=number)
    heard.channel.outlet.publish(RPC, address.key(method), body, properties)
    await eventually(lambda: any(m.exchange == "" and m.correlation_id == str(number) for m in heard))


def _comparable(message: Raw, change: Callable[[Any], Any]) -> list[Any]:
    """Return everything of a message; the key of an answer is the name of a queue."""
    key = message.key if message.exchange else ""
    body = change(orjson.loads(message.body))
    return [message.exchange, key, message.content_type, message.delivery_mode, message.correlation_id, body]


def _without_the_run(value: Any) -> Any:
    """Return a body without its times; a sequence keeps its number, which has to be the same."""
    if isinstance(value, dict):
        return {name: _without_the_run(each) for name, each in value.items() if name not in OF_THE_RUN}
    if isinstance(value, list):
        return [_without_the_run(each) for each in value]
    if isinstance(value, str):
        return re.sub(r"^\d{10}-(\d{15})$", r"\1", value)
    return value


def _shape(value: Any) -> Any:
    """Return a body with the type of a figure in its place: a sample depends on the moment."""
    if isinstance(value, dict):
        return {name: _shape(each) for name, each in sorted(value.items())}
    if isinstance(value, list):
        return [_shape(each) for each in value[:1]]
    return type(value).__name__
