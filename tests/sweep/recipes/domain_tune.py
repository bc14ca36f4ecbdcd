"""Domains: CPUs, memory, I/O, metadata, devices; read and set."""

from typing import Any

from sweep.guests import guest_xml, says, started
from sweep.hosts import Hosts
from sweep.sweep import Sweep

LIVE, CONFIG = 1, 2
CHANNEL = """<channel type='pty'><target type='virtio' name='a.channel'/></channel><serial type='pty'/>
  <interface type='user'><mac address='52:54:00:00:00:ab'/><model type='virtio'/></interface>
  <memballoon model='virtio'><stats period='5'/></memballoon>"""
TABLET = "<input type='tablet' bus='usb'><alias name='ua-tablet'/></input>"
TEST_XML = """<domain type='test'><name>tuned</name><memory>8192</memory><vcpu>2</vcpu><os><type>hvm</type></os>
  <devices><interface type='network'><source network='default'/><target dev='nic0'/>
    <mac address='aa:bb:cc:dd:ee:01'/></interface>
    <disk type='file' device='disk'><source file='/d.img'/><target dev='vda'/></disk></devices></domain>"""

TUNED_ON_TEST: tuple[tuple[str, str, dict[str, Any], dict[str, Any]], ...] = (
    ("virDomainGetMemoryParameters", "virDomainSetMemoryParameters", {}, {"hard_limit": 8192}),
    ("virDomainGetNumaParameters", "virDomainSetNumaParameters", {}, {"numa_mode": 0, "numa_nodeset": "0"}),
    ("virDomainGetBlkioParameters", "virDomainSetBlkioParameters", {}, {"weight": 500}),
    ("virDomainGetSchedulerParameters", "virDomainSetSchedulerParameters", {}, {"weight": 50}),
    (
        "virDomainGetBlockIoTune",
        "virDomainSetBlockIoTune",
        {"disk": "vda"},
        {"read_iops_sec": 10, "read_iops_sec_max": 20},
    ),
    (
        "virDomainGetInterfaceParameters",
        "virDomainSetInterfaceParameters",
        {"device": "nic0"},
        {"inbound.average": 1000},
    ),
)
"""What is asked by the first and set by the second, of which device, to what."""


async def parameters(sweep: Sweep, hosts: Hosts) -> None:
    domain = await sweep.ok(hosts.test, "virDomainCreateXML", xmlDesc=TEST_XML)
    for get, put, device, params in TUNED_ON_TEST:
        await sweep.ok(domain, get, **device)
        await sweep.ok(domain, put, **device, params=params)
    await sweep.ok(domain, "virDomainGetCPUStats", start_cpu=-1, ncpus=1)
    await sweep.ok(domain, "virDomainGetCPUStats", start_cpu=0, ncpus=2)
    await sweep.ok(domain, "virDomainInterfaceStats", device="nic0")
    await sweep.ok(domain, "virDomainBlockStats", disk="vda")
    await sweep.ok(domain, "virDomainInterfaceAddresses", source=0)
    assert [error["disk"] for error in await sweep.ok(domain, "virDomainGetDiskErrors")] == ["vda"]
    await sweep.ok(domain, "virDomainDestroy")


async def shares(sweep: Sweep, hosts: Hosts) -> None:
    """Only a privileged libvirtd keeps them: this one can define guests, by what the other one learned about QEMU."""
    await sweep.ok(hosts.qemu, "virConnectGetDomainCapabilities")
    domain = await sweep.ok(hosts.system, "virDomainDefineXML", xml=guest_xml("shares"))
    await sweep.ok(domain, "virDomainSetSchedulerParametersFlags", params={"cpu_shares": 500}, flags=CONFIG)
    found = await sweep.ok(domain, "virDomainGetSchedulerParametersFlags", flags=CONFIG)
    assert found["cpu_shares"] == 500
    await sweep.ok(domain, "virDomainSetBlkioParameters", params={"weight": 500}, flags=CONFIG)
    await sweep.ok(domain, "virDomainGetBlkioParameters", flags=CONFIG)
    await sweep.ok(domain, "virDomainUndefine")


