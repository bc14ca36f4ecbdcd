"""What a host has beside domains: networks, storage pools, devices, secrets."""

import asyncio

from guests import udev
from sweep.binary import as_bytes
from sweep.hosts import Hosts
from sweep.recipes.network import XML as NETWORK_XML
from sweep.recipes.node_device import HBA_XML
from sweep.recipes.storage import POOL_XML

from events.run import Run

SECRET_XML = "<secret ephemeral='yes' private='no'><usage type='volume'><volume>/seen.img</volume></usage></secret>"


async def networks(run: Run, hosts: Hosts) -> None:
    for host in (hosts.test, hosts.qemu, hosts.system):
        network = await run.ok(host, "virNetworkDefineXML", xml=NETWORK_XML.format("seen"))
        await run.lifecycle(network, "DEFINED")
        await run.ok(network, "virNetworkCreate")
        await run.lifecycle(network, "STARTED")
        await run.ok(network, "virNetworkDestroy")
        await run.lifecycle(network, "STOPPED")
        await run.ok(network, "virNetworkUndefine")
        await run.lifecycle(network, "UNDEFINED")


async def pools(run: Run, hosts: Hosts) -> None:
    for host in (hosts.test, hosts.qemu, hosts.system):
        path = hosts.folder / f"seen-{host.host}"
        pool = await run.ok(host, "virStoragePoolDefineXML", xml=POOL_XML.format("seen", path))
        await run.lifecycle(pool, "DEFINED")
        await run.ok(pool, "virStoragePoolBuild")
        await run.lifecycle(pool, "CREATED")
        await run.ok(pool, "virStoragePoolCreate")
        await run.lifecycle(pool, "STARTED")
        await run.ok(pool, "virStoragePoolRefresh")
        await run.event(pool, "refresh", names={})
        await run.ok(pool, "virStoragePoolDestroy")
        await run.lifecycle(pool, "STOPPED")
        await run.ok(pool, "virStoragePoolDelete")
        await run.lifecycle(pool, "DELETED")
        await run.ok(pool, "virStoragePoolUndefine")
        await run.lifecycle(pool, "UNDEFINED")


async def virtual_adapter(run: Run, hosts: Hosts) -> None:
    xml = HBA_XML.format("scsi_host1", "2000000043214322")
    device = await run.ok(hosts.test, "virNodeDeviceCreateXML", xmlDesc=xml)
    await run.lifecycle(device, "CREATED")
    await run.ok(device, "virNodeDeviceDestroy")
    await run.lifecycle(device, "DELETED")


async def device(run: Run, hosts: Hosts) -> None:
    """The one of a network namespace; there is no udevd, so what it would say is said here."""
    (name,) = [
        found["name"]
        for found in await run.ok(hosts.system, "virConnectListAllNodeDevices")
        if found["name"].startswith("net_lo")
    ]
    device = {"class": "node-device", "host": hosts.system.host, "name": name}
    await asyncio.to_thread(udev.say, hosts.privileged.pid, "change")
    await run.event(device, "update", names={})
    await asyncio.to_thread(udev.say, hosts.privileged.pid, "remove")
    await run.lifecycle(device, "DELETED")
    await asyncio.to_thread(udev.say, hosts.privileged.pid, "add")
    await run.lifecycle(device, "CREATED")


async def secrets(run: Run, hosts: Hosts) -> None:
    for host in (hosts.qemu, hosts.system):
        secret = await run.ok(host, "virSecretDefineXML", xml=SECRET_XML)
        await run.lifecycle(secret, "DEFINED")
        await run.ok(secret, "virSecretSetValue", value=as_bytes(b"\0a secret\xff"))
        await run.event(secret, "value-changed", names={})
        await run.ok(secret, "virSecretUndefine")
        await run.lifecycle(secret, "UNDEFINED")


RECIPES = (networks, pools, virtual_adapter, device, secrets)
