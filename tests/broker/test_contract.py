from typing import Any

import orjson
import pytest
from conftest import TEST_UUID, Start, eventually, hearing
from contract import check_message, check_params, check_published, check_result
from jsonschema import ValidationError

from libvirt_amqp import errors
from libvirt_amqp.client import Client
from libvirt_amqp.keys import Address
from libvirt_amqp.messages import request
from libvirt_amqp.wire import Properties

CONNECT = Address("h1", "connect")
TEST = Address("h1", "domain", (TEST_UUID,))
XML = "<domain type='test'><name>{}</name><memory>65536</memory><os><type>hvm</type></os></domain>"
BASE64_UUID = {"$base64": "ZpXrAfakgwR5qpfyUC4ZPw=="}

ON_CONNECT: dict[str, dict[str, Any]] = {
    "virConnectGetCapabilities": {},
    "virConnectGetLibVersion": {},
    "virConnectGetMaxVcpus": {"type": None},
    "virConnectGetAllDomainStats": {"stats": 0, "flags": 0},
    "virConnectListAllDomains": {"flags": 1},
    "virConnectListAllInterfaces": {},
    "virConnectListAllNetworks": {},
    "virConnectListAllNodeDevices": {},
    "virConnectListAllStoragePools": {},
    "virConnectListDomains": {},
    "virConnectListDefinedDomains": {},
    "virConnectNumOfDomains": {},
    "virDomainListGetStats": {"doms": [{"uuid": TEST_UUID}]},
    "virDomainLookupByID": {"id": 1},
    "virDomainLookupByName": {"name": "test"},
    "virDomainLookupByUUID": {"uuid": BASE64_UUID},
    "virNodeGetCPUMap": {},
    "virNodeGetCPUStats": {"cpuNum": -1},
    "virNodeGetCellsFreeMemory": {"startCell": 0, "maxCells": 2},
    "virNodeGetFreeMemory": {},
    "virNodeGetFreePages": {"pages": [4], "startCell": 0, "cellCount": 2},
    "virNodeGetInfo": {},
}
ON_A_DOMAIN: dict[str, dict[str, Any]] = {
    "virDomainBlockStats": {"disk": "vda"},
    "virDomainGetAutostart": {},
    "virDomainGetBlockInfo": {"disk": "vda"},
    "virDomainGetCPUStats": {"start_cpu": -1, "ncpus": 1},
    "virDomainGetControlInfo": {},
    "virDomainGetDiskErrors": {},
    "virDomainGetFSInfo": {},
    "virDomainGetID": {},
    "virDomainGetInfo": {},
    "virDomainGetInterfaceParameters": {"device": "testnet0"},
    "virDomainGetMaxMemory": {},
    "virDomainGetMemoryParameters": {},
    "virDomainGetNumaParameters": {},
    "virDomainGetOSType": {},
    "virDomainGetSchedulerParameters": {},
    "virDomainGetSchedulerType": {},
    "virDomainGetState": {},
    "virDomainGetTime": {},
    "virDomainGetUUID": {},
    "virDomainGetUUIDString": {},
    "virDomainGetVcpuPinInfo": {},
    "virDomainGetVcpus": {},
    "virDomainGetXMLDesc": {"flags": 2},
    "virDomainInterfaceAddresses": {"source": 0},
    "virDomainInterfaceStats": {"device": "testnet0"},
    "virDomainIsActive": {},
    "virDomainMemoryStats": {},
    "virDomainPinVcpu": {"vcpu": 0, "cpumap": [True, False]},
    "virDomainSuspend": {},
    "virDomainResume": {},
    "virDomainSetBlockIoTune": {"disk": "vda", "params": {"total_bytes_sec": 5000, "total_bytes_sec_max": 6000}},
    "virDomainGetBlockIoTune": {"disk": "vda"},
    "virDomainSetMemory": {"memory": 2097152},
    "virDomainSetSchedulerParameters": {"params": {"weight": 77}},
    "virDomainSnapshotCreateXML": {"xmlDesc": "<domainsnapshot/>"},
    "virDomainListAllSnapshots": {},
}


@pytest.fixture(autouse=True)
async def agent(start_agent: Start) -> Any:
    return await start_agent("h1", secrets=True)


async def test_results_and_arguments_are_as_the_openrpc_document_says(client: Client) -> None:
    for address, calls in ((CONNECT, ON_CONNECT), (TEST, ON_A_DOMAIN)):
        for method, params in calls.items():
            check_params(method, params)
            check_result(method, await client.call(address, method, params))
    for snapshot in await client.call(TEST, "virDomainListAllSnapshots"):  # no checkpoint can be made beside one
        await client.call(Address.of(snapshot), "virDomainSnapshotDelete")


