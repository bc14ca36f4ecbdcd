"""What recipes provoke, and what a subscriber has to get of it: the message as the contract describes it."""

from collections import defaultdict
from typing import Any

import libvirt
from conftest import Heard, eventually
from contract import check_published

from libvirt_amqp.client import Client, Message
from libvirt_amqp.events import FIELDS, SOURCES, event_name
from libvirt_amqp.keys import Address
from libvirt_amqp.messages import TYPE_PREFIX
from libvirt_amqp.objects import Identity
from sweep.sweep import DRIVERS, Sweep

SECONDS = 30
TYPES = {
    f"{source.cls}.{event_name(source, constant)}": constant
    for source in SOURCES
    for constant in FIELDS
    if constant.startswith(source.constants)
}
"""Type of a message -> the id's constant."""
LIFECYCLES = {source.cls: source.prefix for source in SOURCES}


class Run(Sweep):
    """Calls, and events that have to come of them; which came on which driver stands in the other members."""

    def __init__(self, client: Client, heard: Heard) -> None:
        super().__init__(client)
        self.heard = heard
        self.seen: dict[str, set[str]] = defaultdict(set)
        """Type -> drivers."""
        self.changes: dict[str, set[str]] = defaultdict(set)
        """Constant of a lifecycle event, or of its detail where it has one -> drivers."""
        self._read = 0
        self._of_object: dict[tuple[str, str], list[Message]] = defaultdict(list)

    async def event(self, whose: Identity | Address, kind: str, /, **fields: Any) -> dict[str, Any]:
        """Wait for an event of an object with these members of `data`; check the whole message, return its data."""
        address = whose if isinstance(whose, Address) else Address.of(whose)
        wanted = f"{address.cls}.{kind}"

        def found() -> Message | None:
            return next((m for m in self.of(address) if _is(m, wanted, fields)), None)

        try:
            message = await eventually(found, SECONDS)
        except AssertionError:
            got = [m.body["data"] for m in self.of(address) if m.body["type"] == TYPE_PREFIX + wanted]
            raise AssertionError(f"{wanted} {fields} of {address.subject} did not come, but {got}") from None
        check_event(message)
        assert message.key.startswith(address.key(kind))
        data: dict[str, Any] = message.body["data"]
        if not isinstance(whose, Address):
            assert {"class": whose["class"], "host": whose["host"]}.items() <= data["object"].items()
        self.seen[wanted].add(DRIVERS[address.host])
        return data

    async def lifecycle(self, whose: Identity | Address, *names: str) -> None:
        """Wait for lifecycle events by the ends of their constants: of the detail, or of the event without details."""
        cls = whose.cls if isinstance(whose, Address) else whose["class"]
        field = "detail" if cls == "domain" else "event"
        for name in names:
            constant = LIFECYCLES[cls] + name
            other = {"event": self._event_of(constant)} if field == "detail" else {"detail": None}
            data = await self.event(whose, "lifecycle", names={**other, field: constant})
            assert data[field] == getattr(libvirt, constant)
            self.changes[constant].add(DRIVERS[(whose.host if isinstance(whose, Address) else whose["host"])])

    def of(self, address: Address) -> list[Message]:
        """Return what came of an object."""
        while self._read < len(self.heard):
            message = self.heard[self._read]
            self._of_object[message.body["source"], message.body["subject"]].append(message)
            self._read += 1
        return self._of_object[address.host, address.subject]

    def _event_of(self, detail: str) -> str:
        return max((event for event in _EVENTS if detail.startswith(f"{event}_")), key=len)


_EVENTS = [name for name in vars(libvirt) if name.startswith("VIR_DOMAIN_EVENT_")]


def check_event(message: Message) -> None:
    """Hold an event of libvirt against the contract and its id's fields: these and no others, every value named."""
    name = check_published(message.body)
    data = message.body["data"]
    assert data.keys() == {"object", "names", *FIELDS[TYPES[name]]}, name
    for field, constant in data["names"].items():
        if constant is not None:
            assert getattr(libvirt, constant) == data[field], (name, field)
        else:
            assert (name, field) in WITHOUT_NAMES, (name, field, data)


WITHOUT_NAMES = {(f"{source.cls}.lifecycle", "detail") for source in SOURCES if source.cls != "domain"}
"""libvirt has no details of these; the value is 0."""


def _is(message: Message, wanted: str, fields: dict[str, Any]) -> bool:
    return bool(message.body["type"] == TYPE_PREFIX + wanted and fields.items() <= message.body["data"].items())
