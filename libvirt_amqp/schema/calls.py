"""The OpenRPC document: every call, with its arguments, result, errors, permissions and routing key."""

from functools import cache
from typing import Any

from libvirt_amqp import __version__, errors
from libvirt_amqp.catalogue import Function, Permission, load
from libvirt_amqp.keys import encode_word
from libvirt_amqp.objects import CLASSES
from libvirt_amqp.rules import BOUNDS, LENGTHS, MAY_BE_BYTES, SECRET_FUNCTIONS, SECRET_PERMISSION
from libvirt_amqp.schema import descriptions
from libvirt_amqp.schema.agent import METHODS, AgentMethod
from libvirt_amqp.schema.types import (
    ERROR_DATA,
    FIXED,
    REFERENCE,
    TEXT_OR_BYTES,
    Schema,
    components,
    depending,
    described,
    nullable,
    ref,
    value,
)

ABOUT = (
    "libvirt's API over AMQP 0-9-1: JSON-RPC 2.0, one request in a message on the exchange libvirt.rpc, to the routing "
    "key of the object that is called (x-routing-key).  Names are libvirt's.  Where its texts speak of -1 or NULL for "
    "an error, an error reply comes instead.  An argument that is not required may be left out or null.  Numbers of 64 "
    "bits are JSON integers: a reader that keeps numbers as floating point loses digits over 2^53."
)
LICENSE = {"name": "LGPL-2.1-or-later", "url": "https://www.gnu.org/licenses/old-licenses/lgpl-2.1.html"}
ERRORS = (
    errors.InvalidParams,
    errors.InternalError,
    errors.LibvirtFailed,
    errors.Denied,
    errors.Busy,
    errors.DeadlinePassed,
    errors.LibvirtLost,
    errors.NotSupported,
    errors.TooLarge,
    errors.Aborted,
)
"""What any function of libvirt can be answered with, if the request can be read; ResultUnknown: if it may write."""


@cache
def openrpc() -> dict[str, Any]:
    """Return the OpenRPC 1.3 document: methods and arguments by their C names, the agent's own methods last."""
    methods = [method(function) for function in load().served().values()]
    methods += [_agent_method(own) for own in METHODS]
    identities = [ref(name + ending) for name in CLASSES for ending in ("", REFERENCE)]
    schemas = components([methods, identities, [ref(name) for name in ERROR_DATA]])
    return {
        "openrpc": "1.3.2",
        "info": {"title": "libvirt-amqp", "version": __version__, "description": ABOUT, "license": LICENSE},
        "methods": methods,
        "components": {
            "schemas": schemas,
            "errors": {cls.__name__: _error(cls) for _, cls in sorted(errors.BY_CODE.items())},
        },
    }


def method(function: Function) -> dict[str, Any]:
    """Return one Method Object of libvirt's."""
    told = descriptions.load()["functions"][function.name]
    params = [_param(function, name, told) for name in (param.name for param in function.params)]
    return {
        "name": function.name,
        "summary": function.doc,
        "description": told["text"],
        "externalDocs": {"url": link(function.name)},
        "tags": [{"name": function.cls}],
        **({"deprecated": True} if told.get("deprecated") else {}),
        "paramStructure": "by-name",
        "params": params,
        "result": {"name": "result", "description": result_text(function), "schema": result_schema(function)},
        "errors": _errors(function),
        "x-class": function.cls,
        "x-routing-key": routing_key(function.cls or "", function.name),
        "x-any-host": function.cls == "connect" and "LookupBy" in function.name,
        "x-since": function.since,
        "x-permissions": [_permission(function, permission) for permission in function.acl],
        "x-read-only": read_only(function),
        "x-secrets": secrets(function),
        "x-high-priority": function.high_priority,
    }


def result_schema(function: Function) -> Schema:
    """Return the schema of a result: one output bare, several as an object."""
    told = descriptions.load()["functions"][function.name]
    outputs = {name: _output(name, kind, told) for name, kind in function.outputs}
    if function.name in MAY_BE_BYTES:
        return TEXT_OR_BYTES
    if function.name == "virStoragePoolListVolumes":
        return {"type": "array", "items": TEXT_OR_BYTES}
    if len(outputs) == 1:
        return next(iter(outputs.values()))
    texts = told["texts"]
    properties = {name: described(schema, texts[name]) for name, schema in outputs.items()}
    return {"type": "object", "properties": properties, "required": list(properties)}


def result_text(function: Function) -> str:
    """Return what libvirt says about a result that is one value; the members of others have texts of their own."""
    texts: dict[str, str] = descriptions.load()["functions"][function.name]["texts"]
    return texts[function.outputs[0][0]] if len(function.outputs) == 1 else ""


