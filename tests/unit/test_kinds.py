"""What a newer libvirt, or a newer binding, may give: nothing of it is lost."""

from typing import Any

import libvirt
import orjson
import pytest

from app.events.kinds import Kind, kinds
from libvirt_amqp.catalogue import load
from libvirt_amqp.events import ENUMS

NEW_IDS = {
    "VIR_DOMAIN_EVENT_ID_NIC_MAC_CHANGE": (
        27,
        "domain.nic-mac-change",
        ("net0", "52:54:00:00:00:01", "52:54:00:2:3:4"),
    ),
    "VIR_DOMAIN_EVENT_ID_VCPU_REMOVED": (28, "domain.vcpu-removed", (3,)),
    "VIR_DOMAIN_EVENT_ID_CHANNEL_LIFECYCLE": (29, "domain.channel-lifecycle", (1, 2)),
    "VIR_NETWORK_EVENT_ID_METADATA_CHANGE": (1, "network.metadata-change", (1, None)),
}
"""Ids of libvirts after 9.0, and what the binding gives of them."""


def kind(name: str) -> Kind:
    return next(k for k in kinds(load()) if k.type == name)


@pytest.mark.parametrize("constant", NEW_IDS)
def test_an_id_of_a_newer_libvirt_is_an_event_with_its_values_in_their_order(
    monkeypatch: pytest.MonkeyPatch, constant: str
) -> None:
    number, name, values = NEW_IDS[constant]
    monkeypatch.setattr(libvirt, constant, number, raising=False)
    new = kind(name)
    assert new.id == number
    assert new.words(values) == (name.partition(".")[2],)
    assert new.data(values) == {f"arg{i}": value for i, value in enumerate(values)} | {"names": {}}


@pytest.mark.parametrize(("event", "field"), ENUMS)
def test_a_value_that_an_enum_here_does_not_have_is_a_number_without_a_name(event: str, field: str) -> None:
    of_event = kind(f"domain.{event}")
    fields = list(of_event._fields or ())
    values = tuple(977 if one == field else [] if one == "subject" else 0 for one in fields)
    data = of_event.data(values)
    assert data[field] == 977
    assert data["names"][field] is None


@pytest.mark.parametrize("cls", ["domain", "network", "storage-pool", "node-device", "secret"])
def test_a_change_of_lifecycle_that_is_not_known_has_its_number_in_the_key(cls: str) -> None:
    lifecycle = kind(f"{cls}.lifecycle")
    assert lifecycle.words((99, 7)) == ("lifecycle", "99")
    assert lifecycle.data((99, 7)) == {"event": 99, "detail": 7, "names": {"event": None, "detail": None}}


def test_a_detail_that_is_not_known_leaves_the_events_name() -> None:
    names = kind("domain.lifecycle").data((5, 99))["names"]
    assert names == {"event": "VIR_DOMAIN_EVENT_STOPPED", "detail": None}


@pytest.mark.parametrize("of_event", kinds(load()), ids=lambda k: k.type)
def test_a_field_more_than_is_known_of_any_event_comes_behind_the_others(of_event: Kind) -> None:
    fields = of_event._fields or ()
    values: tuple[Any, ...] = tuple([] if field == "subject" else 1 for field in fields)
    data = of_event.data((*values, "new", 2**64 - 1))
    assert list(data) == [*fields, "arg0", "arg1", "names"]
    assert (data["arg0"], data["arg1"]) == ("new", 2**64 - 1)


@pytest.mark.parametrize(
    ("value", "published"),
    [
        ([("a", "b", "c")], [["a", "b", "c"]]),
        ({"a": {"b": (1, 2)}}, {"a": {"b": [1, 2]}}),
        ({1: b"\xff"}, {"1": {"$base64": "/w=="}}),
        (1.5, 1.5),
        (complex(1, 2), "(1+2j)"),
    ],
    ids=["tuples", "nested", "bytes", "fraction", "no JSON at all"],
)
def test_a_field_of_another_shape_is_published_as_json(value: Any, published: Any) -> None:
    data = kind("domain.watchdog").data((0, value))
    assert data["arg0"] == published
    orjson.dumps(data)


@pytest.mark.parametrize("value", ["pause", None, [1], {"a": 1}])
def test_an_enum_that_is_no_number_any_more_is_published_without_a_name(value: Any) -> None:
    assert kind("domain.watchdog").data((value,)) == {"action": value, "names": {"action": None}}


def test_who_was_let_in_to_a_guests_screen_has_type_and_name() -> None:
    address = {"family": 0, "node": "192.0.2.1", "service": "5900"}
    data = kind("domain.graphics").data((1, address, address, "vnc", [("x509dname", "CN=a"), ("saslUsername", "b")]))
    assert data["subject"] == [{"type": "x509dname", "name": "CN=a"}, {"type": "saslUsername", "name": "b"}]
    assert (data["local"], data["names"]) == (address, {"phase": "VIR_DOMAIN_EVENT_GRAPHICS_INITIALIZE"})
