"""The messages that an agent publishes on a schedule, on libvirt.stats: statistics and heartbeats."""

from libvirt_amqp.schema.agent import HEALTH
from libvirt_amqp.schema.events import Message, figures_of, names_of
from libvirt_amqp.schema.types import TEXT, Schema, described, integer, ref

_NANOSECONDS = {"type": "object", "additionalProperties": described(integer("uint64"), "nanoseconds since boot")}

_FIVE: dict[str, Schema] = {
    "state": integer("uint8", ["virDomainState"]),
    "maxMem": described(integer("uint64"), "KiB"),
    "memory": described(integer("uint64"), "KiB"),
    "nrVirtCpu": described(integer("uint16"), "a count"),
    "cpuTime": described(integer("uint64"), "nanoseconds since the domain started"),
}
_CALL = described(TEXT, "libvirt's function that gave the figures")
_STATS: dict[str, Schema] = {
    "stats": described(ref("params"), "libvirt's own names, as cpu.time and net.0.rx.bytes, with libvirt's units"),
}
_INTERVALS: dict[str, Schema] = {
    "interval": described({"type": "number"}, "seconds from one round to the next, as configured"),
    "interval_in_force": described(
        {"type": "number"}, "seconds as they are now: a multiple of `interval` when a round costs too much"
    ),
}


def _all_domains(kind: str, text: str, figures: dict[str, Schema]) -> Message:
    return Message(
        kind,
        text,
        {
            "call": _CALL,
            "full": described({"type": "boolean"}, "whether unchanged figures are in it too"),
            "part": described({"type": "integer", "minimum": 1}, "1, 2, 3, ... of this round"),
            "parts": described({"type": "integer", "minimum": 1}, "how many messages this round has"),
            "domains": {"type": "array", "items": figures_of(figures), "maxItems": 1000},
        },
        numbered=False,
    )


def _polling() -> Schema:
    """Return the schema of what a poller costs and how it goes."""
    members: dict[str, Schema] = {
        **_INTERVALS,
        "call": described(TEXT, "libvirt's function that is asked"),
        "round_cpu_ms": described(
            {"type": "number"}, "milliseconds of CPU for one round, a median: the agent's, and libvirtd's where seen"
        ),
        "share": described({"type": "number"}, "of one CPU: 0.01 is 10 ms in a second"),
        "skipped": described(integer("uint64"), "rounds that were due while another one was not finished"),
        "stale": described(integer("uint64"), "domains that did not answer in the last round"),
        "listed": described(
            {"type": "boolean"},
            "whether libvirt told in the last round which domains are active; else one may be missing",
        ),
    }
    own: dict[str, Schema] = {
        "ceiling": described({"type": "number"}, "the share of one CPU above which intervals stretch"),
        "libvirtd": described({"type": "boolean"}, "whether libvirtd is seen from here, and its CPU is in the figures"),
    }
    groups = {"type": "object", "properties": members, "required": list(members)}
    return {
        "description": "The five figures and the host's; `groups` is there where groups are published too.",
        "type": "object",
        "properties": {**members, **own, "groups": groups},
        "required": [*members, *own],
    }


SAMPLES = (
    Message(
        "domain.info",
        "The five figures of virDomainGetInfo of one active domain.",
        {**_FIVE, "names": names_of(("state",)), "call": _CALL},
        numbered=False,
        is_figures=True,
    ),
    Message(
        "domain.stats",
        "Groups of libvirt's bulk statistics of one active domain, where they are switched on.",
        {**_STATS, "call": _CALL},
        numbered=False,
        is_figures=True,
    ),
    Message(
        "connect.info",
        "Figures of the host; one that the driver does not have is left out.",
        {
            "virNodeGetFreeMemory": described(integer("uint64"), "bytes"),
            "virNodeGetCPUStats": described(_NANOSECONDS, "over all CPUs"),
            "loadavg": {
                "description": "1, 5 and 15 minutes; only where the hypervisor is on the agent's own host",
                "type": "array",
                "items": {"type": "number"},
                "minItems": 3,
                "maxItems": 3,
            },
            **_INTERVALS,
        },
        numbered=False,
        optional=("virNodeGetFreeMemory", "virNodeGetCPUStats", "loadavg"),
    ),
    _all_domains(
        "connect.domains",
        "The five figures of all active domains, instead of a message for each, where that is switched on.",
        {**_FIVE, "names": names_of(("state",))},
    ),
    _all_domains(
        "connect.stats",
        "Groups of libvirt's bulk statistics of all active domains, instead of a message for each.",
        _STATS,
    ),
    Message(
        "agent.heartbeat",
        "A sign of life.",
        {
            "counter": described({"type": "integer", "minimum": 1}, "1, 2, 3, ... in this run"),
            "interval": described({"type": "number"}, "seconds until the next one, at most"),
            "epoch": described(integer("uint64"), "of the events"),
            "uptime": described({"type": "number"}, "seconds, of the agent"),
            "versions": ref("versions"),
            "libvirt": {
                "type": "object",
                "properties": {"connected": {"type": "boolean"}, "since": ref("time")},
                "required": ["connected", "since"],
            },
            **HEALTH,
            "polling": _polling(),
        },
        numbered=False,
    ),
)
"""What comes on a schedule, on libvirt.stats."""
