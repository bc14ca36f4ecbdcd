"""Checks the clock: deadlines of calls are moments, so hosts and callers have to agree about the time.

No broker tells the time over AMQP and libvirt has no call for it.  So: what the kernel says about its clock, and the
heartbeats of the other hosts, each of which carries the time at which it was sent.
"""

import asyncio
import contextlib
import ctypes
import os
import struct
from datetime import UTC, datetime

from app.doctor.finding import Finding, advice, ok, unseen, wrong
from libvirt_amqp.broker import BrokerUnavailable
from libvirt_amqp.client import connect
from libvirt_amqp.keys import STATS, encode_word
from libvirt_amqp.messages import parse_time

KERNEL, FLEET = "clock of this machine", "clock of other hosts"
MOST_SECONDS = 2.0
"""Above it a deadline of some seconds, as command lines set it, is missed or means nothing."""
_MEND = "timedatectl set-ntp true   (or apt-get install chrony, with rtcsync in its configuration)"
_UNSYNCHRONISED = 0x40
_STATUS_AT = 5 * struct.calcsize("l")
"""Of `status` in struct timex: modes (padded), offset, freq, maxerror, esterror come before."""


def check_kernel() -> Finding:
    """Ask the kernel whether somebody keeps its clock (adjtimex(2))."""
    timex = ctypes.create_string_buffer(512)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(timex) < 0:
        reason = os.strerror(ctypes.get_errno())
        return unseen(KERNEL, f"the kernel does not tell here: {reason}", "timedatectl   (on the machine itself)")
    status = struct.unpack_from("i", timex, _STATUS_AT)[0]
    if status & _UNSYNCHRONISED:
        return advice(KERNEL, "nobody has told the kernel that its clock is synchronised", _MEND)
    return ok(KERNEL, "the kernel calls its clock synchronised")


async def check_fleet(url: str, host: str, seconds: float) -> Finding:
    """Listen for a heartbeat of each other host, and compare its time with ours."""
    differences: dict[str, float] = {}
    try:
        async with connect(url, "libvirt-amqp doctor") as client:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    async for message in client.subscribe({STATS: ["*.agent.heartbeat"]}):
                        sender = str(message.body["source"])
                        late = datetime.now(UTC) - parse_time(message.body["time"])
                        differences[sender] = min(late.total_seconds(), differences.get(sender, float("inf")))
    except BrokerUnavailable as error:
        look = f"date -u; libvirt-amqp watch --stats --event heartbeat --json   (its `time`; as who may read {STATS})"
        return unseen(FLEET, f"the broker does not let an agent hear the others: {error}", look)
    except (LookupError, TypeError, ValueError) as error:
        return unseen(FLEET, f"a heartbeat could not be read: {error}")
    differences.pop(encode_word(host), None)
    return judge(differences, seconds)


def judge(differences: dict[str, float], seconds: float) -> Finding:
    """Say what the differences mean: ours minus theirs, in seconds, for each other host; most clocks are right."""
    if not differences:
        return unseen(FLEET, f"no other host was heard within {seconds:g} s")
    far = {name: difference for name, difference in differences.items() if abs(difference) > MOST_SECONDS}
    if not far:
        return ok(FLEET, f"within {MOST_SECONDS:g} s of {len(differences)} (at most {_most(differences):.1f} s)")
    shown = ", ".join(f"{name} {difference:+.1f} s" for name, difference in sorted(far.items()))
    against = max(sum(abs(one - other) <= MOST_SECONDS for other in far.values()) for one in far.values())
    with_us = len(differences) - len(far) + 1
    if with_us > against:
        text = f"within {MOST_SECONDS:g} s of {with_us - 1}, but not of those whose clock is wrong"
        return advice(FLEET, f"{text}: this one minus theirs is {shown}", f"{_MEND}   (on {', '.join(sorted(far))})")
    blame = "this clock, or that of others," if with_us == against else "this clock"
    return wrong(FLEET, f"{blame} is wrong: this one minus the others' is {shown}", _MEND)


def _most(differences: dict[str, float]) -> float:
    return max(map(abs, differences.values()))
