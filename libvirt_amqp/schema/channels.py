"""The AsyncAPI document: the three exchanges, what an agent sends through them, and what it takes."""

from functools import cache
from typing import Any

from libvirt_amqp import __version__, errors
from libvirt_amqp.jobs import ENDED, READY, RUNNING, WAITING
from libvirt_amqp.keys import ANY, EVENTS, RPC, STATS
from libvirt_amqp.messages import CALL_CONTENT_TYPE, EVENT_CONTENT_TYPE
from libvirt_amqp.objects import CLASSES, ObjectClass
from libvirt_amqp.schema.calls import ABOUT, LICENSE
from libvirt_amqp.schema.events import NEWS, Message, libvirts, payload
from libvirt_amqp.schema.samples import SAMPLES
from libvirt_amqp.schema.types import (
    CALL_ID,
    ERROR_DATA,
    REFERENCE,
    TEXT,
    Schema,
    components,
    described,
    ref,
)

ABOUT_EVENTS = (
    "  Events and statistics are CloudEvents in structured JSON mode on libvirt.events and libvirt.stats.  An event of "
    "a newer libvirt, which this document does not have, is published too: under its own name, to its object's key."
)
BINDING_VERSION = "0.3.0"

PARAMETERS = {
    "host": "The host, encoded as a word of a key.",
    "uuid": "The object's uuid: lower case, with dashes.",
    "name": "The object's name, encoded as a word of a key.",
    "portdev": "The port's device, encoded as a word of a key.",
    "domain_uuid": "The uuid of the domain that the object belongs to.",
    "network_uuid": "The uuid of the network that the object belongs to.",
    "pool_uuid": "The uuid of the pool that the object belongs to.",
    "method": "The name of the method, encoded as a word of a key; the OpenRPC document has them.",
    "change": "What happened; a newer libvirt's value is its number.",
}


@cache
def asyncapi() -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document, from the agent's side: it sends events and statistics, it receives calls."""
    published = [(EVENTS, one) for one in (*libvirts(), *NEWS)] + [(STATS, one) for one in SAMPLES]
    channels = {one.type: _channel(exchange, one) for exchange, one in published}
    channels |= {f"call.{cls.name}": _call_channel(cls) for cls in CLASSES.values()}
    channels |= {f"call.{ANY}": _any_channel(), "reply": _reply_channel()}
    operations = {f"publish.{one.type}": _send(exchange, one) for exchange, one in published}
    operations |= {f"serve.{name}": _serve(f"call.{name}") for name in (*CLASSES, ANY)}
    messages = {one.type: _message(one) for _, one in published} | {
        "request": _request(),
        "reply": _reply(),
        "progress": _progress(),
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "libvirt-amqp",
            "version": __version__,
            "description": ABOUT + ABOUT_EVENTS,
            "license": LICENSE,
        },
        "defaultContentType": CALL_CONTENT_TYPE,
        "servers": {"broker": {"host": "localhost:5672", "protocol": "amqp", "protocolVersion": "0-9-1"}},
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": components(messages),
            "parameters": {name: {"description": text} for name, text in PARAMETERS.items()},
        },
    }


def _channel(exchange: str, message: Message) -> dict[str, Any]:
    """Return the channel of what an agent publishes: a routing key, on its exchange."""
    words = [*_words(CLASSES[message.cls]), message.type.partition(".")[2]]
    words += ["{change}"] if message.words else []
    channel = _on_exchange(exchange, words, message.type, message.text)
    if message.words:
        channel["parameters"]["change"] = {"description": PARAMETERS["change"], "examples": list(message.words)}
    return channel


def _call_channel(cls: ObjectClass) -> dict[str, Any]:
    text = f"Calls of one {cls.name}: the key names the object and the method."
    return _on_exchange(RPC, [*_words(cls), "{method}"], "request", text)


def _any_channel() -> dict[str, Any]:
    text = "Lookups on every host: hosts that do not have the object keep silent."
    return _on_exchange(RPC, [ANY, "connect", "{method}"], "request", text)


def _words(cls: ObjectClass) -> list[str]:
    words = ["{host}", cls.name]
    words += [f"{{{cls.parent}_uuid}}"] if cls.parent is not None else []
    return [*words, f"{{{cls.word}}}"] if cls.word is not None else words


def _on_exchange(exchange: str, words: list[str], message: str, text: str) -> dict[str, Any]:
    parameters = [word[1:-1] for word in words if word.startswith("{")]
    return {
        "address": ".".join(words),
        "description": text,
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "parameters": {name: {"$ref": f"#/components/parameters/{name}"} for name in parameters},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": exchange, "type": "topic", "durable": True, "autoDelete": False},
                "bindingVersion": BINDING_VERSION,
            },
        },
    }


def _reply_channel() -> dict[str, Any]:
    return {
        "address": None,
        "description": "The caller's own queue, through the default exchange.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in ("reply", "progress")},
        "bindings": {
            "amqp": {
                "is": "queue",
                "queue": {"durable": False, "exclusive": True, "autoDelete": True},
                "bindingVersion": BINDING_VERSION,
            },
        },
    }