async def test_objects_of_other_classes_are_as_the_openrpc_document_says(client: Client) -> None:
    checkpoint = await client.call(TEST, "virDomainCheckpointCreateXML", {"xmlDesc": "<domaincheckpoint/>"})
    check_result("virDomainCheckpointCreateXML", checkpoint)
    check_result("virDomainListAllCheckpoints", await client.call(TEST, "virDomainListAllCheckpoints"))
    await client.call(Address.of(checkpoint), "virDomainCheckpointDelete")
    pool = Address.of((await client.call(CONNECT, "virConnectListAllStoragePools"))[0])
    xml = "<volume><name>contract.img</name><capacity>1048576</capacity></volume>"
    volume = await client.call(pool, "virStorageVolCreateXML", {"xmlDesc": xml})
    check_result("virStorageVolCreateXML", volume)
    clone = {"xmlDesc": xml.replace("contract", "clone"), "clonevol": volume}
    check_params("virStorageVolCreateXMLFrom", clone)
    copy = await client.call(pool, "virStorageVolCreateXMLFrom", clone)
    check_result("virStorageVolCreateXMLFrom", copy)
    for method in ("virStorageVolGetInfo", "virStorageVolGetPath", "virStorageVolDelete"):
        check_result(method, await client.call(Address.of(volume), method))
    await client.call(Address.of(copy), "virStorageVolDelete")
    check_result("virStoragePoolGetInfo", await client.call(pool, "virStoragePoolGetInfo"))
    device = Address.of((await client.call(CONNECT, "virConnectListAllNodeDevices"))[0])
    check_result("virNodeDeviceGetParent", await client.call(device, "virNodeDeviceGetParent"))
    check_result("virNodeDeviceListCaps", await client.call(device, "virNodeDeviceListCaps"))
    check_result("ping", await client.call(Address("h1", "agent"), "ping"))
    check_result("rpc.discover", await client.call(Address("h1", "agent"), "rpc.discover"))


async def test_what_an_agent_publishes_is_as_the_asyncapi_document_says(
    broker_url: str, client: Client, start_agent: Start
) -> None:
    async with hearing(broker_url) as heard:
        other = await start_agent("h2")
        network = Address.of(await client.call(CONNECT, "virNetworkLookupByName", {"name": "default"}))
        pool = Address.of(await client.call(CONNECT, "virStoragePoolLookupByName", {"name": "default-pool"}))
        await client.call(network, "virNetworkDestroy")
        await client.call(network, "virNetworkCreate")
        await client.call(pool, "virStoragePoolRefresh")
        await client.call(TEST, "virDomainSuspend")
        await client.call(TEST, "virDomainResume")
        await client.call(TEST, "virDomainSetMetadata", {"type": 0, "metadata": "described", "flags": 0})
        domain = await client.call(CONNECT, "virDomainDefineXML", {"xml": XML.format("contract")})
        await client.call(Address.of(domain), "virDomainUndefine")
        wanted = {"agent.started", "agent.libvirt-found", "agent.stopping", "agent.heartbeat"}
        wanted |= {"connect.info", "domain.info", "domain.lifecycle", "domain.metadata-change"}
        wanted |= {"network.lifecycle", "storage-pool.refresh"}
        await heard.of_type("connect.info")
        await other.stop()
        await eventually(lambda: wanted <= {m.body["type"].removeprefix("org.libvirt.") for m in heard})
        assert {check_published(message.body) for message in heard} >= wanted


async def test_requests_and_replies_are_as_the_asyncapi_document_says(client: Client) -> None:
    bodies = [
        request("virDomainGetState", {}, call_id=1, identity={"class": "domain", "uuid": TEST_UUID}),
        request("virDomainGetInfo", {"nonsense": 1}, call_id="two"),
        b"{",
    ]
    for body in bodies[:2]:
        check_message("request", orjson.loads(body))
    bodies.append(orjson.dumps({"jsonrpc": "2.0", "id": 3, "method": "virDomainGetInfo", "deadline": "x"}))
    replies: list[Any] = []
    channel = await client._link.channel()
    queue = await channel.declare_queue()
    await channel.consume(queue, lambda delivery: replies.append(orjson.loads(delivery.body)), no_ack=True)
    properties = Properties("application/json", reply_to=queue)
    for body, method in zip(bodies, ("virDomainGetState", *["virDomainGetInfo"] * 3), strict=True):
        channel.outlet.publish("libvirt.rpc", TEST.key(method), body, properties)
    lost = Address("h1", "domain", ("0" * 8 + "-0000-0000-0000-" + "0" * 12,))
    body = request("virDomainGetInfo", {}, call_id=4)
    channel.outlet.publish("libvirt.rpc", lost.key("virDomainGetInfo"), body, properties)
    await eventually(lambda: len(replies) == 5)
    for reply in replies:
        check_message("reply", reply)
    assert {reply["error"]["code"] for reply in replies if "error" in reply} == {
        errors.ParseError.code,
        errors.InvalidParams.code,
        errors.LibvirtFailed.code,
    }


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("virDomainSetMemory", {"memory": -1}),
        ("virDomainSetMemory", {"memory": None}),
        ("virDomainLookupByUUID", {"uuid": {"$base64": "AAAA"}}),
        ("virDomainListGetStats", {"doms": [{"class": "network", "uuid": TEST_UUID}]}),
        ("virNodeGetCellsFreeMemory", {"startCell": 0, "maxCells": 1025}),
        ("virDomainSetSchedulerParameters", {"params": {"weight": {}}}),
    ],
)
async def test_what_the_agent_refuses_the_openrpc_document_refuses_too(
    client: Client, method: str, params: dict[str, Any]
) -> None:
    address = CONNECT if method in {"virDomainLookupByUUID", "virDomainListGetStats"} or "Node" in method else TEST
    with pytest.raises(ValidationError):
        check_params(method, params)
    with pytest.raises(errors.InvalidParams):
        await client.call(address, method, params)
