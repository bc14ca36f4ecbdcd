from typing import Any
from xml.etree import ElementTree as ET

import libvirt
import pytest
from conftest import Heard, eventually
from private_libvirtd import PrivateLibvirtd

from libvirt_amqp import errors
from libvirt_amqp.client import Client
from libvirt_amqp.keys import Address
from qemu.conftest import CONNECT, Qemu, define, guest_xml, virsh

MEMORY = 16 * 1024
"""KiB."""


async def test_a_running_guests_figures_come_on_the_statistics_exchange(
    heard: Heard, qemu_agent: Qemu, guest: Address
) -> None:
    await qemu_agent()
    first, second = [m.body for m in await heard.of_type("domain.info", 2)][:2]
    figures = second["data"]
    assert second["subject"] == guest.subject
    assert figures["names"] == {"state": "VIR_DOMAIN_RUNNING"}
    assert (figures["maxMem"], figures["memory"], figures["nrVirtCpu"]) == (MEMORY, MEMORY, 1)
    assert figures["cpuTime"] >= first["data"]["cpuTime"] > 0
    assert figures["object"]["name"] == "shared"
    host = (await heard.of_type("connect.info"))[0].body["data"]
    assert host["virNodeGetFreeMemory"] > 0
    assert {"user", "kernel", "idle"} <= set(host["virNodeGetCPUStats"])


async def test_structs_strings_and_several_outputs_come_by_their_c_names(
    client: Client, qemu_agent: Qemu, guest: Address
) -> None:
    await qemu_agent()
    info = await client.call(guest, "virDomainGetInfo")
    assert (info["state"], info["maxMem"], info["nrVirtCpu"]) == (1, MEMORY, 1)
    assert await client.call(guest, "virDomainGetState") == {"state": 1, "reason": 1}
    assert await client.call(guest, "virDomainIsActive") == 1
    assert await client.call(CONNECT, "virConnectGetType") == "QEMU"
    assert (await client.call(CONNECT, "virNodeGetInfo"))["memory"] > MEMORY
    assert "qemu64" in await client.call(CONNECT, "virConnectGetCPUModelNames", {"arch": "x86_64"})


async def test_xml_is_what_libvirt_says(
    client: Client, daemon: PrivateLibvirtd, qemu_agent: Qemu, guest: Address
) -> None:
    await qemu_agent()
    xml = await client.call(guest, "virDomainGetXMLDesc")
    assert xml.strip() == virsh(daemon.uri, "dumpxml", "shared").strip()
    capabilities = ET.fromstring(await client.call(CONNECT, "virConnectGetCapabilities"))
    assert capabilities.findtext("host/uuid")


async def test_cpu_maps_go_in_and_come_out(client: Client, qemu_agent: Qemu, guest: Address) -> None:
    await qemu_agent()
    (before,) = await client.call(guest, "virDomainGetVcpuPinInfo")
    everywhere = [True] * len(before)
    only_one = [True] + [False] * (len(before) - 1)
    assert await client.call(guest, "virDomainPinVcpu", {"vcpu": 0, "cpumap": only_one}) == 0
    assert await client.call(guest, "virDomainGetVcpuPinInfo") == [only_one]
    vcpus = await client.call(guest, "virDomainGetVcpus")
    assert vcpus["cpumaps"] == [only_one]
    assert (vcpus["info"][0]["number"], vcpus["info"][0]["state"]) == (0, 1)
    assert await client.call(guest, "virDomainPinVcpu", {"vcpu": 0, "cpumap": everywhere}) == 0


async def test_typed_parameters_go_in_and_come_out(client: Client, qemu_agent: Qemu, guest: Address) -> None:
    await qemu_agent()
    await client.call(guest, "virDomainAddIOThread", {"iothread_id": 1})
    params = {"poll_max_ns": 65536, "poll_grow": 3}
    assert await client.call(guest, "virDomainSetIOThreadParams", {"iothread_id": 1, "params": params, "flags": 1}) == 0
    wanted = {"stats": libvirt.VIR_DOMAIN_STATS_IOTHREAD | libvirt.VIR_DOMAIN_STATS_STATE}
    (record,) = [
        record
        for record in await client.call(CONNECT, "virConnectGetAllDomainStats", wanted)
        if record["dom"]["uuid"] == guest.words[0]
    ]
    assert record["params"]["state.state"] == 1
    assert (record["params"]["iothread.1.poll-max-ns"], record["params"]["iothread.1.poll-grow"]) == (65536, 3)
    assert await client.call(guest, "virDomainDelIOThread", {"iothread_id": 1}) == 0


