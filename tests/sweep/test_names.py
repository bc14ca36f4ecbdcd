"""Objects whose names are hard on a routing key: every class that has a name in its key, every name."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Start

from libvirt_amqp import errors
from libvirt_amqp.catalogue import load
from libvirt_amqp.client import Client
from libvirt_amqp.keys import Address, encode_word
from libvirt_amqp.objects import CLASSES, Identity
from sweep.privileged import PrivilegedLibvirtd
from sweep.recipes import interface, nwfilter, snapshots

CONNECT = Address("h1", "connect")
SHORT = ("a.dotted.name", "with spaces in it", "#", "*", "#.*.#", "100%", "~", "%2E", "日本.é")
LONG = ("é" * 41, "n" * 81, "x." * 100)
NAMES = (*SHORT, *LONG)
CHECKPOINTS = ("a.dotted.name", "under_score-", *LONG[1:])
"""libvirt's schema of a checkpoint allows letters, digits, `_`, `-` and `.` only."""
VOLUME_XML = "<volume><name>{}</name><capacity>4096</capacity></volume>"
DEVICE_XML = "<device><name>{}</name><capability type='net'><interface>eth9</interface></capability></device>"


def test_the_names_are_such_as_fit_a_key_and_such_as_do_not() -> None:
    assert not any(encode_word(name).startswith("~") for name in SHORT)
    assert all(encode_word(name).startswith("~") for name in LONG)


async def test_volumes(client: Client, start_agent: Start) -> None:
    await start_agent()
    pool = await client.call(CONNECT, "virStoragePoolLookupByName", {"name": "default-pool"})
    for name in NAMES:
        volume = await client.call(Address.of(pool), "virStorageVolCreateXML", {"xmlDesc": VOLUME_XML.format(name)})
        assert volume["pool"] == pool
        await _calls_itself(client, volume, "virStorageVolGetName", "name", name)
        assert await client.call(Address.of(volume), "virStoragePoolLookupByVolume") == pool
    listed = await client.call(Address.of(pool), "virStoragePoolListAllVolumes")
    assert {one["name"] for one in listed} == set(NAMES)
    for volume in listed:
        await client.call(Address.of(volume), "virStorageVolDelete")
    assert await client.call(Address.of(pool), "virStoragePoolListVolumes") == []


def test_the_functions_that_take_an_object_are_those_tried_here() -> None:
    taking = {
        name
        for name, function in load().served().items()
        if any(param.type.removeprefix("[]") in CLASSES for param in function.params)
    }
    assert taking == {"virDomainListGetStats", "virStorageVolCreateXMLFrom"}


async def test_a_volume_as_an_argument(client: Client, start_agent: Start) -> None:
    await start_agent()
    pool = await client.call(CONNECT, "virStoragePoolLookupByName", {"name": "default-pool"})
    for name in NAMES:
        xml = VOLUME_XML.format(name)
        volume = await client.call(Address.of(pool), "virStorageVolCreateXML", {"xmlDesc": xml})
        enough = {"pool": {"uuid": pool["uuid"]}, "name": name}
        for number, reference in enumerate((volume, enough)):
            params = {"xmlDesc": VOLUME_XML.format(f"clone {number}"), "clonevol": reference}
            clone = await client.call(Address.of(pool), "virStorageVolCreateXMLFrom", params)
            await client.call(Address.of(clone), "virStorageVolDelete")
        await client.call(Address.of(volume), "virStorageVolDelete")


async def test_a_domain_as_an_argument(client: Client, start_agent: Start) -> None:
    await start_agent()
    domain = await client.call(CONNECT, "virDomainLookupByName", {"name": "test"})
    for reference in (domain, {"uuid": domain["uuid"]}):
        (record,) = await client.call(CONNECT, "virDomainListGetStats", {"doms": [reference]})
        assert record["dom"] == domain


@pytest.mark.parametrize(
    ("kind", "names"), [("Snapshot", NAMES), ("Checkpoint", CHECKPOINTS)], ids=["snapshots", "checkpoints"]
)
async def test_snapshots_and_checkpoints(client: Client, start_agent: Start, kind: str, names: tuple[str, ...]) -> None:
    await start_agent()
    xml = snapshots.DOMAIN_XML.format("with many")
    domain = await client.call(CONNECT, "virDomainCreateXML", {"xmlDesc": xml})
    at = Address.of(domain)
    for name in names:
        xml = snapshots.XML.format(kind.lower(), name)
        made = await client.call(at, f"virDomain{kind}CreateXML", {"xmlDesc": xml})
        assert made["domain"] == domain
        await _calls_itself(client, made, f"virDomain{kind}GetName", "name", name)
        assert await client.call(at, f"virDomain{kind}LookupByName", {"name": name}) == made
        await client.call(Address.of(made), f"virDomain{kind}Delete")
    await client.call(at, "virDomainDestroy")


async def test_interfaces(client: Client, start_agent: Start) -> None:
    await start_agent()
    for number, name in enumerate(NAMES):
        xml = interface.XML.format(name, f"02:00:00:00:01:{number:02x}")
        made = await client.call(CONNECT, "virInterfaceDefineXML", {"xml": xml})
        await _calls_itself(client, made, "virInterfaceGetName", "name", name)
        assert await client.call(CONNECT, "virInterfaceLookupByName", {"name": name}) == made
        await client.call(Address.of(made), "virInterfaceUndefine")


async def test_node_devices(client: Client, start_agent: Start, tmp_path: Path) -> None:
    node = tmp_path / "node.xml"
    node.write_text(f"<node>{''.join(map(DEVICE_XML.format, NAMES))}</node>", encoding="utf-8")
    await start_agent(uri=f"test://{node}")
    found = {one["name"]: one for one in await client.call(CONNECT, "virConnectListAllNodeDevices")}
    for name in NAMES:
        await _calls_itself(client, found[name], "virNodeDeviceGetName", "name", name)
        assert await client.call(CONNECT, "virNodeDeviceLookupByName", {"name": name}) == found[name]


async def test_bindings_of_network_filters(client: Client, start_agent: Start) -> None:
    with PrivilegedLibvirtd() as daemon:
        await start_agent(uri=daemon.uri)
        await client.call(CONNECT, "virNWFilterDefineXML", {"xmlDesc": nwfilter.XML.format("f")})
        for name in NAMES:
            xml = nwfilter.BINDING_XML.format(name, "f")
            made = await client.call(CONNECT, "virNWFilterBindingCreateXML", {"xml": xml})
            await _calls_itself(client, made, "virNWFilterBindingGetPortDev", "portdev", name)
            params = {"portdev": name}
            assert await client.call(CONNECT, "virNWFilterBindingLookupByPortDev", params) == made
            await client.call(Address.of(made), "virNWFilterBindingDelete")


async def test_what_is_deleted_is_missed_by_libvirts_error_of_its_class(client: Client, start_agent: Start) -> None:
    await start_agent()
    pool = await client.call(CONNECT, "virStoragePoolLookupByName", {"name": "default-pool"})
    for name in NAMES:
        with pytest.raises(errors.LibvirtFailed) as caught:
            await client.call(Address("h1", "storage-vol", (pool["uuid"], name)), "virStorageVolGetInfo")
        assert (caught.value.data or {})["codeName"] == "VIR_ERR_NO_STORAGE_VOL"


async def _calls_itself(client: Client, identity: Identity, function: str, member: str, name: str) -> None:
    """The object at the key that its identity makes is the one of this name."""
    said: Any = await client.call(Address.of(identity), function)
    assert (said, identity[member]) == (name, name)
