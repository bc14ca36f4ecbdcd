"""A host without an agent, for faults that no agent can be brought to: chosen numbers, chosen states."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson

from libvirt_amqp.broker import Channel, open_link
from libvirt_amqp.delivery import Delivery
from libvirt_amqp.errors import NotSupported
from libvirt_amqp.keys import EVENTS, RPC, STATS, Address, encode_word
from libvirt_amqp.messages import (
    CALL_CONTENT_TYPE,
    EVENT_CONTENT_TYPE,
    cloud_event,
    error_reply,
    result_reply,
    sequence,
    timestamp,
)
from libvirt_amqp.wire import Properties

Pool = dict[str, Any]


class HandMadeHost:
    """Pools that are active or not, as `states` says; what is not published is lost."""

    def __init__(self, name: str, channel: Channel) -> None:
        self.name = name
        self.epoch, self.number = 1, 0
        self.states: dict[str, bool] = {}
        self.has_snapshots = True
        self.odd_answer: Any = None
        """What is answered instead of a snapshot."""
        self.asked = 0
        self._channel = channel
        self._previous: dict[str, str] = {}

    @property
    def sequence(self) -> str:
        return sequence(self.epoch, self.number)

    def change(self, uuid: str, *, active: bool, is_lost: bool = False) -> bytes:
        """Let a pool start or stop, and announce it, unless that is lost; returns the event."""
        self.states[uuid] = active
        word = "started" if active else "stopped"
        address = Address(self.name, "storage-pool", (uuid,))
        data = {"object": address.identity() | {"name": uuid}, "event": 2 if active else 3, "detail": 0, "names": {}}
        return self.say(address, "storage-pool.lifecycle", data, ("lifecycle", word), is_lost=is_lost)

    def news(self, name: str, **data: Any) -> bytes:
        address = Address(self.name, "agent")
        return self.say(address, f"agent.{name}", {"object": address.identity(), **data}, (name,))

    def say(
        self, address: Address, kind: str, data: dict[str, Any], words: tuple[str, ...], *, is_lost: bool = False
    ) -> bytes:
        self.number += 1
        previous = self._previous.get(address.subject)
        extensions = {"sequence": self.sequence} | ({"previous": previous} if previous else {})
        self._previous[address.subject] = self.sequence
        moment = timestamp(datetime.now(UTC))
        body = cloud_event(address, kind, data, event_id=self.sequence, time=moment, extensions=extensions)
        if not is_lost:
            self.publish(address.key(*words), body)
        return body

    def publish(self, key: str, body: bytes) -> None:
        self._channel.outlet.publish(EVENTS, key, body, Properties(EVENT_CONTENT_TYPE, persistent=True))

    def beat(self) -> None:
        """Say how far the numbers are; everything is with the broker, because one channel keeps the order."""
        address = Address(self.name, "agent")
        data = {"object": address.identity(), "sequence": self.sequence, "pending": 0}
        body = cloud_event(address, "agent.heartbeat", data, event_id="beat", time="2026-01-01T00:00:00Z")
        self._channel.outlet.publish(STATS, address.key("heartbeat"), body, Properties(EVENT_CONTENT_TYPE))

    def answer(self, delivery: Delivery) -> None:
        self.asked += 1
        call_id = orjson.loads(delivery.body)["id"]
        pools = [Address(self.name, "storage-pool", (uuid,)).identity() for uuid in self.states]
        objects = [{"object": pool, "state": {"active": self.states[pool["uuid"]]}} for pool in pools]
        whole = {"sequence": self.sequence, "objects": objects, "unknown": ["secret"]}
        body = result_reply(call_id, self.odd_answer or whole)
        if not self.has_snapshots:
            body = error_reply(call_id, NotSupported("snapshot"))
        properties = Properties(CALL_CONTENT_TYPE, correlation_id=delivery.correlation_id)
        self._channel.outlet.publish("", str(delivery.reply_to), body, properties)


@asynccontextmanager
async def hand_made(url: str, name: str) -> AsyncIterator[HandMadeHost]:
    link = await open_link(url, "a host by hand")
    try:
        channel = await link.channel()
        for exchange in (EVENTS, STATS, RPC):
            await channel.declare_exchange(exchange)
        queue = await channel.declare_queue(f"libvirt.rpc.{encode_word(name)}")
        await channel.bind(queue, RPC, f"{encode_word(name)}.#")
        host = HandMadeHost(name, channel)
        await channel.consume(queue, host.answer, no_ack=True)
        yield host
    finally:
        await link.close()
