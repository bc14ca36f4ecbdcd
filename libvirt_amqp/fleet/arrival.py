"""An event as it came, and whether it can be followed at all."""

from collections.abc import Callable
from typing import NamedTuple

from libvirt_amqp.fleet.continuity import STARTED, Body, as_sequence
from libvirt_amqp.fleet.items import Missed
from libvirt_amqp.messages import TYPE_PREFIX, parse_time

GAP = f"{TYPE_PREFIX}agent.gap"


class Arrival(NamedTuple):
    """`done`: the reader has had it, or need not."""

    key: str
    body: Body
    done: Callable[[], None]

    @property
    def sequence(self) -> str:
        """Its number."""
        return str(self.body["sequence"])

    def check(self) -> None:
        """Raise ValueError, KeyError or TypeError if a follower could not take it, now or after it was held."""
        body, data = self.body, self.body["data"]
        as_sequence(body["sequence"])
        former = data.get("former") if body["type"] == STARTED else None
        for name in filter(None, (body.get("previous"), former)):
            as_sequence(name)
        for text in (body["type"], body["subject"], data["object"]["class"]):
            if not isinstance(text, str):
                raise TypeError(f"{text!r} is no text")
        if body["type"] == GAP:
            missed_by(data["object"]["host"], data)


def missed_by(host: str, gap: Body) -> Missed:
    """Return what an `agent.gap` says."""
    since, until = (parse_time(gap[name]) if gap.get(name) else None for name in ("from", "to"))
    first, last, count = (gap.get(name) for name in ("first", "last", "count"))
    return Missed(host, gap["reason"], first, last, count, since, until)