def routing_key(cls: str, name: str) -> str:
    """Return the pattern of a routing key: its words in braces, encoded; a stream's is that of its object."""
    if cls == "stream":
        return f"{{host}}.{{object}}.{name}"
    words = [f"{{{CLASSES[cls].parent}.uuid}}"] if CLASSES[cls].parent else []
    words += [f"{{{CLASSES[cls].word}}}"] if CLASSES[cls].word else []
    return ".".join(("{host}", cls, *words, encode_word(name)))


def link(name: str) -> str:
    """Return where libvirt's own documentation describes a function or an enum."""
    told = descriptions.load()
    file = (told["functions"].get(name) or told["enums"][name])["file"]
    return f"https://libvirt.org/html/libvirt-{file}.html#{name}"


def condition(function: Function, permission: Permission) -> dict[str, Any]:
    """Return when a permission is needed: the argument that decides, and the values, by name, that it has or is."""
    told = descriptions.load()["functions"][function.name]
    names = {v: n for enum in told["enums"].get(permission.argument, ()) for v, n in load().names(enum).items()}
    verb = (
        ("lacks" if permission.negated else "has") if permission.is_mask else "is-not" if permission.negated else "is"
    )
    return {"argument": permission.argument, verb: [names.get(bit, bit) for bit in permission.bits]}


def read_only(function: Function) -> bool | dict[str, Any]:
    """Say whether an agent with ACCESS=read-only serves the function: always, never, or unless a condition holds."""
    if function.writes({}):
        return False
    deciding = [p for p in function.acl if p.argument is not None and function.writes({p.argument: p.bits[0]})]
    return {"unless": _distinct([condition(function, p) for p in deciding])} if deciding else True


def secrets(function: Function) -> bool | dict[str, Any]:
    """Say whether the function needs SECRETS=yes: always, never, or if a condition holds."""
    deciding = [p for p in function.acl if p.name.endswith(f":{SECRET_PERMISSION}")]
    if function.name in SECRET_FUNCTIONS or any(p.argument is None for p in deciding):
        return True
    return {"if": _distinct([condition(function, p) for p in deciding])} if deciding else False


def _distinct(conditions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for i, one in enumerate(conditions) if one not in conditions[:i]]


def _permission(function: Function, permission: Permission) -> dict[str, Any]:
    if permission.argument is None:
        return {"name": permission.name}
    return {"name": permission.name, "if": condition(function, permission)}


def _param(function: Function, name: str, told: dict[str, Any]) -> dict[str, Any]:
    param = next(p for p in function.params if p.name == name)
    if param.type == "params" and "params" in told:
        schema = ref(told["params"])
    elif param.type == "bytes" and name == "uuid":
        schema = {**FIXED["bytes"], "properties": {"$base64": {"type": "string", "pattern": "^[A-Za-z0-9+/]{22}==$"}}}
    else:
        schema = value(param.type, told["enums"].get(name), goes_in=True)
    if (bounds := BOUNDS.get((function.name, name))) is not None:
        schema["minimum"], schema["maximum"] = bounds
    if (lengths := LENGTHS.get((function.name, name))) is not None:
        schema["minItems"], schema["maxItems"] = lengths
    schema = nullable(schema) if param.optional else schema
    return {"name": name, "description": told["texts"][name], "required": not param.optional, "schema": schema}


def _output(name: str, kind: str, told: dict[str, Any]) -> Schema:
    if kind in {"params", "[]params"} and "params" in told:
        schema: Schema = ref(told["params"])
        return schema if kind == "params" else {"type": "array", "items": schema}
    schema = value(kind, told["enums"].get(name))
    if name in told.get("may_be_empty", ()):
        return {"description": "An empty object: there is none.", "anyOf": [schema, {"const": {}}]}
    if reasons := told.get("reasons", {}).get(name):
        schema = depending(schema, reasons["of"], reasons["by"])
    return nullable(schema) if name in told.get("nullable", ()) else schema


def _errors(function: Function) -> list[dict[str, str]]:
    may_write = read_only(function) is not True
    able = [*ERRORS, errors.ResultUnknown] if may_write else ERRORS
    return [{"$ref": f"#/components/errors/{cls.__name__}"} for cls in able]


def _error(cls: type[errors.CallError]) -> dict[str, Any]:
    return {"code": cls.code, "message": cls.__doc__ or ""}


def _agent_method(own: AgentMethod) -> dict[str, Any]:
    return {
        "name": own.name,
        "summary": own.summary,
        "tags": [{"name": "agent"}],
        "paramStructure": "by-name",
        "params": [
            {"name": name, "description": text, "required": required, "schema": schema}
            for name, text, required, schema in own.params
        ],
        "result": {"name": "result", "schema": own.result},
        "errors": [{"$ref": f"#/components/errors/{cls.__name__}"} for cls in (errors.InvalidParams, errors.Busy)],
        "x-class": "agent",
        "x-routing-key": routing_key("agent", own.name),
    }
