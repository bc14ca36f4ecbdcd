import asyncio
import gc
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from conftest import TEST_UUID, Start, eventually

from app.handlers.calls import Call
from app.hypervisor import Job
from libvirt_amqp import errors
from libvirt_amqp.catalogue import load
from libvirt_amqp.client import Client
from libvirt_amqp.keys import Address
from libvirt_amqp.messages import timestamp
from libvirt_amqp.wire import Properties

CONNECT = Address("h1", "connect")
TEST = Address("h1", "domain", (TEST_UUID,))
XML = "<domain type='test'><name>{}</name><memory>65536</memory><os><type>hvm</type></os></domain>"


@pytest.fixture(autouse=True)
async def agent(start_agent: Start) -> Any:
    return await start_agent("h1")


async def test_a_struct_comes_with_its_c_field_names_and_units(client: Client) -> None:
    info = await client.call(TEST, "virDomainGetInfo")
    assert set(info) == {"state", "maxMem", "memory", "nrVirtCpu", "cpuTime"}
    node = await client.call(CONNECT, "virNodeGetInfo")
    assert node["memory"] == 3145728, "KiB as in C, not the binding's MiB"


async def test_several_outputs_come_by_their_c_names(client: Client) -> None:
    assert set(await client.call(TEST, "virDomainGetState")) == {"state", "reason"}
    assert set(await client.call(CONNECT, "virNodeGetCPUMap")) == {"return", "cpumap", "online"}
    assert set(await client.call(TEST, "virDomainGetVcpus")) == {"info", "cpumaps"}


async def test_an_object_is_its_identity_and_the_identity_is_accepted_back(client: Client) -> None:
    domain = await client.call(CONNECT, "virDomainLookupByName", {"name": "test"})
    assert domain == {"class": "domain", "host": "h1", "uuid": TEST_UUID, "name": "test", "id": domain["id"]}
    stats = await client.call(CONNECT, "virDomainListGetStats", {"doms": [domain]})
    assert stats[0]["dom"] == domain
    assert stats[0]["params"]["state.state"] == 1


async def test_volumes_snapshots_and_their_likes_are_called_on_keys_of_their_own(client: Client) -> None:
    pool = Address.of((await client.call(CONNECT, "virConnectListAllStoragePools"))[0])
    xml = "<volume><name>disk #1.*.img</name><capacity>1048576</capacity></volume>"
    volume = await client.call(pool, "virStorageVolCreateXML", {"xmlDesc": xml})
    assert volume["pool"]["name"] == "default-pool"
    assert (await client.call(Address.of(volume), "virStorageVolGetInfo"))["capacity"] == 1048576
    await client.call(Address.of(volume), "virStorageVolDelete")
    snapshot = await client.call(TEST, "virDomainSnapshotCreateXML", {"xmlDesc": "<domainsnapshot/>"})
    assert await client.call(Address.of(snapshot), "virDomainRevertToSnapshot") == 0
    assert await client.call(Address.of(snapshot), "virDomainSnapshotDelete") == 0


async def test_a_name_too_long_for_a_key_is_hashed(client: Client) -> None:
    pool = Address.of((await client.call(CONNECT, "virConnectListAllStoragePools"))[0])
    xml = f"<volume><name>{'v' * 120}</name><capacity>4096</capacity></volume>"
    volume = Address.of(await client.call(pool, "virStorageVolCreateXML", {"xmlDesc": xml}))
    assert "~" in volume.key("virStorageVolGetName")
    assert await client.call(volume, "virStorageVolGetName") == "v" * 120
    await client.call(volume, "virStorageVolDelete")


async def test_typed_parameters_go_in_and_come_out(client: Client) -> None:
    assert await client.call(TEST, "virDomainSetSchedulerParameters", {"params": {"weight": 77}}) == 0
    assert (await client.call(TEST, "virDomainGetSchedulerParameters"))["weight"] in {50, 77}


async def test_cpu_maps_are_arrays_of_booleans(client: Client) -> None:
    cpumap = [True, False] + [False] * 14
    assert await client.call(TEST, "virDomainPinVcpu", {"vcpu": 0, "cpumap": cpumap}) == 0
    assert (await client.call(TEST, "virDomainGetVcpus"))["cpumaps"][0][:2] == cpumap[:2]


async def test_libvirts_error_comes_whole(client: Client) -> None:
    with pytest.raises(errors.LibvirtFailed) as caught:
        await client.call(Address("h1", "domain", ("0" * 8 + "-0000-0000-0000-" + "0" * 12,)), "virDomainGetInfo")
    data = caught.value.data
    assert data is not None
    assert (data["code"], data["codeName"], data["domainName"]) == (42, "VIR_ERR_NO_DOMAIN", "VIR_FROM_TEST")
    assert {"level", "message", "str1", "str2", "str3", "int1", "int2"} <= set(data)


