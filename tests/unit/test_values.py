import ast
import ctypes
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import libvirt
import pytest
from conftest import TEST_UUID
from extract_typed_params import extract
from unit.in_process import API, CALLED, Calls

from app.handlers import native
from app.handlers.calling import SWALLOWS_ERRORS
from app.handlers.integers import bits, unsigned
from app.handlers.native import takes_params
from libvirt_amqp.errors import InvalidParams, InvalidRequest, LibvirtFailed
from libvirt_amqp.typed_params import _types, type_of
from libvirt_amqp.typed_params import unsigned as unsigned_params

MAC = "aa:bb:cc:dd:ee:ff"
"""Of the interface that the test driver's domain begins with."""

C_TYPES = {
    "int32": ctypes.c_int,
    "uint8": ctypes.c_ubyte,
    "uint16": ctypes.c_ushort,
    "uint32": ctypes.c_uint,
    "uint64": ctypes.c_ulonglong,
    "string": ctypes.c_char * 32,  # virNodeInfo.model
}

CANNOT_FAIL = re.compile(r"vir\w+Get(Name|ID|UsageID|UsageType|FilterName|PortDev)")
"""What the handle itself knows."""


@pytest.fixture
def call() -> Calls:
    return Calls(libvirt.open("test:///default"))


def test_unsigned_parameters_from_2_to_the_31st_come_out_as_they_went_in(call: Calls) -> None:
    params = {"inbound.average": 3_000_000_000, "outbound.peak": 2**32 - 1, "outbound.average": 1}
    assert call("virDomainSetInterfaceParameters", TEST_UUID, device=MAC, params=params) == 0
    found = call("virDomainGetInterfaceParameters", TEST_UUID, device=MAC)
    assert found["inbound.average"] == 3_000_000_000
    assert found["outbound.average"] == 1
    in_binding = call.connection.lookupByName("test").interfaceParameters(MAC)
    assert in_binding["inbound.average"] < 0  # if it is not, the binding was mended and this can go


def test_only_parameters_that_libvirt_has_as_unsigned_are_put_right() -> None:
    params = {"net.count": -1, "block.3.backingIndex": -2, "timezone.offset": -3600, "vcpu_quota": -1, "new": -1}
    right = {"net.count": 2**32 - 1, "block.3.backingIndex": 2**32 - 2}
    assert unsigned_params(params) == params | right


def test_a_parameters_type_is_that_of_its_name() -> None:
    assert (type_of("weight"), type_of("vcpu_quota"), type_of("poll_grow")) == ("UINT", "LLONG", "UINT")
    assert (type_of("migrate_disks"), type_of("page_faults"), type_of("cputune.vcpupin7")) == (
        "STRING",
        "BOOLEAN",
        "STRING",
    )
    assert type_of("of a later libvirt") is None


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"inbound.average": True}, "params.inbound.average: an integer from 0 to 4294967295"),
        ({"inbound.average": 1.0}, "params.inbound.average: an integer from 0 to 4294967295"),
        ({"inbound.average": "1"}, "params.inbound.average: an integer from 0 to 4294967295"),
        ({"inbound.average": 2**32}, "params.inbound.average: an integer from 0 to 4294967295"),
        ({"vcpu_quota": 2**63}, "params.vcpu_quota: an integer from -9223372036854775808"),
        ({"page_faults": 1}, "params.page_faults: true or false"),
        ({"page_faults": "no"}, "params.page_faults: true or false"),
        ({"numa_nodeset": 0}, "params.numa_nodeset: a string"),
        ({"migrate_disks": ["vda", 5]}, "params.migrate_disks: a string"),
        ({"migrate_disks": []}, "params.migrate_disks: an empty array"),
        ({"unheard-of": None}, "params.unheard-of: a number, boolean, string"),
        ({"unheard-of": {"a": 1}}, "params.unheard-of: a number, boolean, string"),
        ({"unheard-of": "a\0b"}, "params.unheard-of: a string without NUL"),
        ({"": 1}, "1 to 79 bytes"),
        ({"é" * 40: 1}, "1 to 79 bytes"),
    ],
)
def test_a_parameter_of_a_wrong_type_is_named(call: Calls, params: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidParams, match=re.escape(message)):
        call("virDomainSetInterfaceParameters", TEST_UUID, device=MAC, params=params)


