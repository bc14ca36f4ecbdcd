"""Storage pools and volumes, in folders of the sweep's own."""

from sweep.binary import uuid_bytes
from sweep.hosts import Hosts
from sweep.sweep import Sweep

POOL_XML = "<pool type='dir'><name>{}</name><target><path>{}</path></target></pool>"
VOLUME_XML = "<volume><name>{}</name><capacity>1048576</capacity><target><format type='raw'/></target></volume>"


async def pools(sweep: Sweep, hosts: Hosts) -> None:
    qemu, path = hosts.qemu, f"{hosts.folder}/pool"
    pool = await sweep.ok(qemu, "virStoragePoolDefineXML", xml=POOL_XML.format("p1", path))
    await sweep.each(
        pool,
        "virStoragePoolBuild",
        "virStoragePoolCreate",
        "virStoragePoolRefresh",
        "virStoragePoolGetAutostart",
        "virStoragePoolGetInfo",
        "virStoragePoolGetName",
        "virStoragePoolGetUUID",
        "virStoragePoolGetUUIDString",
        "virStoragePoolGetXMLDesc",
        "virStoragePoolIsActive",
        "virStoragePoolIsPersistent",
        "virStoragePoolListVolumes",
        "virStoragePoolNumOfVolumes",
    )
    await sweep.ok(pool, "virStoragePoolSetAutostart", autostart=0)
    assert await sweep.ok(qemu, "virStoragePoolLookupByName", name="p1") == pool
    assert await sweep.ok(qemu, "virStoragePoolLookupByTargetPath", path=path) == pool
    assert await sweep.ok(qemu, "virStoragePoolLookupByUUIDString", uuidstr=pool["uuid"]) == pool
    assert await sweep.ok(qemu, "virStoragePoolLookupByUUID", uuid=uuid_bytes(pool["uuid"])) == pool
    await sweep.each(
        qemu,
        "virConnectListAllStoragePools",
        "virConnectListStoragePools",
        "virConnectNumOfStoragePools",
        "virConnectListDefinedStoragePools",
        "virConnectNumOfDefinedStoragePools",
    )
    await sweep.each(pool, "virStoragePoolDestroy", "virStoragePoolDelete", "virStoragePoolUndefine")
    fleeting = POOL_XML.format("p2", hosts.folder)
    await sweep.ok(await sweep.ok(qemu, "virStoragePoolCreateXML", xmlDesc=fleeting), "virStoragePoolDestroy")


async def sources(sweep: Sweep, hosts: Hosts) -> None:
    source = "<source><host name='a.host'/></source>"
    await sweep.ok(hosts.test, "virConnectFindStoragePoolSources", type="netfs", srcSpec=source)


async def volumes(sweep: Sweep, hosts: Hosts) -> None:
    path = hosts.folder / "volumes"
    xml = POOL_XML.format("p3", path)
    pool = await sweep.ok(hosts.qemu, "virStoragePoolCreateXML", xmlDesc=xml, flags=1)  # builds it
    volume = await sweep.ok(pool, "virStorageVolCreateXML", xmlDesc=VOLUME_XML.format("v1"))
    assert volume["pool"] == pool
    clone = await sweep.ok(pool, "virStorageVolCreateXMLFrom", xmlDesc=VOLUME_XML.format("v2"), clonevol=volume)
    await sweep.each(
        volume,
        "virStorageVolGetInfo",
        "virStorageVolGetInfoFlags",
        "virStorageVolGetKey",
        "virStorageVolGetName",
        "virStorageVolGetPath",
        "virStorageVolGetXMLDesc",
        "virStorageVolWipe",
    )
    await sweep.ok(volume, "virStorageVolWipePattern", algorithm=0)
    await sweep.ok(volume, "virStorageVolResize", capacity=2097152)
    assert await sweep.ok(volume, "virStoragePoolLookupByVolume") == pool
    assert volume["name"] in [one["name"] for one in await sweep.ok(pool, "virStoragePoolListAllVolumes")]
    assert await sweep.ok(pool, "virStorageVolLookupByName", name="v1") == volume
    assert await sweep.ok(hosts.qemu, "virStorageVolLookupByKey", key=volume["key"]) == volume
    assert await sweep.ok(hosts.qemu, "virStorageVolLookupByPath", path=volume["path"]) == volume
    for one in (volume, clone):
        await sweep.ok(one, "virStorageVolDelete")
    await sweep.ok(pool, "virStoragePoolDestroy")


RECIPES = (pools, sources, volumes)
