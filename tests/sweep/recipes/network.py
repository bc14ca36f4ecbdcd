"""Networks and their ports."""

from sweep.binary import uuid_bytes
from sweep.hosts import Hosts
from sweep.privileged import LEASE, LEASED_BRIDGE
from sweep.sweep import Sweep

XML = "<network><name>{}</name><forward mode='bridge'/><bridge name='no-bridge'/></network>"
LEASED_XML = f"""<network><name>leased</name><bridge name='{LEASED_BRIDGE}'/>
  <ip address='192.0.2.1' netmask='255.255.255.0'><dhcp><range start='192.0.2.2' end='192.0.2.9'/></dhcp></ip>
</network>"""
ADD, DELETE, DHCP_HOST = 3, 2, 4
"""Of virNetworkUpdateCommand and virNetworkUpdateSection."""
HOST = "<host mac='52:54:00:00:00:01' name='a' ip='192.168.122.9'/>"
PORT = "7b3b1a52-7b0f-4d0f-9c55-000000000001"
PORT_XML = f"""<networkport><uuid>{PORT}</uuid><owner><name>g</name>
  <uuid>7b3b1a52-7b0f-4d0f-9c55-000000000002</uuid></owner><mac address='52:54:00:7b:35:93'/>
  <bandwidth><inbound average='1000'/></bandwidth></networkport>"""


async def networks(sweep: Sweep, hosts: Hosts) -> None:
    for host in (hosts.test, hosts.system):
        network = await sweep.ok(host, "virNetworkDefineXML", xml=XML.format("n1"))
        await sweep.ok(network, "virNetworkCreate")
        await sweep.each(
            network,
            "virNetworkGetAutostart",
            "virNetworkGetBridgeName",
            "virNetworkGetName",
            "virNetworkGetUUID",
            "virNetworkGetUUIDString",
            "virNetworkGetXMLDesc",
            "virNetworkIsActive",
            "virNetworkIsPersistent",
        )
        await sweep.ok(network, "virNetworkSetAutostart", autostart=1)
        assert await sweep.ok(host, "virNetworkLookupByName", name="n1") == network
        assert await sweep.ok(host, "virNetworkLookupByUUIDString", uuidstr=network["uuid"]) == network
        assert await sweep.ok(host, "virNetworkLookupByUUID", uuid=uuid_bytes(network["uuid"])) == network
        await sweep.each(
            host,
            "virConnectListAllNetworks",
            "virConnectListNetworks",
            "virConnectNumOfNetworks",
            "virConnectListDefinedNetworks",
            "virConnectNumOfDefinedNetworks",
        )
        await sweep.each(network, "virNetworkDestroy", "virNetworkUndefine")
        again = await sweep.ok(host, "virNetworkDefineXMLFlags", xml=XML.format("n2"))
        await sweep.ok(again, "virNetworkUndefine")
        for create in ("virNetworkCreateXML", "virNetworkCreateXMLFlags"):
            fleeting = await sweep.ok(host, create, xmlDesc=XML.format("n3"))
            await sweep.ok(fleeting, "virNetworkDestroy")


async def leases_and_updates(sweep: Sweep, hosts: Hosts) -> None:
    network = await sweep.ok(hosts.system, "virNetworkDefineXML", xml=LEASED_XML)
    (lease,) = await sweep.ok(network, "virNetworkGetDHCPLeases")
    assert lease["ipaddr"] == LEASE["ip-address"]
    await sweep.ok(network, "virNetworkUndefine")
    default = await sweep.ok(hosts.test, "virNetworkLookupByName", name="default")
    for command in (ADD, DELETE):
        await sweep.ok(default, "virNetworkUpdate", command=command, section=DHCP_HOST, parentIndex=-1, xml=HOST)


async def ports(sweep: Sweep, hosts: Hosts) -> None:
    network = await sweep.ok(hosts.system, "virNetworkCreateXML", xmlDesc=XML.format("with a port"))
    port = await sweep.ok(network, "virNetworkPortCreateXML", xmldesc=PORT_XML)
    assert port["network"] == network
    await sweep.each(
        port,
        "virNetworkPortGetUUID",
        "virNetworkPortGetUUIDString",
        "virNetworkPortGetXMLDesc",
        "virNetworkPortGetParameters",
    )
    await sweep.ok(port, "virNetworkPortSetParameters", params={"inbound.average": 1000})
    assert await sweep.ok(network, "virNetworkListAllPorts") == [port]
    assert await sweep.ok(network, "virNetworkPortLookupByUUIDString", uuidstr=PORT) == port
    assert await sweep.ok(network, "virNetworkPortLookupByUUID", uuid=uuid_bytes(PORT)) == port
    await sweep.ok(port, "virNetworkPortDelete")
    await sweep.ok(network, "virNetworkDestroy")


RECIPES = (networks, leases_and_updates, ports)