def test_a_parameter_that_is_not_known_goes_to_libvirt_as_json_shows_it(call: Calls) -> None:
    for value in (1, -1, 1.5, True, "text", ["a", "b"]):
        with pytest.raises(LibvirtFailed, match="'unheard-of' not supported") as caught:
            call("virDomainSetInterfaceParameters", TEST_UUID, device=MAC, params={"unheard-of": value})
        assert (caught.value.data or {})["codeName"] == "VIR_ERR_ARGUMENT_UNSUPPORTED"


def test_functions_with_parameters_take_only_what_the_c_call_is_made_for() -> None:
    functions = [f for f in API.served().values() if takes_params(f)]
    assert len(functions) == 16
    assert {kind for f in functions for _, kind, _ in f.params} == {"params", "string", "uint32"}
    assert {f.outputs for f in functions} == {(("return", "int32"),)}


def test_every_bit_of_an_unsigned_argument_reaches_libvirt(call: Calls) -> None:
    assert (bits("uint64", 2**64 - 1), bits("uint32", 2**31), bits("uint64", 2**63 - 1)) == (-1, -(2**31), 2**63 - 1)
    assert (bits("int32", -5), unsigned("uint64", -1), unsigned("int64", -1)) == (-5, 2**64 - 1, -1)
    for memory in (2**64 - 1, 2**63):
        with pytest.raises(LibvirtFailed, match=f"input too large: {memory}"):
            call("virDomainSetMaxMemory", TEST_UUID, memory=memory)
    with pytest.raises(LibvirtFailed, match="vcpu '-1' is not present"):  # the driver prints it as a signed one
        call("virDomainPinVcpu", TEST_UUID, vcpu=2**32 - 1, cpumap=[True])


@pytest.mark.parametrize(
    ("function", "params", "message"),
    [
        ("virDomainGetCPUStats", {"start_cpu": -5, "ncpus": 1}, "start_cpu"),
        ("virDomainGetDiskErrors", {"flags": 1}, "flags: from 0 to 0"),
        ("virDomainSendKey", {"codeset": 0, "holdtime": 0, "keycodes": []}, "keycodes: from 1 to 16 items"),
        ("virDomainSendKey", {"codeset": 0, "holdtime": 0, "keycodes": [1] * 17}, "keycodes: from 1 to 16 items"),
        ("virDomainRename", {"new_name": "\ud800"}, "new_name: half a surrogate pair"),
    ],
)
def test_what_the_binding_would_garble_is_refused_by_name(
    call: Calls, function: str, params: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidParams, match=message):
        call(function, TEST_UUID, **params)


def test_a_size_of_pages_that_comes_twice_is_refused(call: Calls) -> None:
    cells = {"startCell": 0, "cellCount": 1}
    for sizes, counts in (([4, 4], [1, 1]), ([4], [1, 2])):
        with pytest.raises(InvalidParams, match="pageSizes and pageCounts"):
            call("virNodeAllocPages", pageSizes=sizes, pageCounts=counts, **cells)


def test_a_key_that_c_cannot_hold_names_no_object(call: Calls) -> None:
    with pytest.raises(InvalidRequest, match="names no node-device"):
        call("virNodeDeviceGetName", "a\0b")


def test_an_error_of_an_earlier_call_is_not_told_again(call: Calls) -> None:
    with pytest.raises(LibvirtFailed, match="Domain not found"):
        call("virDomainLookupByName", name="nobody")
    libvirt.virResetLastError()
    assert call("virNodeGetFreeMemory") > 0
    assert call("virNodeDeviceGetParent", "computer") is None


