"""What a guest does by itself, from its boot sector."""

from typing import Any

from guests.agent import listening
from guests.boot import BootSector
from sweep.guests import boot_disk, disk_xml, guest_xml
from sweep.hosts import Hosts
from sweep.recipes.domain_agent import CHANNEL_XML
from sweep.recipes.domain_agent import SLOT as CHANNEL_SLOT

from events.run import Run
from libvirt_amqp.objects import Identity

SLOT = 0x07
ADDRESS = f"<address type='pci' domain='0' bus='0' slot='{SLOT}' function='0'/>"
PM_XML = "<pm><suspend-to-mem enabled='yes'/><suspend-to-disk enabled='yes'/></pm>"
MORE_MEMORY_XML = "<maxMemory slots='4' unit='MiB'>1024</maxMemory>"
NUMA_XML = "<numa><cell id='0' cpus='0-1' memory='64' unit='MiB'/></numa>"
MEMORY_BASE = 0x1_0000_0000
"""Where QEMU puts the first device of memory: behind 4 GiB."""


async def acting(run: Run, hosts: Hosts, name: str, sector: BootSector, devices: str = "", **xml: Any) -> Identity:
    """Start a transient guest from a boot sector."""
    path = boot_disk(hosts, f"{name}.img", sector.image())
    text = guest_xml(name, disk_xml(path, kind="raw") + devices, **xml)
    domain: Identity = await run.ok(hosts.qemu, "virDomainCreateXML", xmlDesc=text)
    return domain


async def clock(run: Run, hosts: Hosts) -> None:
    sector = BootSector().out(0x70, 9, 1).out(0x71, 0x50, 1)  # the year
    domain = await acting(run, hosts, "clock", sector)
    event = await run.event(domain, "rtc-change", names={})
    assert event["utcoffset"] > 365 * 86400
    await run.ok(domain, "virDomainDestroy")


async def watchdog(run: Run, hosts: Hosts) -> None:
    sector = BootSector().out(0x443, 0x0F, 1)  # in 0 seconds
    domain = await acting(run, hosts, "dog", sector, "<watchdog model='ib700' action='pause'/>")
    await run.event(domain, "watchdog", action=1, names={"action": "VIR_DOMAIN_EVENT_WATCHDOG_PAUSE"})
    await run.lifecycle(domain, "SUSPENDED_WATCHDOG")
    await run.ok(domain, "virDomainDestroy")


async def balloon(run: Run, hosts: Hosts) -> None:
    sector = BootSector().legacy(SLOT, 24, 1024, 4)  # 1024 pages of 4 KiB are in the balloon
    domain = await acting(run, hosts, "balloon", sector, f"<memballoon model='virtio'>{ADDRESS}</memballoon>")
    await run.event(domain, "balloon-change", actual=(16 - 4) * 1024, names={})
    await run.ok(domain, "virDomainDestroy")


async def sleep(run: Run, hosts: Hosts) -> None:
    domain = await acting(run, hosts, "sleeps", BootSector().suspend(), more=PM_XML)
    await run.event(domain, "pm-suspend", reason=0, names={})
    await run.lifecycle(domain, "PMSUSPENDED_MEMORY")
    await run.ok(domain, "virDomainPMWakeup")
    await run.event(domain, "pm-wakeup", reason=0, names={})
    await run.lifecycle(domain, "STARTED_WAKEUP")
    await run.ok(domain, "virDomainDestroy")


async def hibernation(run: Run, hosts: Hosts) -> None:
    sector = BootSector().out(0x604, 0x2800, 2)  # S4
    domain = await acting(run, hosts, "hibernates", sector, more=PM_XML)
    await run.event(domain, "pm-suspend-disk", reason=0, names={})
    await run.lifecycle(domain, "PMSUSPENDED_DISK", "STOPPED_SHUTDOWN")


async def end(run: Run, hosts: Hosts) -> None:
    sector = BootSector().out(0x604, 0x2000, 2)  # S5
    domain = await acting(run, hosts, "ends", sector)
    await run.lifecycle(domain, "SHUTDOWN_GUEST", "STOPPED_SHUTDOWN")


async def panic(run: Run, hosts: Hosts) -> None:
    sector = BootSector().out(0x505, 2, 1).out(0x505, 1, 1)  # a kernel for crashes is loaded; panic
    domain = await acting(run, hosts, "panics", sector, "<panic model='isa'/>")
    await run.lifecycle(domain, "CRASHED_CRASHLOADED", "CRASHED_PANICKED", "STOPPED_CRASHED")


async def agent(run: Run, hosts: Hosts) -> None:
    socket = hosts.folder / "events.sock"
    sector = BootSector().open_serial_port(CHANNEL_SLOT)
    async with listening(socket):
        domain = await acting(run, hosts, "has an agent", sector, CHANNEL_XML.format(socket))
        for state, reason in (("DISCONNECTED", "DOMAIN_STARTED"), ("CONNECTED", "CHANNEL")):
            prefix = "VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_"
            names = {"state": f"{prefix}STATE_{state}", "reason": f"{prefix}REASON_{reason}"}
            await run.event(domain, "agent-lifecycle", names=names)
        await run.ok(domain, "virDomainDestroy")


async def memory(run: Run, hosts: Hosts) -> None:
    device = f"""<memory model='virtio-mem'><target><size unit='MiB'>8</size><node>0</node>
      <block unit='MiB'>2</block><requested unit='MiB'>2</requested></target><alias name='ua-mem'/>{ADDRESS}</memory>"""
    sector = BootSector().plug_memory(SLOT, MEMORY_BASE)
    domain = await acting(run, hosts, "plugs", sector, device, more=MORE_MEMORY_XML, memory=72, cpu=NUMA_XML)
    event = await run.event(domain, "memory-device-size-change", alias="ua-mem", names={})
    assert event["size"] == 2 * 1024
    await run.ok(domain, "virDomainDestroy")


async def refusal(run: Run, hosts: Hosts) -> None:
    device = """<memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target>
      <alias name='ua-dimm'/></memory>"""
    sector = BootSector().out(0xA00, 0, 4).out(0xA04, 3, 4).out(0xA08, 1, 4)  # ACPI's _OST: slot 0, eject, failed
    domain = await acting(run, hosts, "refuses", sector, device, more=MORE_MEMORY_XML, memory=192, cpu=NUMA_XML)
    await run.event(domain, "device-removal-failed", devAlias="ua-dimm", names={})
    await run.ok(domain, "virDomainDestroy")


RECIPES = (clock, watchdog, balloon, sleep, hibernation, end, panic, agent, memory, refusal)
