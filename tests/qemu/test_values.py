"""What QEMU's driver shows of the binding's exceptions, on a connection of our own: no bus is needed for it."""

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest
from private_libvirtd import NOBODY, PrivateLibvirtd
from unit.in_process import API, ENCODER, Calls

from app.handlers import native
from app.handlers.calling import translate
from app.hypervisor import text
from libvirt_amqp.errors import InternalError, InvalidParams, LibvirtFailed
from libvirt_amqp.keys import Address
from libvirt_amqp.typed_params import type_of
from qemu.conftest import guest_xml

BOTH = libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG
BAD = b"bad\xff\xfe.img"
BAD_IN_JSON = {"$base64": "YmFk//4uaW1n"}


TYPES = dict(enumerate(("INT", "UINT", "LLONG", "ULLONG", "DOUBLE", "BOOLEAN", "STRING"), 1))


class Parameter(ctypes.Structure):
    """virTypedParameter."""

    _fields_ = (("field", ctypes.c_char * 80), ("type", ctypes.c_int), ("value", ctypes.c_ulonglong))


class Record(ctypes.Structure):
    """virDomainStatsRecord."""

    _fields_ = (("dom", ctypes.c_void_p), ("params", ctypes.POINTER(Parameter)), ("nparams", ctypes.c_int))


@pytest.fixture
def call(daemon: PrivateLibvirtd) -> Iterator[Calls]:
    connection = libvirt.open(daemon.uri)
    yield Calls(connection)
    connection.close()


@pytest.fixture
def persistent(call: Calls) -> Iterator[str]:
    """Yield the uuid of a guest that runs and is defined."""
    domain = call.connection.defineXML(guest_xml("persistent"))
    domain.create()
    yield domain.UUIDString()
    domain.destroy()
    domain.undefine()


@pytest.fixture
def defined(call: Calls) -> Iterator[str]:
    """Yield the uuid of a guest that does not run."""
    domain = call.connection.defineXML(guest_xml("defined"))
    yield domain.UUIDString()
    domain.undefine()


