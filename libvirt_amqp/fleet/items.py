"""What a subscriber gets: an event, what was missed, or what there is on a host."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from libvirt_amqp.messages import TYPE_PREFIX
from libvirt_amqp.objects import Identity


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: a CloudEvent as it came, with its routing key."""

    host: str
    key: str
    body: dict[str, Any]

    @property
    def type(self) -> str:
        """The type without `org.libvirt.`: `domain.lifecycle`."""
        return str(self.body["type"]).removeprefix(TYPE_PREFIX)

    @property
    def sequence(self) -> str:
        """Its number, and its id; later events of a host have larger ones."""
        return str(self.body["sequence"])

    @property
    def object(self) -> Identity:
        """The identity of whose event it is."""
        found: Identity = self.body["data"]["object"]
        return found

    @property
    def is_found(self) -> bool:
        """Whether the agent found a difference afterwards, instead of hearing of it."""
        return self.body.get("found") is True

    @property
    def happened(self) -> str:
        """The last word of the key: `started` of a lifecycle event, else its name."""
        return self.key.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Missed:
    """Events of a host that did not come, or may not have.  What is known of the host is in doubt until a Snapshot.

    | reason         | what it says                                                                            |
    |----------------|-----------------------------------------------------------------------------------------|
    | `hole`         | the events from `first` to `last` were published, and did not come                       |
    | `outage`       | the same; the subscriber had no connection between `since` and `until`                   |
    | `slow`         | the events from `first` to `last` were dropped by the subscriber: the reader was behind  |
    | `restart`      | the agent started anew and does not say where its former run ended, or it counts in an  |
    |                | earlier epoch than one that has come                                                    |
    | `libvirt-lost` | nobody listened to libvirt between `since` and `until`                                   |
    | `agent-restart`| the same: the agent was away                                                             |
    | `outbox-full`  | the agent dropped `count` events between `first` and `last`                              |
    | `outbox-broken`| the same: they were on a disk that could not be read                                    |

    What is not known is None.  A reason that a newer agent gives is passed on.
    """

    host: str
    reason: str
    first: str | None = None
    last: str | None = None
    count: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    subject: str | None = None
    """Class and identity, where only one object's events are known to be missing."""


@dataclass(frozen=True, slots=True)
class State:
    """An object as libvirt described it when the agent was asked."""

    object: Identity
    state: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All selected objects of a host, and their states: what is not in it is gone, unless its class is `unknown`.

    Every event up to `sequence` is in it, and has come before it or been told as missed.
    """

    host: str
    sequence: str
    objects: tuple[State, ...]
    unknown: frozenset[str]
    """Classes that could not be listed."""


Item = Event | Missed | Snapshot
