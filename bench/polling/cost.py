"""What a round costs: CPU of the poller, libvirtd, all QEMUs and the broker, by the kernel's exact process clocks."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Missing(Exception):
    """A row that cannot be had; the message says why."""


class Cost(NamedTuple):
    """Milliseconds of CPU; `messages` a count, of AMQP or of scrapes."""

    poller: float
    libvirtd: float
    qemu: float
    broker: float
    messages: float

    @property
    def total(self) -> float:
        """What the host pays; the broker may be another machine."""
        return self.poller + self.libvirtd + self.qemu


def cpu_ms(pid: int) -> float:
    """Return what a process has used, its ended threads included, to the nanosecond.

    The id of its clock is made as clock_getcpuclockid(3) does; /proc/PID/stat counts in 10 ms, which a hundred idle
    QEMUs never reach in a round.
    """
    return time.clock_gettime_ns(~pid << 3 | 2) / 1e6


class Meter:
    """The processes around a poller: found once, read often."""

    def __init__(self, servers: Sequence[int], broker: Sequence[int]) -> None:
        self._libvirtd = [pid for pid in servers if _program(pid) == "libvirtd"]
        self._qemu = [pid for pid in servers if _program(pid).startswith("qemu-system")]
        self._broker = list(broker)

    def read(self, poller: int | None) -> Cost:
        """Return the milliseconds used so far."""
        parts = ([poller] if poller else [], self._libvirtd, self._qemu, self._broker)
        polling, libvirtd, qemu, brokering = (sum(map(cpu_ms, pids)) for pids in parts)
        return Cost(polling, libvirtd, qemu, brokering, 0)


def per_round(before: Cost, after: Cost, rounds: float, messages: int) -> Cost:
    """Return what one of some rounds cost."""
    return Cost(
        (after.poller - before.poller) / rounds,
        (after.libvirtd - before.libvirtd) / rounds,
        (after.qemu - before.qemu) / rounds,
        (after.broker - before.broker) / rounds,
        messages / rounds,
    )


def _program(pid: int) -> str:
    return Path(f"/proc/{pid}/exe").resolve().name