def _send(exchange: str, message: Message) -> dict[str, Any]:
    is_kept = exchange == EVENTS
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{message.type}"},
        "summary": message.text,
        "messages": [{"$ref": f"#/channels/{message.type}/messages/{message.type}"}],
        "bindings": {"amqp": {"deliveryMode": 2 if is_kept else 1, "bindingVersion": BINDING_VERSION}},
    }


def _serve(channel: str) -> dict[str, Any]:
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/request"}],
        "reply": {
            "address": {"location": "$message.header#/reply_to"},
            "channel": {"$ref": "#/channels/reply"},
            "messages": [{"$ref": f"#/channels/reply/messages/{name}"} for name in ("reply", "progress")],
        },
    }


def _message(message: Message) -> dict[str, Any]:
    return {
        "name": message.type,
        "summary": message.text,
        "contentType": EVENT_CONTENT_TYPE,
        "payload": payload(message),
    }


def _headers(**properties: str) -> Schema:
    return {
        "description": "AMQP's basic properties; no header is used.",
        "type": "object",
        "properties": {name: {"type": "string", "description": text} for name, text in properties.items()},
    }


def _request() -> dict[str, Any]:
    members: dict[str, Schema] = {
        "jsonrpc": {"const": "2.0"},
        "id": {
            **CALL_ID,
            "description": "Comes back in the reply; without it the request is carried out and never answered.",
        },
        "method": described(TEXT, "the same as the last word of the routing key, decoded"),
        "params": described({"type": "object"}, "arguments by their C names: see the OpenRPC document"),
        "deadline": described(ref("time"), "until when the call has to start; else within 60 s of its arrival"),
        "object": {
            "description": "The receiver's identity: needed when a word of the key is hashed.",
            "anyOf": [ref(name + REFERENCE) for name in CLASSES],
        },
        "idempotency_key": {
            "description": "A call that changes something is run once in ten minutes for each key.",
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
        },
        "progress": described({"type": "boolean"}, "true: tell every second how the call goes"),
    }
    return {
        "name": "request",
        "summary": "A JSON-RPC 2.0 request.",
        "contentType": CALL_CONTENT_TYPE,
        "headers": _headers(
            reply_to="The queue for the reply.", correlation_id="Comes back in the reply; up to 255 bytes."
        ),
        "correlationId": {"location": "$message.header#/correlation_id"},
        "payload": {
            "type": "object",
            "properties": members,
            "required": ["jsonrpc", "method"],
            "additionalProperties": False,
        },
    }


def _reply() -> dict[str, Any]:
    codes = sorted(errors.BY_CODE)
    meanings = "; ".join(f"{code}: {errors.BY_CODE[code].__name__}" for code in codes)
    error: Schema = {
        "type": "object",
        "properties": {
            "code": {"type": "integer", "enum": codes, "description": meanings},
            "message": described(TEXT, "for people; may change"),
            "data": {"type": "object"},
        },
        "required": ["code", "message"],
    }
    data = zip((errors.LibvirtFailed, errors.DeadlinePassed, errors.TooLarge), ERROR_DATA, strict=True)
    error["allOf"] = [
        {
            "if": {"properties": {"code": {"const": cls.code}}},
            "then": {"properties": {"data": ref(name)}, "required": ["data"]},
        }
        for cls, name in data
    ]
    envelope = {"jsonrpc": {"const": "2.0"}, "id": CALL_ID}
    return {
        "name": "reply",
        "summary": "A JSON-RPC 2.0 reply.",
        "contentType": CALL_CONTENT_TYPE,
        "headers": _headers(correlation_id="As it was sent."),
        "correlationId": {"location": "$message.header#/correlation_id"},
        "payload": {
            "oneOf": [
                {"type": "object", "properties": envelope | {"result": True}, "required": ["jsonrpc", "id", "result"]},
                {
                    "type": "object",
                    "properties": envelope | {"error": error},
                    "required": ["jsonrpc", "id", "error"],
                },
            ],
        },
    }


def _progress() -> dict[str, Any]:
    members: dict[str, Schema] = {
        "id": CALL_ID,
        "number": described({"type": "integer", "minimum": 1}, "1, 2, 3, ..."),
        "elapsed": described({"type": "number", "minimum": 0}, "seconds since the request arrived"),
        "state": {"enum": [WAITING, RUNNING, READY, ENDED]},
        "job": {
            "description": "The result of virDomainGetJobStats, or of virDomainGetBlockJobInfo for a block job.",
            "type": ["object", "null"],
        },
    }
    envelope: dict[str, Schema] = {
        "jsonrpc": {"const": "2.0"},
        "method": {"const": "progress"},
        "params": {"type": "object", "properties": members, "required": list(members)},
    }
    return {
        "name": "progress",
        "summary": "A JSON-RPC 2.0 notification: how a call goes whose request has `progress`.",
        "contentType": CALL_CONTENT_TYPE,
        "headers": _headers(correlation_id="That of the request."),
        "correlationId": {"location": "$message.header#/correlation_id"},
        "payload": {"type": "object", "properties": envelope, "required": list(envelope)},
    }
