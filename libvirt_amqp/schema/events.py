"""The messages that an agent publishes, all CloudEvents: libvirt's events and its own news; and their schemas."""

from typing import Any, NamedTuple

from libvirt_amqp.catalogue import load
from libvirt_amqp.events import ENUMS, FIELDS, SOURCES, Source, detail_enums, event_name, lifecycle_word
from libvirt_amqp.messages import CALL_CONTENT_TYPE, TYPE_PREFIX
from libvirt_amqp.schema.types import TEXT, Schema, depending, described, integer, nullable, ref


class Message(NamedTuple):
    """One kind of message: `type` as `domain.lifecycle`, the members of `data` besides `object` and `names`."""

    type: str
    text: str
    data: dict[str, Schema]
    names: tuple[str, ...] = ()
    """The fields whose values have names; () for messages without `names` if `is_libvirts` is False."""
    words: tuple[str, ...] = ()
    """What the last word of the key is for a lifecycle event; a newer libvirt's value is its number."""
    is_libvirts: bool = False
    """Whether `names` is there at all."""
    numbered: bool = True
    """Whether it has a `sequence`."""
    optional: tuple[str, ...] = ()
    """Members of `data` that can be missing."""
    is_figures: bool = False
    """Whether it can be stale, and then says how old it is; without earlier figures it has nothing else."""

    @property
    def cls(self) -> str:
        """The class of the object that it is about."""
        return self.type.partition(".")[0]


_NULLABLE_TEXT = nullable(TEXT)
_ADDRESS: Schema = {
    "type": "object",
    "properties": {"family": integer("int32", ["virDomainEventGraphicsAddressType"]), "node": TEXT, "service": TEXT},
    "required": ["family", "node", "service"],
}
_SUBJECT: Schema = {
    "type": "array",
    "items": {"type": "object", "properties": {"type": TEXT, "name": TEXT}, "required": ["type", "name"]},
}

TYPES: dict[str, Schema] = {
    "utcoffset": described(integer("int64"), "seconds"),
    "srcPath": described(TEXT, "the file on the host"),
    "devAlias": described(TEXT, "the alias of the guest's device"),
    "local": described(_ADDRESS, "the server's address"),
    "remote": described(_ADDRESS, "the client's address"),
    "authScheme": TEXT,
    "subject": described(_SUBJECT, "who was authenticated"),
    "disk": described(TEXT, "a path in block-job, the target (vda) in block-job-2"),
    "oldSrcPath": _NULLABLE_TEXT,
    "newSrcPath": _NULLABLE_TEXT,
    "actual": described(integer("uint64"), "KiB"),
    "params": ref("params"),
    "nsuri": described(_NULLABLE_TEXT, "the namespace of the metadata's element"),
    "dev": described(TEXT, "the disk or the element of its backing chain, as vda[1]"),
    "path": described(_NULLABLE_TEXT, "the path, of local storage"),
    "threshold": described(integer("uint64"), "bytes"),
    "excess": described(integer("uint64"), "bytes written beyond the threshold"),
    "alias": described(TEXT, "the alias of the memory device"),
    "size": described(integer("uint64"), "KiB"),
    "flags": integer("uint32"),
}
"""Fields of events by their C names; the others are C ints."""

_TEXT_REASON = "io-error-reason"
"""The event whose `reason` is text."""


def libvirts() -> list[Message]:
    """Return libvirt's events."""
    return [
        _event(source, constant, fields)
        for source in SOURCES
        for constant, fields in FIELDS.items()
        if constant.startswith(source.constants)
    ]


def _event(source: Source, constant: str, fields: tuple[str, ...]) -> Message:
    name = event_name(source, constant)
    data = {field: _field(name, field) for field in fields}
    names = tuple(field for field in fields if (name, field) in ENUMS)
    words: tuple[str, ...] = ()
    if name == "lifecycle":
        events = load().enums[source.lifecycle]
        names, words = ("event", "detail"), tuple(lifecycle_word(source, event) for event in events)
        data["event"] = integer("int32", [source.lifecycle])
        constants = load().names(source.lifecycle)
        details = {constants[event]: enum for event, enum in detail_enums(source, load()).items()}
        detail = nullable(integer("int32"))
        data["detail"] = depending(detail, "event", details) if details else detail
    return Message(f"{source.cls}.{name}", f"libvirt's {constant}.", data, names, words, is_libvirts=True)


