"""Network interfaces of the host: on the test driver only, a real one would change the host."""

from sweep.hosts import Hosts
from sweep.sweep import Sweep

XML = "<interface type='ethernet' name='{}'><start mode='none'/><mac address='{}'/><mtu size='1500'/></interface>"


async def interfaces(sweep: Sweep, hosts: Hosts) -> None:
    mac = "02:00:00:00:00:01"
    interface = await sweep.ok(hosts.test, "virInterfaceDefineXML", xml=XML.format("eth7", mac))
    assert await sweep.ok(hosts.test, "virInterfaceLookupByName", name="eth7") == interface
    assert await sweep.ok(hosts.test, "virInterfaceLookupByMACString", macstr=mac) == interface
    await sweep.each(
        hosts.test,
        "virConnectListAllInterfaces",
        "virConnectListInterfaces",
        "virConnectNumOfInterfaces",
        "virConnectListDefinedInterfaces",
        "virConnectNumOfDefinedInterfaces",
    )
    await sweep.each(
        interface,
        "virInterfaceCreate",
        "virInterfaceGetMACString",
        "virInterfaceGetName",
        "virInterfaceGetXMLDesc",
        "virInterfaceIsActive",
        "virInterfaceDestroy",
        "virInterfaceUndefine",
    )


async def changes(sweep: Sweep, hosts: Hosts) -> None:
    await sweep.each(
        hosts.test,
        "virInterfaceChangeBegin",
        "virInterfaceChangeCommit",
        "virInterfaceChangeBegin",
        "virInterfaceChangeRollback",
    )


async def those_of_a_real_host(sweep: Sweep, hosts: Hosts) -> None:
    interface = await sweep.ok(hosts.qemu, "virInterfaceLookupByName", name="lo")
    await sweep.each(interface, "virInterfaceGetName", "virInterfaceIsActive")


RECIPES = (interfaces, changes, those_of_a_real_host)
