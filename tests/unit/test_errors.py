import libvirt
import pytest
from conftest import TEST_UUID
from unit.in_process import API, ENCODER, Calls

from libvirt_amqp.errors import LibvirtFailed, from_json

GETTERS = ("code", "domain", "message", "level")


def fail(connection: libvirt.virConnect) -> libvirt.libvirtError:
    with pytest.raises(libvirt.libvirtError) as caught:
        connection.lookupByName("nobody")
    return caught.value


@pytest.fixture
def connection() -> libvirt.virConnect:
    return libvirt.open("test:///default")


def test_a_consumer_gets_back_the_very_error_of_libvirt(connection: libvirt.virConnect) -> None:
    original = fail(connection)
    with pytest.raises(LibvirtFailed) as caught:
        Calls(connection)("virDomainLookupByName", name="nobody")
    received = from_json(caught.value.as_json())
    assert isinstance(received, LibvirtFailed)
    rebuilt = received.as_libvirt_error()
    assert isinstance(rebuilt, libvirt.libvirtError)
    assert (rebuilt.err, str(rebuilt), rebuilt.args) == (original.err, str(original), original.args)
    for name in GETTERS:
        assert getattr(rebuilt, f"get_error_{name}")() == getattr(original, f"get_error_{name}")()
    for name in ("str1", "str2", "str3", "int1", "int2"):
        assert getattr(rebuilt, f"get_{name}")() == getattr(original, f"get_{name}")()


def test_a_rebuilt_error_is_not_the_last_one_of_the_thread(connection: libvirt.virConnect) -> None:
    received = ENCODER.error(fail(connection))
    with pytest.raises(libvirt.libvirtError):
        connection.networkLookupByName("nothing")
    assert str(received.as_libvirt_error()) == "Domain not found"


def test_every_error_that_libvirt_knows_has_its_names() -> None:
    """Of code and domain: as the installed binding has them."""
    codes = {value for name, value in vars(libvirt).items() if name.startswith("VIR_ERR_") and isinstance(value, int)}
    domains = {value for name, value in vars(libvirt).items() if name.startswith("VIR_FROM_")}
    assert codes <= set(API.names("virErrorNumber"))
    assert domains <= set(API.names("virErrorDomain"))


def test_an_error_without_one_of_libvirts_says_what_the_binding_said(connection: libvirt.virConnect) -> None:
    libvirt.virResetLastError()
    with pytest.raises(libvirt.libvirtError) as caught:
        connection.getCellsFreeMemory(0, 0)
    assert caught.value.err is None
    error = ENCODER.error(caught.value)
    assert "virNodeGetCellsFreeMemory() failed" in error.message
    assert error.data is not None
    assert error.data["codeName"] == "VIR_ERR_INTERNAL_ERROR"


def test_a_domain_that_is_not_there_is_an_error_of_libvirt_not_of_the_key(connection: libvirt.virConnect) -> None:
    other = TEST_UUID.replace("6", "7")
    with pytest.raises(LibvirtFailed, match="Domain not found"):
        Calls(connection)("virDomainGetInfo", other)
