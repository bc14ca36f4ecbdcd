"""The contract for machines: an OpenRPC document of every call, made from the catalogue."""

from functools import cache
from typing import Any

from libvirt_amqp import __version__
from libvirt_amqp.catalogue import INTEGERS, Catalogue, Function, load
from libvirt_amqp.objects import CLASSES, ObjectClass

_TEXT: dict[str, Any] = {"type": "string"}


@cache
def openrpc() -> dict[str, Any]:
    """Return the OpenRPC 1.3 document: methods by C name, arguments by C name, JSON Schemas of both."""
    catalogue = load()
    return {
        "openrpc": "1.3.2",
        "info": {"title": "libvirt-amqp", "version": __version__, "description": "libvirt's API over AMQP 0-9-1."},
        "methods": [method(function) for function in catalogue.served().values()],
        "components": {"schemas": schemas(catalogue)},
    }


def method(function: Function) -> dict[str, Any]:
    """Return one Method Object; `x-class` is the class of the object whose routing key takes the call."""
    return {
        "name": function.name,
        "summary": function.doc,
        "paramStructure": "by-name",
        "params": [
            {"name": param.name, "required": not param.optional, "schema": type_schema(param.type)}
            for param in function.params
        ],
        "result": {"name": "result", "schema": result_schema(function)},
        "x-class": function.cls,
        "x-since": function.since,
        "x-permissions": [permission.name for permission in function.acl],
    }


def result_schema(function: Function) -> dict[str, Any]:
    """Return the schema of a result: one output bare, several as an object."""
    outputs = {name: type_schema(kind) for name, kind in function.outputs}
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    return {"type": "object", "properties": outputs, "required": list(outputs)}


def schemas(catalogue: Catalogue) -> dict[str, Any]:
    """Return the schemas of identities and C structs."""
    identities = {name: _identity_schema(cls) for name, cls in CLASSES.items()}
    structs = {
        name: {"type": "object", "properties": {field: type_schema(kind) for field, kind in fields}}
        for name, fields in catalogue.structs.items()
    }
    return identities | structs


def type_schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of one of the catalogue's types."""
    if kind.startswith("[]"):
        return {"type": "array", "items": type_schema(kind[2:])}
    if kind in INTEGERS:
        low, high = INTEGERS[kind]
        return {"type": "integer", "minimum": low, "maximum": high}
    if kind in CLASSES or kind.startswith("struct "):
        return {"$ref": f"#/components/schemas/{kind.removeprefix('struct ')}"}
    return _SIMPLE[kind]


def _identity_schema(cls: ObjectClass) -> dict[str, Any]:
    properties: dict[str, Any] = {"class": {"const": cls.name}, "host": _TEXT}
    if cls.parent is not None:
        properties[cls.parent] = {"type": "object"}
    if cls.word is not None:
        properties[cls.word] = _TEXT
    return {"type": "object", "properties": properties, "required": list(properties)}


_SIMPLE: dict[str, dict[str, Any]] = {
    "string": {"type": ["string", "null"]},
    "bytes": {"type": "object", "properties": {"$base64": _TEXT}, "required": ["$base64"]},
    "cpumap": {"type": "array", "items": {"type": "boolean"}},
    "params": {"type": "object"},
    "free-pages": {"type": "object", "additionalProperties": {"type": "object"}},
}
