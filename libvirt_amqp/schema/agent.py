"""The agent's own methods: what is not libvirt's, and answered without it."""

from typing import NamedTuple

from libvirt_amqp.schema.types import TEXT, Schema, depending, described, integer, nullable, ref

HEALTH: dict[str, Schema] = {
    "sequence": described(ref("sequence"), "the last one that was given"),
    "pending": described(integer("uint64"), "events that the broker has not confirmed"),
    "lost": described(integer("uint64"), "events dropped in this run because too many waited"),
    "refused": described(integer("uint64"), "events that a full queue behind the exchange did not take"),
}
"""What bus and stream know about themselves; in `ping` and in heartbeats."""


REASONS = {
    "VIR_DOMAIN_NOSTATE": "virDomainNostateReason",
    "VIR_DOMAIN_RUNNING": "virDomainRunningReason",
    "VIR_DOMAIN_BLOCKED": "virDomainBlockedReason",
    "VIR_DOMAIN_PAUSED": "virDomainPausedReason",
    "VIR_DOMAIN_SHUTDOWN": "virDomainShutdownReason",
    "VIR_DOMAIN_SHUTOFF": "virDomainShutoffReason",
    "VIR_DOMAIN_CRASHED": "virDomainCrashedReason",
    "VIR_DOMAIN_PMSUSPENDED": "virDomainPMSuspendedReason",
}
"""A virDomainState -> the enum of its reason."""

_BOOLEAN: Schema = {"type": "boolean"}
_EXISTENCE = {"active": _BOOLEAN, "persistent": _BOOLEAN}
STATES: dict[str, dict[str, Schema]] = {
    "domain": {
        "state": integer("int32", ["virDomainState"]),
        "reason": depending(integer("int32"), "state", REASONS),
        **_EXISTENCE,
        "names": {
            "description": "The C names of the values of enums; null: not known here.",
            "type": "object",
            "properties": dict.fromkeys(("state", "reason"), nullable(TEXT)),
            "required": ["state", "reason"],
        },
    },
    "network": _EXISTENCE,
    "storage-pool": _EXISTENCE,
    "node-device": {"active": _BOOLEAN},
    "secret": {},
}
"""What a snapshot says of an object, by class."""

_CLASSES: Schema = {"type": "array", "items": {"enum": list(STATES)}}


def _object(cls: str) -> Schema:
    state = {"type": "object", "properties": STATES[cls], "required": list(STATES[cls])}
    return {"type": "object", "properties": {"object": ref(cls), "state": state}, "required": ["object", "state"]}


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
            "properties": {"openrpc": TEXT, "info": {"type": "object"}, "methods": {"type": "array"}},
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
    AgentMethod(
        "snapshot",
        "Return what is there and its state, asked of libvirt now; events newer than `sequence` lead on from it.",
        {
            "type": "object",
            "properties": {
                "sequence": described(ref("sequence"), "the last one given before libvirt was asked"),
                "objects": {"type": "array", "items": {"anyOf": [_object(cls) for cls in STATES]}},
                "unknown": described(
                    _CLASSES, "the classes that could not be listed: nothing is said of their objects"
                ),
            },
            "required": ["sequence", "objects", "unknown"],
        },
        (("classes", "the classes to list [default: all that have events]", False, nullable(_CLASSES)),),
    ),
)
