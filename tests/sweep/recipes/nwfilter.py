"""Network filters and their bindings: a privileged libvirtd's."""

from sweep.binary import uuid_bytes
from sweep.hosts import Hosts
from sweep.sweep import Sweep

XML = "<filter name='{}' chain='root'/>"
BINDING_XML = """<filterbinding><owner><name>g</name><uuid>7b3b1a52-7b0f-4d0f-9c55-000000000004</uuid></owner>
  <portdev name='{}'/><mac address='52:54:00:7b:35:93'/><filterref filter='{}'/></filterbinding>"""


async def filters(sweep: Sweep, hosts: Hosts) -> None:
    system = hosts.system
    found = await sweep.ok(system, "virNWFilterDefineXML", xmlDesc=XML.format("f1"))
    again = await sweep.ok(system, "virNWFilterDefineXMLFlags", xmlDesc=XML.format("f2"), flags=1)
    await sweep.ok(again, "virNWFilterUndefine")
    await sweep.each(
        found,
        "virNWFilterGetName",
        "virNWFilterGetUUID",
        "virNWFilterGetUUIDString",
        "virNWFilterGetXMLDesc",
    )
    assert await sweep.ok(system, "virNWFilterLookupByName", name="f1") == found
    assert await sweep.ok(system, "virNWFilterLookupByUUIDString", uuidstr=found["uuid"]) == found
    assert await sweep.ok(system, "virNWFilterLookupByUUID", uuid=uuid_bytes(found["uuid"])) == found
    await sweep.each(system, "virConnectListAllNWFilters", "virConnectListNWFilters", "virConnectNumOfNWFilters")


async def bindings(sweep: Sweep, hosts: Hosts) -> None:
    system = hosts.system
    await sweep.ok(system, "virNWFilterDefineXML", xmlDesc=XML.format("f3"))
    xml = BINDING_XML.format("vnet7", "f3")
    binding = await sweep.ok(system, "virNWFilterBindingCreateXML", xml=xml)
    assert await sweep.ok(system, "virNWFilterBindingLookupByPortDev", portdev="vnet7") == binding
    assert binding in await sweep.ok(system, "virConnectListAllNWFilterBindings")
    await sweep.each(
        binding,
        "virNWFilterBindingGetFilterName",
        "virNWFilterBindingGetPortDev",
        "virNWFilterBindingGetXMLDesc",
        "virNWFilterBindingDelete",
    )


RECIPES = (filters, bindings)
