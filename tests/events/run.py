"""What recipes provoke, and what a subscriber has to get of it: the message as the contract describes it."""

from collections import defaultdict
from typing import Any

import libvirt
from conftest import Heard, eventually
from contract import check_published
from sweep.sweep import DRIVERS, Sweep

from libvirt_amqp.client import Client, Message
from libvirt_amqp.events import FIELDS, SOURCES, event_name
from libvirt_amqp.keys import Address
from libvirt_amqp.messages import TYPE_PREFIX
from libvirt_amqp.objects import Identity

SECONDS = 30
"""For one event to come; two dozen guests do things at the same time."""
TYPES = {
    f"{source.cls}.{event_name(source, constant)}": constant
    for source in SOURCES
    for constant in FIELDS
    if constant.startswith(source.constants)
}
"""Type of a message -> the id's constant."""
WITHOUT_NAMES = {(f"{source.cls}.lifecycle", "detail") for source in SOURCES if source.cls != "domain"}
"""libvirt has no details of these."""
_PREFIXES = {source.cls: source.prefix for source in SOURCES}


class Run(Sweep):
    """Calls, and events that have to come of them; which came on which driver stands in the other members."""

    def __init__(self, client: Client, heard: Heard) -> None:
        super().__init__(client)
        self.heard = heard
        self.seen: dict[str, set[str]] = defaultdict(set)
        """Type -> drivers."""
        self.changes: dict[str, set[str]] = defaultdict(set)
        """Constant of a lifecycle event's detail, or of the event where it has no details -> drivers."""
        self._read = 0
        self._of_subject: dict[tuple[str, str], list[Message]] = defaultdict(list)

    async def event(self, whose: Identity, name: str, /, **fields: Any) -> dict[str, Any]:
        """Wait for an event of an object with these members of `data`; check the whole message, return its data."""
        address = Address.of(whose)
        wanted = f"{address.cls}.{name}"

        def found() -> Message | None:
            return next((m for m in self._of(address, wanted) if fields.items() <= m.body["data"].items()), None)

        try:
            message = await eventually(found, SECONDS)
        except AssertionError:
            got = [m.body["data"] for m in self._of(address, wanted)]
            raise AssertionError(f"{wanted} {fields} of {address.subject} did not come, but {got}") from None
        check_event(message)
        data: dict[str, Any] = message.body["data"]
        words = (name, *([_word(data)] if name == "lifecycle" else []))
        assert message.key == address.key(*words)
        assert Address.of(data["object"]) == address
        self.seen[wanted].add(DRIVERS[address.host])
        return data

    async def lifecycle(self, whose: Identity, *names: str) -> None:
        """Wait for changes by the ends of their constants: of the detail, or of the event where it has no details."""
        for name in names:
            constant = _PREFIXES[whose["class"]] + name
            if whose["class"] == "domain":
                wanted = {"event": _event(constant), "detail": constant}
            else:
                wanted = {"event": constant, "detail": None}
            await self.event(whose, "lifecycle", names=wanted)
            self.changes[constant].add(DRIVERS[whose["host"]])

    def _of(self, address: Address, wanted: str) -> list[Message]:
        """Return what came of an object and is of a type."""
        for message in self.heard[self._read :]:
            self._of_subject[message.body["source"], message.body["subject"]].append(message)
        self._read = len(self.heard)
        of_object = self._of_subject[address.host, address.subject]
        return [message for message in of_object if message.body["type"] == TYPE_PREFIX + wanted]


def check_event(message: Message) -> None:
    """Hold an event of libvirt against the contract and its id's fields: these and no others, every value named."""
    name = check_published(message.body)
    data = message.body["data"]
    assert data.keys() == {"object", "names", *FIELDS[TYPES[name]]}, name
    for field, constant in data["names"].items():
        if (name, field) in WITHOUT_NAMES:
            assert (data[field], constant) == (0, None), data
        else:
            assert getattr(libvirt, constant) == data[field], data


def _word(data: dict[str, Any]) -> str:
    """Return what a lifecycle event's key ends with."""
    name: str = data["names"]["event"]
    return name.removeprefix(_PREFIXES[data["object"]["class"]]).lower()


def _event(detail: str) -> str:
    """Return VIR_DOMAIN_EVENT_SUSPENDED of VIR_DOMAIN_EVENT_SUSPENDED_PAUSED: an event's name is one word."""
    prefix = _PREFIXES["domain"]
    return prefix + detail.removeprefix(prefix).partition("_")[0]
