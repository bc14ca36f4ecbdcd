import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import libvirt
import pytest

from app.events.kinds import ENUMS, FIELDS, kinds
from app.handlers.access import Access
from app.handlers.calling import is_in_binding
from app.handlers.rooms import ROOMS, SPECIAL
from libvirt_amqp import catalogue
from libvirt_amqp.errors import Denied
from libvirt_amqp.objects import CLASSES

API = Path("/usr/share/libvirt/api")
CALLBACKS = {
    "LIFECYCLE": "virConnectDomainEventCallback",
    "IO_ERROR": "virConnectDomainEventIOErrorCallback",
    "IO_ERROR_REASON": "virConnectDomainEventIOErrorReasonCallback",
    "BLOCK_JOB_2": "virConnectDomainEventBlockJobCallback",
    "RTC_CHANGE": "virConnectDomainEventRTCChangeCallback",
    "PMWAKEUP": "virConnectDomainEventPMWakeupCallback",
    "PMSUSPEND": "virConnectDomainEventPMSuspendCallback",
    "PMSUSPEND_DISK": "virConnectDomainEventPMSuspendDiskCallback",
    "REBOOT": "virConnectDomainEventGenericCallback",
    "CONTROL_ERROR": "virConnectDomainEventGenericCallback",
}


@pytest.fixture(scope="module")
def api() -> catalogue.Catalogue:
    return catalogue.load()


def described(kind: str) -> list[ET.Element]:
    return [e for name in ("libvirt-api.xml", "libvirt-qemu-api.xml") for e in ET.parse(API / name).iter(kind)]


def test_every_function_that_is_served_is_in_the_binding_and_in_a_room(api: catalogue.Catalogue) -> None:
    assert [f.name for f in api.served().values() if not is_in_binding(f)] == []
    assert {f.cls for f in api.served().values()} - {"stream"} == set(ROOMS) == set(CLASSES) - {"agent"}
    assert set(SPECIAL) <= set(api.served())


def test_what_libvirt_refuses_on_a_read_only_connection_is_known(api: catalogue.Catalogue) -> None:
    functions = api.functions
    assert functions["virDomainCreate"].writes({})
    assert functions["virDomainSetSchedulerParameters"].writes({})
    assert not functions["virDomainGetInfo"].writes({})
    assert not functions["virDomainGetXMLDesc"].writes({"flags": libvirt.VIR_DOMAIN_XML_INACTIVE})
    assert functions["virDomainGetXMLDesc"].writes({"flags": libvirt.VIR_DOMAIN_XML_SECURE})
    agent = libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT
    assert functions["virDomainInterfaceAddresses"].writes({"source": agent})


def test_every_secure_flag_needs_the_permission_for_secrets(api: catalogue.Catalogue) -> None:
    access = Access(full=True, secrets=False)
    secure = [f for f in api.served().values() if f.name.endswith("GetXMLDesc") and f.name.startswith("virDomain")]
    refused = []
    for function in secure:
        if function.name == "virDomainBackupGetXMLDesc":
            continue  # has no such flag
        with pytest.raises(Denied, match="SECRETS"):
            access.check(function, {"flags": libvirt.VIR_DOMAIN_XML_SECURE})
        refused.append(function.name)
    assert len(refused) == 5


def test_every_enum_of_an_event_is_one_of_libvirts(api: catalogue.Catalogue) -> None:
    assert [enum for enum in ENUMS.values() if not api.names(enum)] == []


def test_every_event_id_of_libvirt_has_fields_under_their_c_names(api: catalogue.Catalogue) -> None:
    callbacks = {f.get("name"): [a.get("name") for a in f.iter("arg")] for f in described("functype")}
    lower = {name.lower(): name for name in callbacks}
    known = [k for k in FIELDS if k.startswith("VIR_DOMAIN_EVENT_ID_")]
    assert len(known) == 27
    for constant in known:
        short = constant.removeprefix("VIR_DOMAIN_EVENT_ID_")
        name = CALLBACKS.get(short) or lower[f"virconnectdomainevent{short.replace('_', '').lower()}callback"]
        fields = [a for a in callbacks[name] if a not in {"conn", "dom", "opaque", "nparams"}]
        assert tuple(fields) == FIELDS[constant], constant
    assert {k.id for k in kinds(api) if k.source.cls == "domain"} >= set(range(27))
    assert len([k for k in kinds(api) if k.source.cls != "domain"]) >= 7


def test_events_have_the_names_that_virsh_gives_them(api: catalogue.Catalogue) -> None:
    of_class = {"event": "domain", "net-event": "network", "pool-event": "storage-pool"}
    of_class |= {"nodedev-event": "node-device", "secret-event": "secret"}
    for command, cls in of_class.items():
        listed = subprocess.run(
            ["virsh", "-c", "test:///default", command, "--list"], check=True, capture_output=True, text=True
        ).stdout.split()
        assert set(listed) <= {kind.name for kind in kinds(api) if kind.source.cls == cls}, command


def test_lifecycle_details_have_names(api: catalogue.Catalogue) -> None:
    kind = next(k for k in kinds(api) if k.type == "domain.lifecycle")
    for word in ("Defined", "Undefined", "Started", "Suspended", "Resumed", "Stopped", "Shutdown", "PMSuspended"):
        event = getattr(libvirt, f"VIR_DOMAIN_EVENT_{word.upper()}")
        assert kind.words((event, 0)) == ("lifecycle", word.lower())
        assert kind.data((event, 0))["names"]["detail"].startswith(f"VIR_DOMAIN_EVENT_{word.upper()}_")


def test_values_newer_than_we_know_travel_as_numbers(api: catalogue.Catalogue) -> None:
    kind = next(k for k in kinds(api) if k.type == "domain.lifecycle")
    assert kind.words((99, 7)) == ("lifecycle", "99")
    assert kind.data((99, 7)) == {"event": 99, "detail": 7, "names": {"event": None, "detail": None}}
    watchdog = next(k for k in kinds(api) if k.name == "watchdog")
    assert watchdog.data((77, "new")) == {"action": 77, "arg0": "new", "names": {"action": None}}
