"""Devices of the host: on the test driver wherever something would change."""

from sweep.hosts import Hosts
from sweep.sweep import Sweep

HBA_XML = """<device><parent>{}</parent><capability type='scsi_host'><capability type='fc_host'>
  <wwnn>2000000012341234</wwnn><wwpn>{}</wwpn></capability></capability></device>"""
MDEV_XML = """<device><parent>computer</parent><capability type='mdev'><type id='t'/>
  <uuid>7b3b1a52-7b0f-4d0f-9c55-000000000003</uuid></capability></device>"""


async def devices(sweep: Sweep, hosts: Hosts) -> None:
    for host in (hosts.test, hosts.qemu):
        await sweep.each(host, "virConnectListAllNodeDevices", "virNodeListDevices", "virNodeNumOfDevices")
        device = await sweep.ok(host, "virNodeDeviceLookupByName", name="computer")
        await sweep.each(
            device,
            "virNodeDeviceGetName",
            "virNodeDeviceGetParent",
            "virNodeDeviceGetXMLDesc",
            "virNodeDeviceListCaps",
            "virNodeDeviceNumOfCaps",
        )
    await sweep.each(device, "virNodeDeviceIsActive", "virNodeDeviceIsPersistent", "virNodeDeviceGetAutostart")


async def a_virtual_adapter(sweep: Sweep, hosts: Hosts) -> None:
    device = await sweep.ok(
        hosts.test, "virNodeDeviceCreateXML", xmlDesc=HBA_XML.format("scsi_host1", "2000000043214321")
    )
    await sweep.ok(device, "virNodeDeviceDestroy")
    why = "the test driver does not look for adapters; a real one needs Fibre Channel"
    wwn = {"wwnn": "2000000012341234", "wwpn": "2000000043214321"}
    await sweep.no(hosts.test, "virNodeDeviceLookupSCSIHostByWWN", "VIR_ERR_NO_SUPPORT", why, **wwn)


async def what_would_change_a_real_host(sweep: Sweep, hosts: Hosts) -> None:
    why = "would change the host's devices: called on the test driver only, which does not have it"
    device = await sweep.ok(hosts.test, "virNodeDeviceLookupByName", name="computer")
    for function in (
        "virNodeDeviceCreate",
        "virNodeDeviceDetachFlags",
        "virNodeDeviceDettach",
        "virNodeDeviceReAttach",
        "virNodeDeviceReset",
        "virNodeDeviceUndefine",
    ):
        await sweep.no(device, function, "VIR_ERR_NO_SUPPORT", why)
    await sweep.no(device, "virNodeDeviceSetAutostart", "VIR_ERR_NO_SUPPORT", why, autostart=1)
    await sweep.no(hosts.test, "virNodeDeviceDefineXML", "VIR_ERR_NO_SUPPORT", why, xmlDesc=MDEV_XML)


RECIPES = (devices, a_virtual_adapter, what_would_change_a_real_host)
