"""A sign of life every few seconds: who is alive, with which versions, and whether libvirt is connected."""

import time
from collections.abc import Callable
from typing import Any

from app.hypervisor import Hypervisor
from libvirt_amqp import __version__, catalogue
from libvirt_amqp.keys import Address
from libvirt_amqp.messages import cloud_event, timestamp

LIVES_FOR_BEATS = 2


def versions(hypervisor: Hypervisor) -> dict[str, str | None]:
    """Return the versions of the agent, of libvirt's library and daemon, and of the hypervisor, as far as known.

    `catalogue` is the libvirt whose functions the agent knows.
    """
    facts = hypervisor.facts
    return {
        "agent": __version__,
        "catalogue": catalogue.load().libvirt,
        "libvirt": facts.daemon_version if facts else None,
        "library": facts.library_version if facts else None,
        "hypervisor": facts.hypervisor_version if facts else None,
        "driver": facts.driver if facts else None,
    }


class Heartbeat:
    """`counter` starts at 1; `health` adds what the bus, the events' stream and the pollers know about themselves."""

    def __init__(  # noqa: PLR0913 (what a beat tells)
        self,
        hypervisor: Hypervisor,
        host: str,
        epoch: int,
        interval: float,
        health: Callable[[], dict[str, Any]],
        publish: Callable[[str, bytes, float], None],
        started: float,
    ) -> None:
        """`started`: when the agent did, by time.monotonic()."""
        self._hypervisor = hypervisor
        self._address = Address(host, "agent")
        self._epoch = epoch
        self._interval = interval
        self._health = health
        self._publish = publish
        self.counter = 0
        self._started = started

    async def beat(self) -> None:
        """Publish one heartbeat."""
        self.counter += 1
        data = {
            "object": {"class": "agent", "host": self._address.host},
            "counter": self.counter,
            "interval": self._interval,
            "epoch": self._epoch,
            "uptime": round(time.monotonic() - self._started, 3),
            "versions": versions(self._hypervisor),
            "libvirt": {"connected": self._hypervisor.connected, "since": timestamp(self._hypervisor.since)},
            **self._health(),
        }
        event_id = f"{self._epoch:010d}-heartbeat-{self.counter}"
        body = cloud_event(self._address, "agent.heartbeat", data, event_id=event_id, time=timestamp())
        self._publish(self._address.key("heartbeat"), body, self._interval * LIVES_FOR_BEATS)