async def cpus(sweep: Sweep, hosts: Hosts) -> None:
    domain = await started(sweep, hosts, guest_xml("cpus"))
    everywhere = [True]
    await sweep.ok(domain, "virDomainPinVcpu", vcpu=0, cpumap=everywhere)
    await sweep.ok(domain, "virDomainPinVcpuFlags", vcpu=0, cpumap=everywhere, flags=CONFIG)
    await sweep.ok(domain, "virDomainPinEmulator", cpumap=everywhere)
    await sweep.ok(domain, "virDomainGetEmulatorPinInfo")
    await sweep.ok(domain, "virDomainAddIOThread", iothread_id=1)
    await sweep.ok(domain, "virDomainPinIOThread", iothread_id=1, cpumap=everywhere)
    await sweep.ok(domain, "virDomainGetIOThreadInfo")
    await sweep.ok(domain, "virDomainSetIOThreadParams", iothread_id=1, params={"poll_max_ns": 4096}, flags=LIVE)
    await sweep.ok(domain, "virDomainDelIOThread", iothread_id=1)
    await sweep.ok(domain, "virDomainSetVcpus", nvcpus=2)
    await sweep.ok(domain, "virDomainSetVcpusFlags", nvcpus=2, flags=CONFIG)
    await sweep.ok(domain, "virDomainGetVcpusFlags")
    await sweep.ok(domain, "virDomainSetVcpu", vcpumap="1", state=0, flags=CONFIG)
    await sweep.ok(domain, "virDomainDestroy")


async def memory(sweep: Sweep, hosts: Hosts) -> None:
    domain = await started(sweep, hosts, guest_xml("memory", CHANNEL, memory=32))
    await sweep.each(domain, "virDomainMemoryStats", "virDomainGetPerfEvents", "virDomainGetSecurityLabel")
    await sweep.each(domain, "virDomainGetMessages", "virDomainGetSecurityLabelList")
    await sweep.ok(domain, "virDomainSetPerfEvents", params={"cpu_clock": False})
    await sweep.ok(domain, "virDomainSetMemoryStatsPeriod", period=1)
    await sweep.ok(domain, "virDomainSetMemory", memory=16384)
    await sweep.ok(domain, "virDomainSetMemoryFlags", memory=16384, flags=CONFIG)
    await sweep.ok(domain, "virDomainMemoryPeek", start=0x7C00, size=16, flags=2)
    await sweep.ok(domain, "virDomainStartDirtyRateCalc", seconds=1)
    await sweep.ok(domain, "virDomainSendKey", codeset=0, holdtime=10, keycodes=[28])
    await sweep.ok(domain, "virDomainSetLifecycleAction", type=0, action=0)
    await sweep.ok(domain, "virDomainQemuMonitorCommand", cmd='{"execute": "query-name"}', flags=0)
    await sweep.ok(domain, "virDomainDestroy")
    await sweep.ok(domain, "virDomainSetMaxMemory", memory=65536)


async def metadata_and_devices(sweep: Sweep, hosts: Hosts) -> None:
    domain = await started(sweep, hosts, guest_xml("devices"))
    await sweep.ok(domain, "virDomainSetMetadata", type=0, metadata="described")
    assert await sweep.ok(domain, "virDomainGetMetadata", type=0) == "described"
    await sweep.ok(domain, "virDomainAttachDevice", xml=TABLET)
    await sweep.ok(domain, "virDomainDetachDeviceAlias", alias="ua-tablet")
    await says(sweep, domain, "ua-tablet", gone=True)
    await sweep.ok(domain, "virDomainAttachDevice", xml=TABLET)
    await sweep.ok(domain, "virDomainDetachDevice", xml=TABLET)
    await sweep.ok(domain, "virDomainAttachDeviceFlags", xml=TABLET, flags=CONFIG)
    await sweep.ok(domain, "virDomainDetachDeviceFlags", xml=TABLET, flags=CONFIG)
    await sweep.ok(domain, "virDomainAttachDeviceFlags", xml=CD, flags=CONFIG)
    await sweep.ok(domain, "virDomainUpdateDeviceFlags", xml=CD, flags=CONFIG)
    await sweep.ok(domain, "virDomainDestroy")


CD = "<disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>"


RECIPES = (parameters, shares, cpus, memory, metadata_and_devices)
