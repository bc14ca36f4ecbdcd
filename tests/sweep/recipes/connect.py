"""The host: what it is, what it can do, what its memory and CPUs are doing."""

from sweep.hosts import Hosts
from sweep.sweep import Sweep

CPU_XML = "<cpu><arch>x86_64</arch><model>qemu64</model></cpu>"
GUEST_CPU_XML = "<cpu match='exact'><model>qemu64</model></cpu>"


async def identity(sweep: Sweep, hosts: Hosts) -> None:
    await sweep.each(
        hosts.qemu,
        "virConnectGetCapabilities",
        "virConnectGetHostname",
        "virConnectGetLibVersion",
        "virConnectGetType",
        "virConnectGetURI",
        "virConnectGetVersion",
        "virConnectGetMaxVcpus",
        "virConnectGetDomainCapabilities",
        "virConnectGetStoragePoolCapabilities",
    )
    models = await sweep.ok(hosts.qemu, "virConnectGetCPUModelNames", arch="x86_64")
    assert "qemu64" in models


async def cpus(sweep: Sweep, hosts: Hosts) -> None:
    await sweep.ok(hosts.qemu, "virConnectCompareCPU", xmlDesc=CPU_XML)
    await sweep.ok(hosts.test, "virConnectBaselineCPU", xmlCPUs=[CPU_XML])
    await sweep.ok(hosts.qemu, "virConnectCompareHypervisorCPU", virttype="qemu", xmlCPU=GUEST_CPU_XML)
    await sweep.ok(hosts.qemu, "virConnectBaselineHypervisorCPU", virttype="qemu", xmlCPUs=[CPU_XML])


async def native_configuration(sweep: Sweep, hosts: Hosts) -> None:
    xml = "<domain type='qemu'><name>n</name><memory>16384</memory><os><type arch='x86_64'>hvm</type></os></domain>"
    argv = await sweep.ok(hosts.qemu, "virConnectDomainXMLToNative", nativeFormat="qemu-argv", domainXml=xml)
    await sweep.no(
        hosts.qemu,
        "virConnectDomainXMLFromNative",
        "VIR_ERR_NO_SUPPORT",
        "libvirt has removed it from QEMU's driver",
        nativeFormat="qemu-argv",
        nativeConfig=argv,
    )


async def node(sweep: Sweep, hosts: Hosts) -> None:
    await sweep.each(
        hosts.qemu,
        "virNodeGetCPUMap",
        "virNodeGetFreeMemory",
        "virNodeGetInfo",
        "virNodeGetSecurityModel",
    )
    await sweep.ok(hosts.qemu, "virNodeGetCPUStats", cpuNum=-1)
    await sweep.ok(hosts.qemu, "virNodeGetMemoryStats", cellNum=-1)
    await sweep.ok(hosts.test, "virNodeGetCellsFreeMemory", startCell=0, maxCells=2)
    await sweep.ok(hosts.test, "virNodeGetFreePages", pages=[4, 2048], startCell=0, cellCount=1)
    # What it can tune of the host's memory is a folder of its own.
    await sweep.ok(hosts.system, "virNodeGetMemoryParameters")
    await sweep.ok(hosts.system, "virNodeSetMemoryParameters", params={"shm_pages_to_scan": 123})
    tuned = await sweep.ok(hosts.system, "virNodeGetMemoryParameters")
    assert tuned["shm_pages_to_scan"] == 123


async def what_this_host_cannot(sweep: Sweep, hosts: Hosts) -> None:
    await sweep.no(hosts.qemu, "virNodeGetSEVInfo", "VIR_ERR_OPERATION_UNSUPPORTED", "needs a host with AMD SEV")
    why = "needs dmidecode and the right to read the host's SMBIOS tables"
    await sweep.no(hosts.qemu, "virConnectGetSysinfo", "VIR_ERR_CONFIG_UNSUPPORTED", why)
    pages = {"pageSizes": [4, 2048], "pageCounts": [1, 2], "startCell": 0, "cellCount": 1}
    why = "would take the host's memory: called on the test driver only, which does not have it"
    await sweep.no(hosts.test, "virNodeAllocPages", "VIR_ERR_NO_SUPPORT", why, **pages)
    why = "would suspend the host: called on the test driver only, which has none"
    await sweep.no(hosts.test, "virNodeSuspendForDuration", "VIR_ERR_NO_SUPPORT", why, target=0, duration=60)


RECIPES = (identity, cpus, native_configuration, node, what_this_host_cannot)