@pytest.mark.parametrize(
    ("address", "method", "params", "error", "says"),
    [
        (TEST, "virDomainNoSuch", {}, errors.MethodNotFound, "no function"),
        (TEST, "virNetworkCreate", {}, errors.MethodNotFound, "of a network"),
        (TEST, "virDomainFree", {}, errors.NotSupported, "handle"),
        (TEST, "virDomainOpenConsole", {}, errors.LibvirtFailed, "not supported by the connection driver"),
        (TEST, "virDomainPinVcpu", {"cpumap": [True]}, errors.InvalidParams, "vcpu"),
        (TEST, "virDomainGetInfo", {"flag": 1}, errors.InvalidParams, "flag"),
        (TEST, "virDomainSetMemory", {"memory": "much"}, errors.InvalidParams, "integer"),
        (TEST, "virDomainSetMemory", {"memory": -1}, errors.InvalidParams, "0 to"),
        (TEST, "virDomainSetMemory", {"memory": True}, errors.InvalidParams, "true"),
        (TEST, "virDomainPinVcpu", {"vcpu": 0, "cpumap": "0-3"}, errors.InvalidParams, "booleans"),
        (CONNECT, "virDomainLookupByUUID", {"uuid": {"$base64": "AAAA"}}, errors.InvalidParams, "16 bytes"),
        (
            CONNECT,
            "virDomainListGetStats",
            {"doms": [{"class": "network", "uuid": "x"}]},
            errors.InvalidParams,
            "network",
        ),
        (Address("h1", "domain", ("x",)), "virDomainGetInfo", {}, errors.InvalidRequest, "uuid"),
        (Address("any", "connect"), "virConnectGetHostname", {}, errors.Denied, "lookups"),
        (Address("h1", "agent"), "snapshot", {"classes": ["nwfilter"]}, errors.InvalidParams, "an array of domain"),
        (Address("h1", "agent"), "snapshot", {"class": "domain"}, errors.InvalidParams, "no argument class"),
        (
            CONNECT,
            "virNodeGetFreePages",
            {"pages": [4], "startCell": 0, "cellCount": 2**31},
            errors.InvalidParams,
            "1024",
        ),
        (Address("h1", "agent"), "dance", {}, errors.MethodNotFound, "ping"),
    ],
)
async def test_every_mistake_has_its_own_clear_error(  # noqa: PLR0913
    client: Client,
    address: Address,
    method: str,
    params: dict[str, Any],
    error: type[errors.CallError],
    says: str,
) -> None:
    with pytest.raises(error, match=says):
        await client.call(address, method, params, timeout=5)  # of any host all refusals are waited for


async def test_nobody_listens_for_an_unknown_host(client: Client) -> None:
    with pytest.raises(errors.Unroutable):
        await client.call(Address("nobody", "connect"), "virConnectGetHostname")


@pytest.mark.feature("a call to any host is answered by the one that has the object")
async def test_a_domain_is_found_on_any_host_and_others_keep_silent(client: Client, start_agent: Start) -> None:
    await start_agent("h2", uri="test:///default")
    defined = await client.call(Address("h2", "connect"), "virDomainDefineXML", {"xml": XML.format("only")})
    found = await client.call(Address("any", "connect"), "virDomainLookupByName", {"name": "only"})
    assert found["uuid"] == defined["uuid"]
    with pytest.raises(errors.NoAnswer):
        await client.call(Address("any", "connect"), "virDomainLookupByName", {"name": "nowhere"}, timeout=0.1)
    await client.call(Address.of(defined), "virDomainUndefine")


async def test_a_deadline_that_has_passed_is_never_executed(client: Client) -> None:
    with pytest.raises(errors.DeadlinePassed) as caught:
        await client.call(TEST, "virDomainSuspend", timeout=-1.5)
    assert caught.value.data is not None
    assert datetime.fromisoformat(caught.value.data["time"]) > datetime.now(UTC) - timedelta(seconds=5)
    assert (await client.call(TEST, "virDomainGetState"))["state"] == 1