async def test_a_transient_guest_is_created_from_xml(client: Client, qemu_agent: Qemu) -> None:
    await qemu_agent()
    created = await client.call(CONNECT, "virDomainCreateXML", {"xmlDesc": guest_xml("fleeting"), "flags": 1})
    assert created["name"] == "fleeting"
    address = Address.of(created)
    assert (await client.call(address, "virDomainGetState"))["state"] == libvirt.VIR_DOMAIN_PAUSED
    assert await client.call(address, "virDomainIsPersistent") == 0
    await client.call(address, "virDomainDestroy")
    with pytest.raises(errors.LibvirtFailed) as caught:
        await client.call(address, "virDomainGetInfo")
    assert _error(caught.value)["codeName"] == "VIR_ERR_NO_DOMAIN"


async def test_an_error_of_qemus_driver_comes_whole(client: Client, qemu_agent: Qemu, guest: Address) -> None:
    await qemu_agent()
    with pytest.raises(errors.LibvirtFailed, match="already running") as caught:
        await client.call(guest, "virDomainCreate")
    error = _error(caught.value)
    assert (error["code"], error["codeName"]) == (55, "VIR_ERR_OPERATION_INVALID")
    assert error["domainName"] == "VIR_FROM_QEMU"


async def test_the_monitor_is_reached_only_where_secrets_are_opened(
    client: Client, qemu_agent: Qemu, guest: Address
) -> None:
    await qemu_agent()
    command = {"cmd": '{"execute": "query-status"}', "flags": 0}
    with pytest.raises(errors.Denied, match="LIBVIRT_AMQP_SECRETS"):
        await client.call(guest, "virDomainQemuMonitorCommand", command)
    await qemu_agent("qemu2", secrets=True)
    answer = await client.call(Address("qemu2", "domain", guest.words), "virDomainQemuMonitorCommand", command)
    assert '"running"' in answer


async def test_read_only_access_looks_and_does_not_touch(
    heard: Heard, client: Client, daemon: PrivateLibvirtd, qemu_agent: Qemu, guest: Address
) -> None:
    await qemu_agent()
    defined = await define(client, "untouched")
    await qemu_agent("qemu2", access="read-only")
    address = Address("qemu2", "domain", defined.words)
    with pytest.raises(errors.Denied, match="LIBVIRT_AMQP_ACCESS") as caught:
        await client.call(address, "virDomainCreate")
    assert caught.value.code == 2
    assert (await client.call(address, "virDomainGetState"))["state"] == libvirt.VIR_DOMAIN_SHUTOFF
    assert (await client.call(Address("qemu2", "domain", guest.words), "virDomainGetInfo"))["state"] == 1
    await client.call(defined, "virDomainUndefine")
    assert "untouched" not in virsh(daemon.uri, "list", "--all", "--name")
    await heard.of_type("domain.lifecycle", 2)


async def test_a_read_only_agent_hears_everything(
    heard: Heard, daemon: PrivateLibvirtd, qemu_agent: Qemu, guest: Address
) -> None:
    await qemu_agent(access="read-only")
    virsh(daemon.uri, "desc", guest.words[0], "--new-desc", "described")
    await heard.of_type("domain.metadata-change")


async def test_a_guest_is_found_on_any_host(client: Client, qemu_agent: Qemu, guest: Address) -> None:
    await qemu_agent()
    params = {"uuidstr": guest.words[0]}
    found = await client.call(Address("any", "connect"), "virDomainLookupByUUIDString", params)
    assert (found["host"], found["name"]) == ("qemu1", "shared")


async def test_statistics_of_a_guest_end_with_it(heard: Heard, client: Client, qemu_agent: Qemu) -> None:
    await qemu_agent()
    address = await define(client, "measured")
    await client.call(address, "virDomainCreate")
    key = address.key("info")
    await eventually(lambda: [m for m in heard if m.key == key])
    await client.call(address, "virDomainDestroy")
    rounds = len(await heard.of_type("connect.info"))
    await heard.of_type("connect.info", rounds + 1)  # one may have been on its way
    told = len([m for m in heard if m.key == key])
    await heard.of_type("connect.info", rounds + 2)
    assert len([m for m in heard if m.key == key]) == told
    await client.call(address, "virDomainUndefine")


def _error(error: errors.CallError) -> dict[str, Any]:
    assert error.data is not None
    return error.data