def _field(event: str, field: str) -> Schema:
    if event == _TEXT_REASON and field == "reason":
        return described(TEXT, "the cause, as enospc; empty when it is not known")
    schema = TYPES.get(field, integer("int32"))
    return {**schema, "allOf": [ref(ENUMS[event, field])]} if (event, field) in ENUMS else schema


GAP_REASONS = ("libvirt-lost", "agent-restart", "outbox-full", "outbox-broken")
_FORMER = described(nullable(ref("sequence")), "the last one of the run before; null: nothing is known of one")
_INSTANCE = described(TEXT, "a random id of this run")
_OPTIONAL_SEQUENCE, _OPTIONAL_TIME = nullable(ref("sequence")), nullable(ref("time"))

NEWS = (
    Message(
        "agent.started",
        "The first event of every epoch.",
        {"versions": ref("versions"), "instance": _INSTANCE, "former": _FORMER},
    ),
    Message("agent.libvirt-found", "libvirt is connected, all events are registered.", {"versions": ref("versions")}),
    Message(
        "agent.libvirt-lost", "The connection to libvirt is lost, or was not there at the start.", {"reason": TEXT}
    ),
    Message(
        "agent.gap",
        "Something was missed: nobody listened from `from` to `to`, or `count` events had no room.",
        {
            "reason": {"enum": [*GAP_REASONS]},
            "first": _OPTIONAL_SEQUENCE,
            "last": _OPTIONAL_SEQUENCE,
            "count": nullable(integer("uint64")),
            "from": _OPTIONAL_TIME,
            "to": _OPTIONAL_TIME,
        },
    ),
    Message("agent.stopping", "The last event of an agent that was told to stop.", {"instance": _INSTANCE}),
)
"""What the agent has to say of itself, in the same sequence as libvirt's events."""

_AGE: dict[str, Schema] = {
    "stale": described({"const": True}, "there when the domain did not answer in time: these are its last figures"),
    "age": described(
        {"type": ["number", "null"], "minimum": 0},
        "seconds since stale figures were read; null: there are none, and no other member but `object`",
    ),
}


def names_of(names: tuple[str, ...]) -> Schema:
    """Return the schema of `names`, for these fields."""
    return {
        "description": "The C names of the values of enums; null: not known here.",
        "type": "object",
        "properties": dict.fromkeys(names, _NULLABLE_TEXT),
        "required": list(names),
    }


def figures_of(figures: dict[str, Schema]) -> Schema:
    """Return the schema of one domain's figures: all of them, or only `object` where there never were any."""
    return {
        "type": "object",
        "properties": {"object": ref("domain"), **figures, **_AGE},
        "required": ["object"],
        "dependencies": {"stale": ["age"], "age": ["stale"]},
        "if": {"properties": {"age": {"type": "null"}}, "required": ["age"]},
        "then": {"properties": dict.fromkeys(figures, False)},
        "else": {"required": list(figures)},
    }


def payload(message: Message) -> Schema:
    """Return the schema of a message's body: a CloudEvent in structured mode."""
    attributes: dict[str, Schema] = {
        "specversion": {"const": "1.0"},
        "id": ref("sequence") if message.numbered else described(TEXT, "unique"),
        "source": described(TEXT, "the host, encoded as in the routing key"),
        "type": {"const": TYPE_PREFIX + message.type},
        "subject": described(TEXT, "class and identity, encoded as in the routing key, joined by /"),
        "time": ref("time"),
        "datacontenttype": {"const": CALL_CONTENT_TYPE},
    }
    required = [*attributes, "data"]
    if message.numbered:
        attributes["sequence"] = ref("sequence")
        attributes["previous"] = described(ref("sequence"), "of the last event with this subject; absent for the first")
        required.append("sequence")
    if message.words:
        attributes["found"] = described({"const": True}, "there for what was found by comparing, not heard of libvirt")
    return {"type": "object", "properties": {**attributes, "data": _data(message)}, "required": required}


def _data(message: Message) -> Schema:
    if message.is_figures:
        return figures_of(message.data)
    properties: dict[str, Any] = {"object": ref(message.cls), **message.data}
    if message.is_libvirts:
        properties["names"] = names_of(message.names)
    required = [name for name in properties if name not in message.optional]
    return {"type": "object", "properties": properties, "required": required}
