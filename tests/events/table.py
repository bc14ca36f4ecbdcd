"""What was seen of every event, as docs/events.md has it."""

import os
from pathlib import Path

import libvirt

from events.run import TYPES, Run

FILE = Path(__file__).resolve().parents[2] / "docs" / "events.md"
HEAD = """# Events

Every event id of libvirt, on which driver a test run provoked it, and that a subscriber got it through the broker: as
the contract describes it, with all fields under their names in C and real values. Made by `make coverage`, which
provokes them; the tests compare it with what comes out. Measured with libvirt 9.0.0 and QEMU 7.2, without KVM and
without an operating system in the guests.

| driver | what it is |
|---|---|
| test | libvirt's test driver, `test:///default` |
| QEMU | unprivileged libvirtds, with guests that QEMU emulates (TCG) |
| QEMU, privileged | a libvirtd that is root in namespaces of its own, without guests |

"""
HOW = {
    "domain.lifecycle": "see below",
    "domain.reboot": "virDomainReset",
    "domain.rtc-change": "the guest sets its clock's year",
    "domain.watchdog": "the guest starts its watchdog and does not calm it",
    "domain.io-error": "the guest writes to a disk that answers ENOSPC",
    "domain.graphics": "a VNC client comes, is let in, and goes",
    "domain.io-error-reason": "the guest writes to a disk that answers ENOSPC",
    "domain.control-error": "a proxy before QEMU's monitor says what is no JSON",
    "domain.block-job": "virDomainBlockCopy, virDomainBlockCommit, virDomainBlockPull",
    "domain.disk-change": "a start without what an optional disk and CD-ROM name as their source",
    "domain.tray-change": "virDomainUpdateDeviceFlags takes a CD out and puts it in",
    "domain.pm-wakeup": "virDomainPMWakeup",
    "domain.pm-suspend": "the guest goes to sleep (S3)",
    "domain.balloon-change": "the guest gives memory to its balloon",
    "domain.pm-suspend-disk": "the guest goes to sleep (S4)",
    "domain.device-removed": "virDomainDetachDeviceAlias of a USB tablet",
    "domain.block-job-2": "as block-job",
    "domain.tunable": "virDomainPinVcpu, virDomainSetBlockIoTune",
    "domain.agent-lifecycle": "the guest opens its agent's channel; what answers there is the test's",
    "domain.device-added": "virDomainAttachDevice of a USB tablet",
    "domain.migration-iteration": "virDomainManagedSave",
    "domain.job-completed": "virDomainManagedSave",
    "domain.device-removal-failed": "the guest refuses to give a DIMM back (ACPI _OST)",
    "domain.metadata-change": "virDomainSetMetadata",
    "domain.block-threshold": "the guest writes beyond what virDomainSetBlockThreshold has set",
    "domain.memory-failure": "a machine check, injected by QEMU's monitor command `mce`",
    "domain.memory-device-size-change": "the guest plugs a block of its virtio-mem device",
    "network.lifecycle": "see below",
    "storage-pool.lifecycle": "see below",
    "storage-pool.refresh": "virStoragePoolRefresh",
    "node-device.lifecycle": "see below; on QEMU the test says what udevd would, in the daemon's namespace",
    "node-device.update": "the test says what udevd would, in the daemon's namespace",
    "secret.lifecycle": "see below",
    "secret.value-changed": "virSecretSetValue",
}
"""What provokes it."""
NOT_HAD = {
    "VIR_DOMAIN_EVENT_RESUMED_POSTCOPY": "needs a host that lets users handle page faults",
    "VIR_DOMAIN_EVENT_RESUMED_POSTCOPY_FAILED": "needs a host that lets users handle page faults",
    "VIR_DOMAIN_EVENT_SHUTDOWN_FINISHED": "QEMU before 2.10, which does not say who has ended it",
    "VIR_DOMAIN_EVENT_SUSPENDED_API_ERROR": "libvirt fails in the middle of a call",
    "VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY": "needs a host that lets users handle page faults",
    "VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY_FAILED": "needs a host that lets users handle page faults",
    "VIR_NODE_DEVICE_EVENT_DEFINED": "needs a host with mediated devices",
    "VIR_NODE_DEVICE_EVENT_UNDEFINED": "needs a host with mediated devices",
}
"""Why a change of lifecycle is not provoked."""
LIFECYCLES = """
## Lifecycle events

The details of domains, and the events of other objects, which have no details.

| change | seen on |
|---|---|
"""
OTHERS = """
Not provoked:

| change | why |
|---|---|
"""


def page(run: Run) -> str:
    """Return the whole file."""
    return f"{HEAD}{totals(run)}\n\n{table(run)}\n{LIFECYCLES}{changes(run)}\n{OTHERS}{not_had()}\n"


def totals(run: Run) -> str:
    """Return the figures in one line."""
    seen = [kind for kind in TYPES if run.seen.get(kind)]
    return f"{len(TYPES)} ids: {len(seen)} seen, {len(TYPES) - len(seen)} not; {len(run.changes)} changes of lifecycle."


def table(run: Run) -> str:
    """Return type, id, drivers, what provokes it."""
    rows = [_row(kind, constant, run.seen.get(kind, set())) for kind, constant in TYPES.items()]
    return "\n".join(["| event | id | seen on | provoked by |", "|---|---|---|---|", *rows])


def changes(run: Run) -> str:
    """Return the changes of lifecycle that recipes have waited for, and their drivers."""
    return "\n".join(f"| `{name}` | {_drivers(run.changes[name])} |" for name in sorted(run.changes))


def not_had() -> str:
    """Return the changes of lifecycle that are not provoked here, and why."""
    return "\n".join(f"| `{name}` | {why} |" for name, why in NOT_HAD.items())


def write_if_wanted(run: Run) -> None:
    """`make coverage` sets WRITE_COVERAGE."""
    if os.environ.get("WRITE_COVERAGE"):
        FILE.write_text(page(run))


def _row(kind: str, constant: str, found: set[str]) -> str:
    return f"| `{kind}` | `{constant}` ({getattr(libvirt, constant)}) | {_drivers(found)} | {HOW[kind]} |"


def _drivers(found: set[str]) -> str:
    return "; ".join(sorted(found)) or "-"
