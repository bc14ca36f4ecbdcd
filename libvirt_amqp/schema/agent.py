"""The agent's own methods: what is not libvirt's, and answered without it."""

from typing import NamedTuple

from libvirt_amqp.schema.types import TEXT, Schema, described, integer, nullable, ref

HEALTH: dict[str, Schema] = {
    "sequence": described(ref("sequence"), "the last one that was given"),
    "pending": described(integer("uint64"), "events that the broker has not confirmed"),
    "lost": described(integer("uint64"), "events dropped in this run because too many waited"),
    "refused": described(integer("uint64"), "events that a full queue behind the exchange did not take"),
}
"""What bus and stream know about themselves; in `ping` and in heartbeats."""


class AgentMethod(NamedTuple):
    """One method.  `params`: name, text, whether it is required, schema."""

    name: str
    summary: str
    result: Schema
    params: tuple[tuple[str, str, bool, Schema], ...] = ()


METHODS = (
    AgentMethod(
        "ping",
        "Say who is there, with which versions, and how the agent is.",
        {
            "type": "object",
            "properties": {
                "host": TEXT,
                "instance": described(TEXT, "a random id of this run"),
                "versions": ref("versions"),
                "libvirt": {
                    "type": "object",
                    "properties": {"connected": {"type": "boolean"}},
                    "required": ["connected"],
                },
                "access": {"enum": ["read-only", "full"]},
                **HEALTH,
            },
            "required": ["host", "instance", "versions", "libvirt", "access", *HEALTH],
        },
    ),
    AgentMethod(
        "rpc.discover",
        "Return this document.",
        {
            "description": "An OpenRPC document.",
            "type": "object",
            "properties": {
                "openrpc": TEXT,
                "info": {"type": "object"},
                "methods": {"type": "array", "items": {"type": "object"}},
            },
            "required": ["openrpc", "info", "methods"],
        },
    ),
    AgentMethod(
        "abort",
        "End a call that waits for a worker; one that runs goes on.",
        {"enum": ["aborted", "running", "unknown"]},
        (
            ("id", "the id of the call", True, {"type": ["string", "integer"]}),
            ("reply_to", "the queue that waits for its answer [default: that of this request]", False, nullable(TEXT)),
        ),
    ),
)
