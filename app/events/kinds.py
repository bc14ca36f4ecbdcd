"""The catalogue of events: every id that the installed binding knows, under virsh's name, with C's field names."""

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
        if self._lifecycle is not None:
            detail = self._details.get(data["event"], {}).get(data["detail"])
            return data | {"names": {"event": self._lifecycle.get(data["event"]), "detail": detail}}
        names = {field: of_enum.get(data[field]) for field, of_enum in self._names.items() if field in data}
        return data | {"names": names}

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


def _plain(value: Any) -> Any:
    """Return what the binding gives as JSON: the subject of a graphics event is a list of (type, name)."""
    if isinstance(value, dict):
        return unsigned(value)
    if isinstance(value, list | tuple):
        return [dict(zip(("type", "name"), item, strict=False)) if isinstance(item, tuple) else item for item in value]
    return value
