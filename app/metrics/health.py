"""The agent's own health as samples: what a heartbeat tells, and the host's figures of the last round."""

from collections.abc import Iterable
from typing import Any

from prometheus_client.core import Metric

from app.metrics.families import Families
from app.metrics.names import Figure, counter, from_ms, from_ns

PREFIX = "libvirt_amqp_"

UP = Figure("up", "Whether the agent's event loop answered within the last seconds; if not, nothing else is told")

OWN = {
    ("uptime",): Figure("uptime_seconds", "Since the agent started"),
    ("libvirt", "connected"): Figure("libvirt_connected", "Whether the agent has libvirt"),
    ("broker", "connected"): Figure("broker_connected", "Whether the agent has the broker"),
    ("published",): counter("events_published", "Events that the broker confirmed"),
    ("pending",): Figure("events_pending", "Events that the broker has not confirmed"),
    ("lost",): counter("events_lost", "Events dropped because too many waited"),
    ("refused",): counter("events_refused", "Events that a full queue behind the exchange did not take"),
    ("calls", "open"): Figure("calls_open", "Calls that wait or run"),
    ("heartbeat", "counter"): counter("heartbeats", "Heartbeats sent"),
    ("heartbeat", "interval"): Figure("heartbeat_interval_seconds", "HEARTBEAT_INTERVAL"),
}
"""By where it is in the agent's health; what is not there is left out."""

POLLING = {
    "interval": Figure("polling_interval_seconds", "Seconds between rounds as configured"),
    "interval_in_force": Figure("polling_interval_in_force_seconds", "What the ceiling made of it"),
    "round_cpu_ms": Figure("polling_round_cpu_seconds", "CPU that a round takes", from_ms),
    "share": Figure("polling_cpu_share_ratio", "Share of one CPU that polling takes"),
    "ceiling": Figure("polling_cpu_share_ceiling_ratio", "Share of one CPU that all polling may take"),
    "skipped": counter("polling_skipped", "Beats that came too late and were left out"),
    "stale": Figure("polling_stale", "Domains whose figures could not be read in time in the last round"),
    "listed": Figure("polling_listed", "Whether libvirt told in the last round which domains are active"),
}
"""By their names in a heartbeat's `polling`, and in its `groups` where these are polled."""

EPOCH = Figure("epoch", "Epoch of the events: a new one with each start")
SEQUENCE = Figure("sequence_number", "Number of the last event within the epoch")

FREE_MEMORY = Figure("host_free_memory_bytes", "virNodeGetFreeMemory")
CPU_TIME = counter("host_cpu_seconds", "virNodeGetCPUStats, over all CPUs", from_ns)
CPU_MODES = ("kernel", "user", "idle", "iowait", "intr")
"""Those in nanoseconds; `utilization`, which some drivers have instead, is a percentage."""
LOAD = Figure("host_load_average", "Load average of the operating system, where the hypervisor is local")


def own(health: dict[str, Any] | None) -> Iterable[Metric]:
    """Return the agent's health; None when it is not known."""
    samples = Families(PREFIX)
    samples.add(UP, health is not None)
    if health is None:
        return samples
    told = {name: str(value) for name, value in health.get("versions", {}).items() if value is not None}
    told |= {name: str(health[name]) for name in ("host", "access") if health.get(name)}
    samples.add_info("agent", "Which agent this is, and the versions of what it works with", told)
    for path, figure in OWN.items():
        samples.add(figure, _at(health, path))
    polling = health.get("polling", {})
    for poller, figures in (("statistics", polling), ("groups", polling.get("groups", {}))):
        for name, figure in POLLING.items():
            samples.add(figure, figures.get(name), {"poller": poller})
    epoch, _, number = str(health.get("sequence", "")).partition("-")
    if epoch.isdigit() and number.isdigit():
        samples.add(EPOCH, int(epoch))
        samples.add(SEQUENCE, int(number))
    return samples


def host(data: dict[str, Any]) -> Iterable[Metric]:
    """Return the host's figures."""
    samples = Families(PREFIX)
    samples.add(FREE_MEMORY, data.get("virNodeGetFreeMemory"))
    for mode, value in data.get("virNodeGetCPUStats", {}).items():
        if mode in CPU_MODES:
            samples.add(CPU_TIME, value, {"mode": mode})
    for minutes, value in zip(("1", "5", "15"), data.get("loadavg", ()), strict=False):
        samples.add(LOAD, value, {"minutes": minutes})
    return samples


def _at(health: dict[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = health
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
