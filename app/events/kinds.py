"""The catalogue of events: every id that the installed binding knows, under virsh's name, with C's field names."""

import base64
from typing import Any

import libvirt

from libvirt_amqp.catalogue import Catalogue
from libvirt_amqp.events import ENUMS, FIELDS, SOURCES, Source, detail_enums, event_name, lifecycle_word
from libvirt_amqp.typed_params import unsigned


class Kind:
    """One event id: its name on the wire, its fields, and the names of its enums' values."""

    def __init__(self, source: Source, constant: str, catalogue: Catalogue) -> None:
        self.source = source
        self.id: int = getattr(libvirt, constant)
        self.name = event_name(source, constant)
        self.type = f"{source.cls}.{self.name}"
        self._fields = FIELDS.get(constant)
        self._names = {f: catalogue.names(ENUMS[self.name, f]) for f in self._fields or () if (self.name, f) in ENUMS}
        self._lifecycle = catalogue.names(source.lifecycle) if self.name == "lifecycle" else None
        details = detail_enums(source, catalogue) if self.name == "lifecycle" else {}
        self._details = {event: catalogue.names(enum) for event, enum in details.items()}

    def data(self, values: tuple[Any, ...]) -> dict[str, Any]:
        """Return the fields under their C names, and the names of those that are enums.

        Fields that a newer libvirt added come as `arg0`, `arg1`, ... behind the ones that are known.
        """
        known = self._fields or ()
        fields = (*known, *(f"arg{i}" for i in range(len(values) - len(known))))
        data = {field: _plain(value) for field, value in zip(fields, values, strict=False)}
        if "subject" in known:  # of a graphics event: a list of (type, name)
            data["subject"] = [dict(zip(("type", "name"), pair, strict=False)) for pair in data["subject"]]
        if self._lifecycle is not None:
            detail = self._details.get(data["event"], {}).get(data["detail"])
            return data | {"names": {"event": self._lifecycle.get(data["event"]), "detail": detail}}
        return data | {"names": {field: _name(names, data.get(field)) for field, names in self._names.items()}}

    def words(self, values: tuple[Any, ...]) -> tuple[str, ...]:
        """Return the last word, or two words for a lifecycle event, of the routing key."""
        if self._lifecycle is None:
            return (self.name,)
        name = self._lifecycle.get(values[0])
        word = lifecycle_word(self.source, name) if name else str(values[0])
        return (self.name, word)


def kinds(catalogue: Catalogue) -> list[Kind]:
    """Return every event id that the installed binding has, those among them that nobody here has heard of."""
    return [
        Kind(source, constant, catalogue)
        for source in SOURCES
        for constant in sorted(vars(libvirt))
        if constant.startswith(source.constants) and not constant.endswith("_LAST")
    ]


def _name(names: dict[int, str], value: Any) -> str | None:
    """Return the name of an enum's value; a newer binding may give what is no number."""
    return names.get(value) if isinstance(value, int) else None


def _plain(value: Any) -> Any:
    """Return what the binding gives as JSON, whatever a newer one gives: an event is not lost for its sake."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, dict):
        return unsigned({str(name): _plain(member) for name, member in value.items()})
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return {"$base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else repr(value)
