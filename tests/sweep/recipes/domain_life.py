"""Domains: defined, found, started, stopped, renamed, undefined."""

from qemu.conftest import guest_xml as small_xml

from sweep.binary import uuid_bytes
from sweep.guests import SHUTOFF, becomes, guest_xml, started
from sweep.hosts import Hosts
from sweep.sweep import Sweep

TEST_XML = "<domain type='test'><name>{}</name><memory>8192</memory><os><type>hvm</type></os></domain>"


async def on_the_test_driver(sweep: Sweep, hosts: Hosts) -> None:
    test = hosts.test
    domain = await sweep.ok(test, "virDomainDefineXML", xml=TEST_XML.format("life"))
    await sweep.ok(domain, "virDomainCreate")
    running = await sweep.ok(test, "virDomainLookupByName", name="life")
    assert await sweep.ok(test, "virDomainLookupByID", id=running["id"]) == running
    assert await sweep.ok(test, "virDomainLookupByUUIDString", uuidstr=running["uuid"]) == running
    assert await sweep.ok(test, "virDomainLookupByUUID", uuid=uuid_bytes(running["uuid"])) == running
    await sweep.each(
        domain,
        "virDomainSuspend",
        "virDomainResume",
        "virDomainReboot",
        "virDomainShutdown",
        "virDomainCreateWithFlags",
        "virDomainShutdownFlags",
        "virDomainUndefine",
    )
    for define in ("virDomainCreateXML", "virDomainCreateLinux"):
        await sweep.ok(await sweep.ok(test, define, xmlDesc=TEST_XML.format("fleeting")), "virDomainDestroyFlags")
    again = await sweep.ok(test, "virDomainDefineXMLFlags", xml=TEST_XML.format("again"))
    await sweep.ok(again, "virDomainUndefineFlags")
    await sweep.each(
        test,
        "virConnectListAllDomains",
        "virConnectListDomains",
        "virConnectNumOfDomains",
        "virConnectListDefinedDomains",
        "virConnectNumOfDefinedDomains",
    )


async def on_qemu(sweep: Sweep, hosts: Hosts) -> None:
    domain = await started(sweep, hosts, small_xml("life"))
    await sweep.each(
        domain,
        "virDomainSuspend",
        "virDomainResume",
        "virDomainReset",
        "virDomainInjectNMI",
        "virDomainGetControlInfo",
        "virDomainGetLaunchSecurityInfo",
        "virDomainDestroy",
    )
    await becomes(sweep, domain, SHUTOFF)
    await sweep.ok(domain, "virDomainRename", new_name="renamed")
    await sweep.ok(domain, "virDomainSetAutostart", autostart=1)
    await sweep.ok(domain, "virDomainGetAutostart")
    await sweep.ok(domain, "virDomainUndefine")


async def questions(sweep: Sweep, hosts: Hosts) -> None:
    for domain in (
        await started(sweep, hosts, guest_xml("asked")),
        await sweep.ok(hosts.test, "virDomainLookupByName", name="test"),
    ):
        await sweep.each(
            domain,
            "virDomainGetID",
            "virDomainGetInfo",
            "virDomainGetMaxMemory",
            "virDomainGetMaxVcpus",
            "virDomainGetName",
            "virDomainGetOSType",
            "virDomainGetState",
            "virDomainGetUUID",
            "virDomainGetUUIDString",
            "virDomainGetVcpuPinInfo",
            "virDomainGetVcpus",
            "virDomainGetXMLDesc",
            "virDomainHasCurrentSnapshot",
            "virDomainHasManagedSaveImage",
            "virDomainIsActive",
            "virDomainIsPersistent",
            "virDomainIsUpdated",
        )
        connection = hosts.qemu if domain["host"] == "qemu" else hosts.test
        (record,) = await sweep.ok(connection, "virDomainListGetStats", doms=[domain])
        assert record["dom"] == domain
    # Not of QEMU's: it fails when one of the guests, which may be another recipe's, ends meanwhile.
    await sweep.ok(hosts.test, "virConnectGetAllDomainStats")
    await sweep.each(
        domain,
        "virDomainGetDiskErrors",
        "virDomainGetSchedulerType",
        "virDomainGetFSInfo",
        "virDomainGetHostname",
        "virDomainGetTime",
    )


async def without_a_driver(sweep: Sweep, hosts: Hosts) -> None:
    domain = await sweep.ok(hosts.qemu, "virDomainDefineXML", xml=small_xml("refused"))
    why = "libvirt has removed it from QEMU's driver"
    await sweep.no(hosts.qemu, "virDomainQemuAttach", "VIR_ERR_NO_SUPPORT", why, pid_value=1, flags=0)
    why = "served by LXC's driver"
    await sweep.no(domain, "virDomainSendProcessSignal", "VIR_ERR_NO_SUPPORT", why, pid_value=1, signum=1)
    await sweep.no(
        domain,
        "virDomainSetLaunchSecurityState",
        "VIR_ERR_OPERATION_UNSUPPORTED",
        "needs a host with AMD SEV",
        params={"sev-secret": "AAAA", "sev-secret-header": "AAAA"},
    )
    await sweep.ok(domain, "virDomainUndefine")


RECIPES = (on_the_test_driver, on_qemu, questions, without_a_driver)
