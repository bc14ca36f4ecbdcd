"""JSON Schemas (draft 7) of the catalogue's types, and the components of a document that they refer to.

A number that is a C enum says so by `allOf` with a reference to the enum's component.  That one lists the names under
`x-names` and constrains nothing, because a newer libvirt has values that are not listed.  Flags without any bit in this
libvirt have `x-no-bits`.
"""

from typing import Any

from libvirt_amqp.catalogue import INTEGERS, load
from libvirt_amqp.objects import CLASSES, ObjectClass
from libvirt_amqp.schema import descriptions

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
UUID: Schema = {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}
TEXT_OR_BYTES: Schema = {
    "description": "A text; bytes where it is not UTF-8, as the name of a file may be.",
    "anyOf": [TEXT, {"$ref": "#/components/schemas/bytes"}],
}
CALL_ID: Schema = {"description": "An integer of 64 bits or a string.", "type": ["string", "integer", "null"]}
REFERENCE = "-reference"
"""What is appended to a class: its identity where it goes in, with the members that are needed."""

_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_INT32: Schema = {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1, "format": "int32"}
_BY_NUMBER: Schema = {"type": "object", "propertyNames": {"pattern": "^[0-9]+$"}}
_ONE = ["boolean", "number", "string"]
_TYPED: Schema = {"type": [*_ONE, "array"], "items": {"type": _ONE}, "minItems": 1}

FIXED: dict[str, Schema] = {
    "bytes": {
        "description": "Bytes that are no text.",
        "type": "object",
        "properties": {"$base64": {"type": "string", "contentEncoding": "base64"}},
        "required": ["$base64"],
        "additionalProperties": False,
    },
    "cpumap": {"description": "One boolean for each CPU.", "type": "array", "items": {"type": "boolean"}},
    "typed-parameter": {
        "description": "A typed parameter: a number in the range of libvirt's type, a boolean or a string; an array "
        "of these where libvirt takes one parameter several times.",
        **_TYPED,
    },
    "params": {
        "description": "Typed parameters, field -> value.",
        "type": "object",
        "additionalProperties": {"$ref": "#/components/schemas/typed-parameter"},
    },
    "free-pages": {
        "description": "Cell -> page size in KiB -> free pages.",
        **_BY_NUMBER,
        "additionalProperties": {**_BY_NUMBER, "additionalProperties": {"type": "integer", "minimum": 0}},
    },
    "time": {"description": "RFC 3339, UTC.", "type": "string", "format": "date-time"},
    "sequence": {
        "description": "Epoch and number of an event: sorts as text.",
        "type": "string",
        "pattern": "^[0-9]{10}-[0-9]{15}$",
    },
    "versions": {
        "description": "Of the agent, libvirt's daemon and library, and the hypervisor; null: not known.",
        "type": "object",
        "properties": {
            "agent": TEXT,
            "catalogue": {"type": "string", "description": "The libvirt whose functions the agent knows."},
            **{name: {"type": ["string", "null"]} for name in ("libvirt", "library", "hypervisor", "driver")},
        },
        "required": ["agent", "catalogue", "libvirt", "library", "hypervisor", "driver"],
    },
    "libvirt-error": {
        "description": "The whole virError: `data` of an error with the code 1.",
        "type": "object",
        "properties": {
            "code": {**_INT32, "allOf": [{"$ref": "#/components/schemas/virErrorNumber"}]},
            "codeName": _TEXT_OR_NULL,
            "domain": {**_INT32, "allOf": [{"$ref": "#/components/schemas/virErrorDomain"}]},
            "domainName": _TEXT_OR_NULL,
            "level": {**_INT32, "allOf": [{"$ref": "#/components/schemas/virErrorLevel"}]},
            "message": TEXT,
            **dict.fromkeys(("str1", "str2", "str3"), _TEXT_OR_NULL),
            **{name: {"type": ["integer", "null"]} for name in ("int1", "int2")},
        },
        "required": ["code", "codeName", "domain", "domainName", "level", "message"],
    },
    "deadline-passed-data": {
        "description": "`data` of an error with the code 4: the agent's clock.",
        "type": "object",
        "properties": {"time": {"$ref": "#/components/schemas/time"}},
        "required": ["time"],
    },
    "too-large-data": {
        "description": "`data` of an error with the code 8: the limit in bytes.",
        "type": "object",
        "properties": {"limit": {"type": "integer", "minimum": 0}},
        "required": ["limit"],
    },
}
"""Components that are neither enum nor struct nor identity."""

ERROR_DATA = ("libvirt-error", "deadline-passed-data", "too-large-data")


def ref(name: str) -> Schema:
    """Return a reference to a component."""
    return {"$ref": f"#/components/schemas/{name}"}


def integer(kind: str, enums: list[str] | None = None) -> Schema:
    """Return the schema of one of the catalogue's integers; `enums`: what its values are, [] for flags without bits."""
    low, high = INTEGERS[kind]
    schema: Schema = {"type": "integer", "minimum": low, "maximum": high}
    if kind != "zero":
        schema["format"] = kind
    if enums:
        schema["allOf"] = [ref(enum) for enum in enums]
    if enums == []:
        schema["x-no-bits"] = True
    return schema


def value(kind: str, enums: list[str] | None = None, *, goes_in: bool = False) -> Schema:
    """Return the schema of one of the catalogue's types; objects that go in need fewer members."""
    if kind.startswith("[]"):
        return {"type": "array", "items": value(kind[2:], enums, goes_in=goes_in)}
    if kind in INTEGERS:
        return integer(kind, enums)
    if kind == "string":
        return dict(TEXT)
    if kind in CLASSES:
        return ref(kind + REFERENCE if goes_in else kind)
    return ref(kind.removeprefix("struct "))