async def test_an_idempotency_key_is_not_run_twice(client: Client) -> None:
    params = {"xml": XML.format("once")}
    first = await client.call(CONNECT, "virDomainDefineXML", params, idempotency_key="k1")
    await client.call(Address.of(first), "virDomainUndefine")
    assert await client.call(CONNECT, "virDomainDefineXML", params, idempotency_key="k1") == first
    names = [d["name"] for d in await client.call(CONNECT, "virConnectListAllDomains")]
    assert "once" not in names
    with pytest.raises(errors.InvalidParams, match="another call"):
        await client.call(CONNECT, "virDomainDefineXML", {"xml": XML.format("two")}, idempotency_key="k1")


@pytest.mark.feature("two hundred calls at once are all answered")
async def test_two_hundred_calls_of_mixed_classes_are_all_answered(client: Client) -> None:
    calls = [
        (CONNECT, "virConnectGetLibVersion"),
        (CONNECT, "virConnectListAllNetworks"),
        (CONNECT, "virConnectListAllNodeDevices"),
        (TEST, "virDomainGetXMLDesc"),
        (TEST, "virDomainGetInfo"),
    ]
    answers = await asyncio.gather(*(client.call(*calls[i % len(calls)]) for i in range(200)))
    assert len(answers) == 200
    assert all(answers)


async def test_a_read_only_agent_refuses_what_changes_something_and_names_the_setting(
    client: Client, start_agent: Start
) -> None:
    await start_agent("h3", access="read-only")
    domain = Address("h3", "domain", (TEST_UUID,))
    assert await client.call(domain, "virDomainGetXMLDesc")
    with pytest.raises(errors.Denied, match="LIBVIRT_AMQP_ACCESS=full"):
        await client.call(domain, "virDomainDestroy")
    with pytest.raises(errors.Denied, match="LIBVIRT_AMQP_ACCESS=full"):
        await client.call(domain, "virDomainGetXMLDesc", {"flags": 1})


async def test_secrets_need_a_setting_of_their_own(client: Client, start_agent: Start) -> None:
    with pytest.raises(errors.Denied, match="LIBVIRT_AMQP_SECRETS=yes"):
        await client.call(TEST, "virDomainGetXMLDesc", {"flags": 1})
    with pytest.raises(errors.Denied, match="LIBVIRT_AMQP_SECRETS=yes"):
        await client.call(TEST, "virDomainQemuMonitorCommand", {"cmd": "{}", "flags": 0})
    await start_agent("h4", secrets=True)
    assert await client.call(Address("h4", "domain", (TEST_UUID,)), "virDomainGetXMLDesc", {"flags": 1})


@pytest.mark.feature("a reply that is larger than a frame")
async def test_discovery_describes_every_method(client: Client) -> None:
    document = await client.call(Address("h1", "agent"), "rpc.discover")
    assert {m["name"] for m in document["methods"]} >= set(load().served())


async def test_a_notification_is_carried_out_and_never_answered(client: Client) -> None:
    channel = await client._link.channel()
    got: list[bytes] = []
    queue = await channel.declare_queue()
    await channel.consume(queue, lambda d: got.append(d.body), no_ack=True)
    body = orjson.dumps(
        {"jsonrpc": "2.0", "method": "virDomainSuspend", "deadline": timestamp(datetime.now(UTC) + timedelta(9))}
    )
    properties = Properties("application/json", reply_to=queue)
    channel.outlet.publish("libvirt.rpc", TEST.key("virDomainSuspend"), body, properties)

    async def paused() -> bool:
        return bool((await client.call(TEST, "virDomainGetState"))["state"] == 3)

    await eventually(paused)
    assert got == []
    await client.call(TEST, "virDomainResume")


async def test_nothing_of_an_answered_call_waits_for_the_garbage_collector(client: Client) -> None:
    def left() -> int:
        return sum(isinstance(thing, Job | Call) for thing in gc.get_objects())

    gc.collect()  # what other tests have left
    before = left()
    gc.disable()
    try:
        await client.call(TEST, "virDomainGetInfo")
        with pytest.raises(errors.LibvirtFailed):
            await client.call(TEST, "virDomainCreate")
        await eventually(lambda: left() <= before)
    finally:
        gc.enable()


async def test_a_secret_in_a_wrong_shape_is_not_shown(client: Client, start_agent: Start) -> None:
    await start_agent("h5", secrets=True)
    secret = Address("h5", "secret", (TEST_UUID,))
    with pytest.raises(errors.InvalidParams, match="value: not what virSecretSetValue takes") as raised:
        await client.call(secret, "virSecretSetValue", {"value": "hunter2"})
    assert "hunter2" not in str(raised.value)
    with pytest.raises(errors.Denied):
        await client.call(_on("h1", secret), "virSecretSetValue", {"value": 5})


def _on(host: str, address: Address) -> Address:
    return Address(host, address.cls, address.words)
