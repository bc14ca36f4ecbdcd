"""The names of existing libvirt exporters for libvirt's figures: inovex's set, and where Tinkoff's differs.

Read in inovex/prometheus-libvirt-exporter (8dbcadd) and Tinkoff/libvirt-exporter (a9612be).  Both begin with
`libvirt_domain_`; a counter's `_total` is added by the exposition.
"""

from collections.abc import Callable
from typing import NamedTuple


def from_kib(value: float) -> float:
    """Bytes of KiB."""
    return value * 1024


def from_ns(value: float) -> float:
    """Seconds of nanoseconds."""
    return value / 1e9


def from_ms(value: float) -> float:
    """Seconds of milliseconds."""
    return value / 1e3


class Figure(NamedTuple):
    """A figure of libvirt for Prometheus: `convert` is its unit."""

    name: str
    help: str
    convert: Callable[[float], float] = float
    is_counter: bool = False


def counter(name: str, text: str, convert: Callable[[float], float] = float) -> Figure:
    """Return a figure that only grows while the domain runs."""
    return Figure(name, text, convert, is_counter=True)


STATES = (
    "no state",
    "the domain is running",
    "the domain is blocked on resource",
    "the domain is paused by user",
    "the domain is being shut down",
    "the domain is shut off",
    "the domain is crashed",
    "the domain is suspended by guest power management",
)
"""virDomainState in libvirt's words: the label `state_desc`."""

STATE = Figure("info_state", "virDomainState of the domain; state_desc says it in words")
STATE_TINKOFF = Figure("info_vstate", "virDomainState of the domain")

INFO = {
    "maxMem": Figure("info_maximum_memory_bytes", "Memory the domain may have at most", from_kib),
    "memory": Figure("info_memory_usage_bytes", "Memory the domain has", from_kib),
    "nrVirtCpu": Figure("info_virtual_cpus", "Virtual CPUs of the domain"),
    "cpuTime": counter("info_cpu_time_seconds", "CPU time used by the domain", from_ns),
}
"""By the fields of virDomainInfo."""

MEMORY = "memory_stats_"
STATS = {
    "balloon.current": Figure(MEMORY + "current_balloon_bytes", "Memory that the balloon leaves", from_kib),
    "balloon.maximum": Figure(MEMORY + "maximum_bytes", "Memory the domain may have at most", from_kib),
    "balloon.swap_in": Figure(MEMORY + "swap_in_bytes", "Read from swap in the guest", from_kib),
    "balloon.swap_out": Figure(MEMORY + "swap_out_bytes", "Written to swap in the guest", from_kib),
    "balloon.major_fault": counter(MEMORY + "major_fault", "Page faults in the guest that needed a disk"),
    "balloon.minor_fault": counter(MEMORY + "minor_fault", "Page faults in the guest that needed no disk"),
    "balloon.unused": Figure(MEMORY + "unused_bytes", "Memory the guest leaves unused", from_kib),
    "balloon.available": Figure(MEMORY + "available_bytes", "Memory as the guest sees it", from_kib),
    "balloon.usable": Figure(MEMORY + "usable_bytes", "Memory the guest could give without swapping", from_kib),
    "balloon.last-update": Figure(MEMORY + "last_update_timestamp_seconds", "When the guest gave its memory figures"),
    "balloon.disk_caches": Figure(MEMORY + "disk_caches_bytes", "Disk caches in the guest", from_kib),
    "balloon.hugetlb_pgalloc": counter(MEMORY + "hugetlb_pgalloc", "Huge pages allocated in the guest"),
    "balloon.hugetlb_pgfail": counter(MEMORY + "hugetlb_pgfail", "Huge pages the guest could not allocate"),
    "balloon.rss": Figure(MEMORY + "rss_bytes", "Resident memory of the domain's process", from_kib),
    "vcpu.current": Figure("vcpu_current", "Virtual CPUs that are online"),
    "vcpu.maximum": Figure("vcpu_maximum", "Virtual CPUs the domain may have at most"),
}
"""By the names of libvirt's bulk statistics, one figure a domain."""

USED_PERCENT = Figure(MEMORY + "used_percent", "(available - usable) / available, in the guest")

BLOCK, NET = "block_stats_", "interface_stats_"
DEVICES = {
    "vcpu": {
        "state": Figure("vcpu_state", "virVcpuState of the virtual CPU"),
        "time": counter("vcpu_time_seconds", "CPU time used by the virtual CPU", from_ns),
        "wait": counter("vcpu_wait_seconds", "Time the virtual CPU waited on a CPU of the host", from_ns),
        "delay": counter("vcpu_delay_seconds", "Time in the host's run queue: the guest's steal time", from_ns),
    },
    "block": {
        "rd.bytes": counter(BLOCK + "read_bytes", "Bytes read"),
        "rd.reqs": counter(BLOCK + "read_requests", "Read requests"),
        "rd.times": counter(BLOCK + "read_time_seconds", "Time spent on reads", from_ns),
        "wr.bytes": counter(BLOCK + "write_bytes", "Bytes written"),
        "wr.reqs": counter(BLOCK + "write_requests", "Write requests"),
        "wr.times": counter(BLOCK + "write_time_seconds", "Time spent on writes", from_ns),
        "fl.reqs": counter(BLOCK + "flush_requests", "Flush requests"),
        "fl.times": counter(BLOCK + "flush_time_seconds", "Time spent on flushes", from_ns),
        "capacity": Figure(BLOCK + "capacity_bytes", "Size of the disk as the guest sees it"),
        "allocation": Figure(BLOCK + "allocation", "Offset of the highest written sector in bytes"),
        "physical": Figure(BLOCK + "physicalsize_bytes", "Size of what holds the image"),
    },
    "net": {
        "rx.bytes": counter(NET + "receive_bytes", "Bytes received"),
        "rx.pkts": counter(NET + "receive_packets", "Packets received"),
        "rx.errs": counter(NET + "receive_errors", "Errors at receiving"),
        "rx.drop": counter(NET + "receive_drops", "Packets dropped at receiving"),
        "tx.bytes": counter(NET + "transmit_bytes", "Bytes sent"),
        "tx.pkts": counter(NET + "transmit_packets", "Packets sent"),
        "tx.errs": counter(NET + "transmit_errors", "Errors at sending"),
        "tx.drop": counter(NET + "transmit_drops", "Packets dropped at sending"),
    },
}
"""By the groups of libvirt's bulk statistics, then by the name after the device's number."""

LABELS = {"vcpu": "vcpu", "block": "target_device", "net": "target_device"}

TINKOFF = {
    MEMORY + "current_balloon_bytes": MEMORY + "actual_balloon_bytes",
    MEMORY + "disk_caches_bytes": MEMORY + "disk_cache_bytes",
}
"""Where Tinkoff's exporter has another name for the same figure."""