def test_the_functions_whose_errors_the_binding_swallows_are_known() -> None:
    """Found in the binding itself: methods that never raise, and one that looks for another value."""
    raising = _raising_methods()
    silent = {f.name for f in API.served().values() if f"{f.owner}.{f.method}" not in raising}
    special = {"virNodeDeviceGetParent"}
    wrong_value = {"virDomainGetGuestVcpus"}
    assert {n for n in silent if not CANNOT_FAIL.fullmatch(n)} == set(SWALLOWS_ERRORS) - wrong_value | special


def test_what_c_says_is_what_comes_out(call: Calls) -> None:
    in_binding = call.connection.getInfo()
    info = call("virNodeGetInfo")
    assert list(info.values()) == [in_binding[0], in_binding[1] * 1024, *in_binding[2:]]
    pages = call("virNodeGetFreePages", pages=[4], startCell=0, cellCount=2)
    assert pages == {
        str(k): {str(s): n for s, n in v.items()} for k, v in call.connection.getFreePages([4], 0, 2).items()
    }


def test_the_fields_of_a_struct_are_those_that_c_fills(call: Calls) -> None:
    domain, pool = call.connection.lookupByName("test"), call.connection.storagePoolLookupByName("default-pool")
    volume = pool.createXML("<volume><name>v</name><capacity>7</capacity><allocation>5</allocation></volume>")
    cases = [
        ("virDomainGetInfo", domain, (TEST_UUID,), {"cpuTime"}),  # which goes on meanwhile
        ("virStoragePoolGetInfo", pool, (pool.UUIDString(),), set()),
        ("virStorageVolGetInfo", volume, (pool.UUIDString(), "v"), set()),
        ("virNodeGetInfo", call.connection, (), {"model"}),
    ]
    for function, handle, words, moving in cases:
        in_c = filled_by_c(function, handle)
        in_json = call(function, *words)
        assert list(in_json) == list(in_c)
        assert {n: v for n, v in in_json.items() if n not in moving} == {
            n: v for n, v in in_c.items() if n not in moving
        }
    volume.delete()


def test_several_outputs_are_told_apart_by_their_names_not_their_number(call: Calls) -> None:
    """A map of CPUs is one output, however many CPUs there are."""
    several = {f.name for f in CALLED if len(f.outputs) > 1}
    assert several == {
        *("virDomainGetJobStats", "virDomainGetSchedulerType", "virDomainGetState", "virDomainGetTime"),
        *("virDomainGetVcpus", "virNodeGetCPUMap"),
    }
    assert set(call("virDomainGetState", TEST_UUID)) == {"state", "reason"}
    assert set(call("virDomainGetVcpus", TEST_UUID)) == {"info", "cpumaps"}
    assert set(call("virNodeGetCPUMap")) == {"return", "cpumap", "online"}
    assert isinstance(call("virDomainGetEmulatorPinInfo", TEST_UUID), list)


def test_the_types_of_parameters_are_those_of_the_installed_description() -> None:
    assert extract(Path("/usr/share/libvirt/api")) == _types()


def filled_by_c(function: str, handle: Any) -> dict[str, Any]:
    """Call a function that fills one struct, past the binding."""
    ((_, kind),) = API.functions[function].outputs
    fields = API.structs[kind.removeprefix("struct ")]
    struct = type("Struct", (ctypes.Structure,), {"_fields_": [(name, C_TYPES[t]) for name, t in fields]})
    found = struct()
    assert getattr(native._LIBRARY, function)(ctypes.c_void_p(handle.c_pointer()), ctypes.byref(found)) == 0
    return {name: getattr(found, name) for name, _ in fields}


def _raising_methods() -> set[str]:
    """Return `virDomain.create` and its like, `libvirt_qemu.qemuMonitorCommand` for the functions of a module."""
    found = set()
    for module in ("libvirt", "libvirt_qemu"):
        spec = find_spec(module)
        assert spec is not None
        tree = ast.parse(Path(str(spec.origin)).read_text())
        for owner in [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]:
            name = module if isinstance(owner, ast.Module) else owner.name
            methods = [node for node in owner.body if isinstance(node, ast.FunctionDef)]
            found |= {f"{name}.{m.name}" for m in methods if any(isinstance(n, ast.Raise) for n in ast.walk(m))}
    return found
