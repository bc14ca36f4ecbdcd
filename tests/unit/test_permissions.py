"""What permissions.json says, beside libvirt itself on a read-only connection, and how it is made."""

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest
from extract_permissions import Permissions
from extraction.extractor import Extractor

from app.handlers.calling import BINDING_ERRORS, _call
from app.handlers.rooms import STREAMS
from app.handlers.typed import check_params
from libvirt_amqp import catalogue
from libvirt_amqp.catalogue import INTEGERS, Function

API = catalogue.load()
EXTRACTOR = Extractor(Path("/usr/share/libvirt/api"))
LOOKED_UP = set(EXTRACTOR.permissions)
"""Functions of a newer libvirt that are not among these count as a change whatever libvirt says."""

GIVEN_YET_A_CHANGE = {
    "virDomainDelThrottleGroup",
    "virDomainMigrateGetCompressionCache",
    "virDomainMigrateGetMaxDowntime",
}
"""libvirt's code gives these to a read-only connection, its access control asks for more: domain:write or :migrate."""
EASED = {"virNodeDeviceGetAutostart"}
"""libvirt 9.0.0 refuses it to a read-only connection, a later one does not."""

DISK = "<disk type='file'><driver type='qcow2'/><source file='/none'/><target dev='vda'/></disk>"
OTHER = f"""<domain type='test'><name>other</name><memory>1</memory><os><type>hvm</type></os>
    <devices>{DISK}</devices></domain>"""
CHECKPOINT = "<domaincheckpoint><name>c</name></domaincheckpoint>"
SNAPSHOT = "<domainsnapshot><name>s</name></domainsnapshot>"
VOLUME = "<volume><name>v</name><capacity>1</capacity></volume>"
VALUES: dict[str, Any] = {
    "string": "6695eb01-f6a4-8304-79aa-97f2502e193f",
    "bytes": b"0123456789abcdef",
    "cpumap": (True,),
    "params": check_params("params", {"weight": 1}),
    "[]string": ["x"],
    "[]uint32": [1],
    "[]uint64": [1],
}


@pytest.fixture(scope="module")
def objects() -> Iterator[dict[str, Any]]:
    """Objects of the test driver on a read-only connection, by class."""
    full = libvirt.open("test:///default")
    full.storagePoolLookupByName("default-pool").createXML(VOLUME)
    full.lookupByName("test").snapshotCreateXML(SNAPSHOT)
    other = full.createXML(OTHER)  # a domain has snapshots or checkpoints
    other.checkpointCreateXML(CHECKPOINT)
    connection = libvirt.openReadOnly("test:///default")
    domain, pool = connection.lookupByName("test"), connection.storagePoolLookupByName("default-pool")
    yield {
        "connect": connection,
        "domain": domain,
        "domain-snapshot": domain.snapshotLookupByName("s"),
        "domain-checkpoint": connection.lookupByName("other").checkpointLookupByName("c"),
        "network": connection.networkLookupByName("default"),
        "interface": connection.interfaceLookupByName("eth1"),
        "storage-pool": pool,
        "storage-vol": pool.storageVolLookupByName("v"),
        "node-device": connection.nodeDeviceLookupByName("computer"),
    }
    full.lookupByName("test").snapshotLookupByName("s").delete()
    other.checkpointLookupByName("c").delete()
    other.destroy()
    full.storagePoolLookupByName("default-pool").storageVolLookupByName("v").delete()


def refused(function: Function, objects: dict[str, Any], **given: Any) -> bool:
    """Call a function and say whether libvirt refused it because the connection is read-only."""
    values = {p.name: VALUES.get(p.type, 0) for p in function.params}
    values |= {
        p.name: 1 for p in function.params if p.type in INTEGERS and re.search("(?i)count|cells|size|ncpus|pid", p.name)
    }
    values |= {p.name: objects[p.type] for p in function.params if p.type in objects}
    values |= {p.name: [objects["domain"]] for p in function.params if p.type == "[]domain"}
    try:
        with contextlib.suppress(*BINDING_ERRORS):
            _call(function, objects[str(function.cls)], values | given, objects["connect"])
    except libvirt.libvirtError as error:
        return error.get_error_code() == libvirt.VIR_ERR_OPERATION_DENIED
    return False


def of_these(objects: dict[str, Any], wanted: Callable[[Function], bool]) -> list[Function]:
    callable_here = [f for f in API.served().values() if f.cls in objects and f.name not in STREAMS]
    return [f for f in callable_here if wanted(f)]


def test_libvirt_gives_a_read_only_connection_what_counts_as_looking(objects: dict[str, Any]) -> None:
    looking = of_these(objects, lambda f: not f.writes({}))
    assert [f.name for f in looking if refused(f, objects)] == []
    assert len(looking) > 100


def test_libvirt_refuses_a_read_only_connection_what_counts_as_a_change(objects: dict[str, Any]) -> None:
    changing = of_these(objects, lambda f: f.writes({}) and f.name in LOOKED_UP)
    given = {f.name for f in changing if not refused(f, objects)}
    assert given - EASED == GIVEN_YET_A_CHANGE & {f.name for f in changing}
    assert len(changing) > 120


