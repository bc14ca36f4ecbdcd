"""Domains that run: devices, tuning, screens, jobs, faults."""

import asyncio
from typing import Any

from guests import emulator
from sweep.guests import boot_disk, disk_xml, guest_xml, started
from sweep.hosts import Hosts

from events.run import Run

HMP = 1
"""VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP."""
TABLET = "<input type='tablet' bus='usb'><alias name='ua-tablet'/></input>"
MACHINE_CHECK = "mce 0 1 0xb280000000000000 0 0 0"
"""To QEMU: CPU 0, bank 1, an uncorrected error on which the guest has to act.  One that has not asked is reset."""


async def devices(run: Run, hosts: Hosts) -> None:
    domain = await started(run, hosts, guest_xml("plugged"))
    await run.ok(domain, "virDomainAttachDevice", xml=TABLET)
    await run.event(domain, "device-added", devAlias="ua-tablet", names={})
    await run.ok(domain, "virDomainDetachDeviceAlias", alias="ua-tablet")
    await run.event(domain, "device-removed", devAlias="ua-tablet", names={})
    await run.ok(domain, "virDomainDestroy")


async def tuning(run: Run, hosts: Hosts) -> None:
    path = boot_disk(hosts, "tuned.img", bytes(65536))
    domain = await started(run, hosts, guest_xml("tuned", disk_xml(path, kind="raw")))
    await run.ok(domain, "virDomainPinVcpu", vcpu=0, cpumap=[True])
    await run.event(domain, "tunable", params={"cputune.vcpupin0": "0"}, names={})
    limit = 10**15  # libvirt's greatest
    await run.ok(domain, "virDomainSetBlockIoTune", disk="vda", params={"total_bytes_sec": limit})
    params = {"blkdeviotune.disk": "vda", "blkdeviotune.total_bytes_sec": limit}
    await run.event(domain, "tunable", params=params, names={})
    await run.ok(domain, "virDomainDestroy")


async def metadata(run: Run, hosts: Hosts) -> None:
    running = await run.ok(hosts.test, "virDomainLookupByName", name="test")
    for domain in (running, await started(run, hosts, guest_xml("described"))):
        await run.ok(domain, "virDomainSetMetadata", type=1, metadata="a title", flags=1)
        names = {"type": "VIR_DOMAIN_METADATA_TITLE"}
        await run.event(domain, "metadata-change", type=1, nsuri=None, names=names)
        element: dict[str, Any] = {"type": 2, "metadata": "<a/>", "key": "k", "uri": "http://libvirt.org/a"}
        await run.ok(domain, "virDomainSetMetadata", **element, flags=1)
        names = {"type": "VIR_DOMAIN_METADATA_ELEMENT"}
        await run.event(domain, "metadata-change", nsuri=element["uri"], names=names)
    await run.ok(domain, "virDomainDestroy")


async def reset(run: Run, hosts: Hosts) -> None:
    domain = await started(run, hosts, guest_xml("again and again"))
    await run.ok(domain, "virDomainReset")
    await run.event(domain, "reboot", names={})
    await run.ok(domain, "virDomainDestroy")


async def screen(run: Run, hosts: Hosts) -> None:
    socket = hosts.folder / "vnc.sock"
    domain = await started(run, hosts, guest_xml("shows", f"<graphics type='vnc' socket='{socket}'/>"))
    reader, writer = await asyncio.open_unix_connection(str(socket))
    for length, answer in ((12, b"RFB 003.008\n"), (2, b"\x01"), (4, b"\x01")):  # version, no password, shared
        await reader.readexactly(length)
        writer.write(answer)
    for phase in ("CONNECT", "INITIALIZE", "DISCONNECT"):
        if phase == "DISCONNECT":
            writer.close()
        event = await run.event(
            domain, "graphics", names={"phase": f"VIR_DOMAIN_EVENT_GRAPHICS_{phase}"}, subject=[], authScheme="none"
        )
        assert event["local"] == {"family": 2, "node": "", "service": str(socket)}
        assert event["remote"] == {"family": 2, "node": "", "service": ""}
    await run.ok(domain, "virDomainDestroy")


async def machine_check(run: Run, hosts: Hosts) -> None:
    domain = await started(run, hosts, guest_xml("broken memory"))
    await run.ok(domain, "virDomainQemuMonitorCommand", cmd=MACHINE_CHECK, flags=HMP)
    names = {
        "recipient": "VIR_DOMAIN_EVENT_MEMORY_FAILURE_RECIPIENT_GUEST",
        "action": "VIR_DOMAIN_EVENT_MEMORY_FAILURE_ACTION_RESET",
        "flags": "VIR_DOMAIN_MEMORY_FAILURE_ACTION_REQUIRED",
    }
    await run.event(domain, "memory-failure", names=names)
    await run.ok(domain, "virDomainDestroy")


async def control(run: Run, hosts: Hosts) -> None:
    device = f"<emulator>{emulator.install(hosts.folder)}</emulator>"
    domain = await started(run, hosts, guest_xml("mutters", device))
    pipe = emulator.pipe(hosts.folder, "mutters")
    await asyncio.to_thread(pipe.write_bytes, b"this is no JSON\r\n")
    await run.event(domain, "control-error", names={})
    await run.ok(domain, "virDomainDestroy")


async def save(run: Run, hosts: Hosts) -> None:
    domain = await started(run, hosts, guest_xml("saved"))
    await run.ok(domain, "virDomainManagedSave")
    await run.event(domain, "migration-iteration", iteration=1, names={})
    params = (await run.event(domain, "job-completed", names={}))["params"]
    assert params["operation"] == 2  # VIR_DOMAIN_JOB_OPERATION_SAVE
    assert {"time_elapsed", "memory_total", "memory_processed"} <= params.keys()
    await run.lifecycle(domain, "STOPPED_SAVED")
    await run.ok(domain, "virDomainCreate")
    await run.lifecycle(domain, "STARTED_RESTORED")
    await run.ok(domain, "virDomainDestroy")
    await run.ok(domain, "virDomainUndefine")


RECIPES = (devices, tuning, metadata, reset, screen, machine_check, control, save)
