"""Figures as messages: one for each domain, or all of a host's domains in one, split when it would grow too large."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson

from app.pollers.latest import Told
from libvirt_amqp.keys import Address
from libvirt_amqp.messages import cloud_event, timestamp

Publish = Callable[[str, bytes, float], None]
"""Key, body and seconds to live."""

PART_DOMAINS = 1000
PART_BYTES = 200 * 1024
_SAME_MOMENT = 1_000_000
"""Nanoseconds: writing a time costs as much as the rest of a sample's envelope, and a millisecond is exact enough."""


class Samples:
    """Gives every sample its id and sends it; what is sent lives as long as until the next one."""

    def __init__(self, host: str, epoch: int, publish: Publish) -> None:
        self._host = host
        self._epoch = epoch
        self._publish = publish
        self._number = 0
        self._moment = 0
        self._time = ""

    def send(self, address: Address, event: str, data: dict[str, Any], time: str, lives: float) -> None:
        """Send one sample of type `<class>.<event>`; `lives` in seconds."""
        self._number += 1
        event_id = f"{self._epoch:010d}-sample-{self._number}"
        body = cloud_event(address, f"{address.cls}.{event}", data, event_id=event_id, time=time)
        self._publish(address.key(event), body, lives)

    def of_domains(self, event: str, told: Sequence[Told], lives: float) -> None:
        """Send a message for each domain; its time is when the figures were read, or now if they are old."""
        now = timestamp()
        for one in told:
            address = Address(self._host, "domain", (one.object["uuid"],))
            data = one.members() | {"call": one.call} if one.call else one.members()
            self.send(address, event, data, now if one.is_stale else self._written(one.moment), lives)

    def of_host(self, event: str, told: Sequence[Told], data: dict[str, Any], lives: float) -> None:
        """Send one message for all domains, in as many parts as it needs."""
        address, now = Address(self._host, "connect"), timestamp()
        parts = list(_parts(told))
        for number, part in enumerate(parts, 1):
            whole = {"object": address.identity(), **data, "part": number, "parts": len(parts), "domains": part}
            self.send(address, event, whole, now, lives)

    def _written(self, moment: int) -> str:
        if not 0 <= moment - self._moment < _SAME_MOMENT:
            self._moment = moment
            self._time = timestamp(datetime.fromtimestamp(moment / 1e9, UTC))
        return self._time


def _parts(told: Sequence[Told]) -> Iterator[list[orjson.Fragment]]:
    """Divide domains into messages; without any there is one message all the same: the round was made."""
    part: list[orjson.Fragment] = []
    size = 0
    for one in told:
        encoded = orjson.dumps(one.members())
        if part and (len(part) >= PART_DOMAINS or size + len(encoded) > PART_BYTES):
            yield part
            part, size = [], 0
        part.append(orjson.Fragment(encoded))
        size += len(encoded)
    yield part