def test_libvirt_refuses_a_read_only_connection_just_the_arguments_that_count_as_a_change(
    objects: dict[str, Any],
) -> None:
    conditional = of_these(objects, lambda f: f._write == "conditional")
    for function in conditional:
        for permission in (p for p in function.acl if p.argument is not None):
            arguments = {str(permission.argument): permission.bits[0]}
            assert function.writes(arguments)
            assert refused(function, objects, **arguments), (function.name, arguments)
    assert len(conditional) >= 6


def test_every_function_that_is_served_has_been_looked_up_in_libvirts_source() -> None:
    then = tuple(map(int, EXTRACTOR.looked_up_in.split(".")))
    of_then = [f for f in API.served().values() if tuple(map(int, f.since.split("."))) <= then]
    assert [f.name for f in of_then if f.name not in LOOKED_UP and f.cls != "stream"] == []


PROTOCOL = """
    /**
     * @generate: both
     * @acl: domain:write
     * @acl: domain:start
     */
    REMOTE_PROC_DOMAIN_CREATE_XML = 10,

    /**
     * @generate: both
     * @priority: high
     * @acl: domain:read
     * @acl: domain:read_secure:VIR_DOMAIN_XML_SECURE
     */
    REMOTE_PROC_DOMAIN_GET_XML_DESC = 14,

    /**
     * @acl: domain:read
     */
    REMOTE_PROC_DOMAIN_SET_SCHEDULER_PARAMETERS = 15,

    /**
     * @acl: domain:read
     * @acl: domain:write::source:VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT
     */
    REMOTE_PROC_DOMAIN_INTERFACE_ADDRESSES = 16,

    /**
     * @acl: domain:save
     */
    REMOTE_PROC_DOMAIN_NEW_AND_UNCHECKED = 17,

    /**
     * @acl: domain:read
     */
    REMOTE_PROC_DOMAIN_ODD = 18
"""
CODE = """
virDomainPtr
virDomainCreateXML(virConnectPtr conn, unsigned int flags)
{
    virCheckReadOnlyGoto(conn->flags, error);
    return conn->driver->domainCreateXML(conn, flags);
}

virDomainPtr
virDomainCreateLinux(virConnectPtr conn, unsigned int flags)
{
    return virDomainCreateXML(conn, flags);
}

char *
virDomainGetXMLDesc(virDomainPtr domain, unsigned int flags)
{
    if ((conn->flags & VIR_CONNECT_RO) &&
        (flags & VIR_DOMAIN_XML_SECURE)) {
        goto error;
    }
    return conn->driver->domainGetXMLDesc(domain, flags);
}

int virDomainSetSchedulerParameters(virDomainPtr domain)
{
    virCheckReadOnlyGoto(domain->conn->flags, error);
    return conn->driver->domainSetSchedulerParameters(domain);
}

int
virDomainInterfaceAddresses(virDomainPtr dom, unsigned int source)
{
    if (source == VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT)
        virCheckReadOnlyGoto(dom->conn->flags, error);
    return conn->driver->domainInterfaceAddresses(dom, source);
}

int
virDomainNewAndUnchecked(virDomainPtr dom)
{
    return conn->driver->domainNewAndUnchecked(dom);
}

int
virDomainOdd(virDomainPtr dom, unsigned int flags)
{
    if (flags & VIR_ODD)
        virCheckReadOnlyGoto(dom->conn->flags, error);
    return conn->driver->domainOdd(dom, flags);
}

const char *
virDomainGetName(virDomainPtr domain)
{
    return domain->name;
}

int
virDomainRef(virDomainPtr domain)
{
    virObjectRef(domain);
    return 0;
}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree as libvirt's, with one function of every kind."""
    (tmp_path / "src" / "remote").mkdir(parents=True)
    (tmp_path / "meson.build").write_text("project(\n  'libvirt', 'c',\n  version: '1.2.3',\n)\n")
    (tmp_path / "src" / "remote" / "remote_protocol.x").write_text(PROTOCOL)
    (tmp_path / "src" / "remote" / "qemu_protocol.x").write_text("")
    (tmp_path / "src" / "libvirt-domain.c").write_text(CODE)
    (tmp_path / "src" / "libvirt_qemu.syms").write_text("")
    words = "CreateXML CreateLinux GetXMLDesc SetSchedulerParameters InterfaceAddresses NewAndUnchecked Odd GetName Ref"
    symbols = "".join(f"        virDomain{word};\n" for word in words.split())
    (tmp_path / "src" / "libvirt_public.syms").write_text(symbols)
    return tmp_path


def test_permissions_come_from_the_protocol_and_the_entry_points(tree: Path) -> None:
    made = Permissions(tree)
    rows = made.rows()
    assert made.version == "1.2.3"
    assert {name.removeprefix("virDomain"): row["write"] for name, row in rows.items()} == {
        "CreateXML": True,
        "CreateLinux": True,  # calls one that refuses
        "GetXMLDesc": "conditional",
        "SetSchedulerParameters": True,  # its permission is one to look, its code refuses
        "InterfaceAddresses": "conditional",
        "NewAndUnchecked": True,  # its code refuses nobody, its permission is none to look
        "Odd": True,  # its code refuses under a condition that the protocol does not have
        "GetName": False,
    }
    assert rows["virDomainGetXMLDesc"]["acl"] == ["domain:read", "domain:read_secure?flags&VIR_DOMAIN_XML_SECURE"]
    assert [name for name, row in rows.items() if row["high"]] == ["virDomainGetName", "virDomainGetXMLDesc"]
    assert made.unplaced == ["virDomainRef"]