@pytest.fixture
def pool(call: Calls, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Yield a pool with two volumes, the name of one of which is not UTF-8."""
    folder = tmp_path / "pool"
    folder.mkdir()
    for name in (BAD, b"good.img"):
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(bytes(512))
    if os.geteuid() == 0:
        for path in (*tmp_path.parents[:3], tmp_path):
            path.chmod(0o755)
        os.chown(folder, NOBODY, NOBODY)
    xml = f"<pool type='dir'><name>odd</name><target><path>{folder}</path></target></pool>"
    made = call("virStoragePoolCreateXML", xmlDesc=xml)
    yield made
    call("virStoragePoolDestroy", made["uuid"])


def bad_volume(call: Calls, pool: dict[str, Any]) -> libvirt.virStorageVol:
    volumes = call.connection.storagePoolLookupByUUIDString(pool["uuid"]).listAllVolumes()
    (bad,) = [volume for volume in volumes if isinstance(text(volume.name), dict)]
    return bad


def test_parameters_are_set_for_now_and_for_later_at_once(call: Calls, persistent: str) -> None:
    """The binding cannot: it asks for the present ones first, and for both at once one cannot ask."""
    params = {"page_faults": False}
    assert call("virDomainSetPerfEvents", persistent, params=params, flags=BOTH) == 0
    domain = call.connection.lookupByUUIDString(persistent)
    with pytest.raises(libvirt.libvirtError, match="mutually exclusive"):
        domain.setPerfEvents(params, BOTH)  # if it can, the binding was mended


def test_statistics_have_the_types_that_libvirt_sends(call: Calls, persistent: str) -> None:
    assert persistent
    records = ctypes.POINTER(ctypes.POINTER(Record))()
    handle = ctypes.c_void_p(call.connection.c_pointer())
    count = native._LIBRARY.virConnectGetAllDomainStats(handle, 0, ctypes.byref(records), 0)
    sent = [p for i in range(count) for p in records[i].contents.params[: records[i].contents.nparams]]
    assert {"vcpu.current", "balloon.current", "state.state"} <= {p.field.decode() for p in sent}
    assert [(p.field, p.type) for p in sent if type_of(p.field.decode()) != TYPES[p.type]] == []
    native._LIBRARY.virDomainStatsRecordListFree(records)


def test_a_text_is_not_true(call: Calls, defined: str) -> None:
    with pytest.raises(InvalidParams, match="page_faults: true or false"):
        call("virDomainSetPerfEvents", defined, params={"page_faults": "no"}, flags=libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    flags = libvirt.VIR_DOMAIN_AFFECT_CONFIG
    assert call("virDomainSetPerfEvents", defined, params={"page_faults": True}, flags=flags) == 0
    assert call("virDomainGetPerfEvents", defined, flags=flags)["page_faults"] is True


@pytest.mark.parametrize(
    "function",
    ["virDomainMigrateGetMaxDowntime", "virDomainMigrateGetCompressionCache", "virDomainGetGuestVcpus"],
)
def test_an_error_that_the_binding_swallows_comes_through(call: Calls, defined: str, function: str) -> None:
    with pytest.raises(LibvirtFailed) as caught:
        call(function, defined)
    assert caught.value.data is not None
    assert caught.value.data["codeName"] == "VIR_ERR_OPERATION_INVALID"


def test_what_is_no_error_is_none(call: Calls, persistent: str) -> None:
    assert call("virDomainMigrateGetMaxDowntime", persistent) > 0
    assert call("virNodeGetFreeMemory") > 0
    assert call("virDomainGetJobStats", persistent) == {"type": libvirt.VIR_DOMAIN_JOB_NONE, "params": {}}


def test_a_name_that_is_not_utf8_is_bytes_among_the_others(call: Calls, pool: dict[str, Any]) -> None:
    assert sorted(map(str, call("virStoragePoolListVolumes", pool["uuid"]))) == sorted([str(BAD_IN_JSON), "good.img"])
    volumes = call("virStoragePoolListAllVolumes", pool["uuid"])
    bad, good = sorted(volumes, key=lambda v: isinstance(v["name"], str))
    assert (bad["name"], good["name"]) == (BAD_IN_JSON, "good.img")
    assert set(bad["path"]) == {"$base64"}
    assert bad["pool"] == good["pool"] == pool
    assert Address.of(good).words == (pool["uuid"], "good.img")
    with pytest.raises(ValueError, match=r"pool\.uuid and name"):
        Address.of(bad)


def test_a_text_that_is_not_utf8_is_bytes_or_told_as_what_it_is(call: Calls, pool: dict[str, Any]) -> None:
    """The volume cannot be named in a key, so the calls are made past it."""
    with pytest.raises(UnicodeDecodeError) as caught:
        bad_volume(call, pool).name()
    assert ENCODER.not_utf8(API.functions["virStorageVolGetName"], caught.value) == BAD_IN_JSON
    with pytest.raises(InternalError, match=r"virStoragePoolListVolumes has a text that is not UTF-8: 'bad.*xff"):
        ENCODER.not_utf8(API.functions["virStoragePoolListVolumes"], caught.value)


def test_an_error_about_such_a_name_keeps_its_numbers(call: Calls, pool: dict[str, Any], tmp_path: Path) -> None:
    """The volume cannot be named in a key, so the call is made past it."""
    os.chown(tmp_path / "pool", os.geteuid(), os.getegid())
    (tmp_path / "pool").chmod(0o555)
    bad = bad_volume(call, pool)
    with pytest.raises(SystemError) as caught:
        bad.delete()
    error = translate(caught.value, ENCODER)
    assert isinstance(error, LibvirtFailed)
    assert error.data is not None
    assert (error.data["codeName"], error.data["domainName"]) == ("VIR_ERR_SYSTEM_ERROR", "VIR_FROM_STORAGE")
    assert "bad\\xff\\xfe.img" in error.message


def test_the_structs_of_a_disk_have_cs_fields(call: Calls, pool: dict[str, Any]) -> None:
    info = call("virStorageVolGetInfo", pool["uuid"], "good.img")
    assert (info["type"], info["capacity"]) == (libvirt.VIR_STORAGE_VOL_FILE, 512)