def nullable(schema: Schema) -> Schema:
    """Return a schema that takes null too."""
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def described(schema: Schema, text: str) -> Schema:
    """Return a schema with a description; a reference is wrapped, because draft 7 ignores what is beside one."""
    if not text:
        return schema
    return {"description": text, "allOf": [schema]} if "$ref" in schema else {"description": text, **schema}


def depending(schema: Schema, member: str, enums: dict[str, str]) -> Schema:
    """Return the schema of a number whose enum depends on another member: `enums` by the names of its values."""
    return {**schema, "x-depends-on": {"member": member, "enums": {name: ref(enum) for name, enum in enums.items()}}}


def components(document: Any) -> dict[str, Schema]:
    """Return every component that a document refers to, and those that these refer to."""
    found: dict[str, Schema] = {}
    waiting = [document]
    while waiting:
        for name in sorted(references(waiting.pop()) - found.keys()):
            found[name] = _component(name)
            waiting.append(found[name])
    return dict(sorted(found.items()))


def references(part: Any) -> set[str]:
    """Return the names of the component schemas that a part of a document refers to."""
    if isinstance(part, list):
        return set().union(*map(references, part)) if part else set()
    if not isinstance(part, dict):
        return set()
    target = part.get("$ref")
    here = {target.rpartition("/")[2]} if isinstance(target, str) and target.startswith(ref("")["$ref"]) else set()
    return here.union(*map(references, part.values()))


def _component(name: str) -> Schema:
    if name in FIXED:
        return FIXED[name]
    if name in CLASSES:
        return _identity(CLASSES[name])
    if name.endswith(REFERENCE):
        return _reference(CLASSES[name.removesuffix(REFERENCE)])
    if name in load().structs:
        return _struct(name)
    return _typed_parameters(name) if name.startswith("VIR_") else _enum(name)


def _identity(cls: ObjectClass) -> Schema:
    members: dict[str, Schema] = {"class": {"const": cls.name}, "host": TEXT}
    if cls.parent is not None:
        members[cls.parent] = ref(_class_of(cls.parent))
    if cls.word is not None:
        members[cls.word] = _word(cls.word)
    members |= _MORE_MEMBERS.get(cls.name, {})
    return {
        "description": f"The identity of a {cls.name} as it comes from an agent.",
        "type": "object",
        "properties": members,
        "required": list(members),
    }


def _reference(cls: ObjectClass) -> Schema:
    members: dict[str, Schema] = {}
    if cls.parent is not None:
        members[cls.parent] = {"type": "object", "properties": {"uuid": TEXT}, "required": ["uuid"]}
    if cls.word is not None:
        members[cls.word] = {"type": "string", "minLength": 1}
    return {
        "description": f"What names a {cls.name}, as an argument: a whole identity will do.  Other members are not "
        "looked at; class and host may be left out and have to be right if they are there.",
        "type": "object",
        "properties": {"class": {"const": cls.name}, "host": TEXT, **members},
        "required": list(members),
    }


def _word(member: str) -> Schema:
    return UUID if member == "uuid" else {"type": "string", "minLength": 1}


def _class_of(parent: str) -> str:
    return "storage-pool" if parent == "pool" else parent


_NAME = {"name": TEXT}
_MORE_MEMBERS: dict[str, dict[str, Schema]] = {
    "domain": {**_NAME, "id": described({**integer("int32"), "minimum": -1}, "-1 when the domain is not active")},
    "network": _NAME,
    "interface": {"mac": TEXT},
    "storage-pool": _NAME,
    "storage-vol": {"name": TEXT_OR_BYTES, "key": TEXT_OR_BYTES, "path": TEXT_OR_BYTES},
    "nwfilter": _NAME,
    "secret": {"usageType": integer("int32", ["virSecretUsageType"]), "usageID": TEXT},
}
"""Members of an identity besides those that the key is made of."""


def _struct(name: str) -> Schema:
    told = descriptions.load()["structs"][name]
    fields = {}
    for field, kind in load().structs[name]:
        schema = value(kind, told["enums"].get(field))
        schema = nullable(schema) if field in told.get("nullable", ()) else schema
        fields[field] = described(schema, told["texts"][field])
    return {
        "title": name,
        "description": f"The C struct {name}, since libvirt {told['since']}.",
        "type": "object",
        "properties": fields,
        "required": list(fields),
    }


def _enum(name: str) -> Schema:
    told = descriptions.load()["enums"][name]
    what = "Bit flags: a value is the sum of any of them." if told["bits"] else "A value is one of them."
    about = f"{told['text'].rstrip('.')}." if told.get("text") else ""
    text = " ".join(filter(None, (about, what, "Values that are not listed come from a newer libvirt.")))
    texts = {constant: text for constant, text in told.get("texts", {}).items() if text}
    return {
        "title": name,
        "description": text,
        "x-bits": told["bits"],
        "x-names": load().enums[name],
        **({"x-descriptions": texts} if texts else {}),
        "x-since": told["sinces"],
    }


def _typed_parameters(group: str) -> Schema:
    fields = descriptions.load()["params"][group]
    return {
        "title": f"{group}*",
        "description": "Typed parameters.  Which of them there are depends on the driver and its version.",
        "type": "object",
        "properties": {
            field: {"title": macro, "description": text, "x-since": since, "allOf": [ref("typed-parameter")]}
            for field, (macro, text, since) in fields.items()
        },
        "additionalProperties": ref("typed-parameter"),
    }
