"""What a subscriber selects: as binding keys, and as a filter."""

import pytest

from libvirt_amqp.fleet import Event
from libvirt_amqp.fleet.selection import Selection


def test_a_selection_binds_agents_news_too() -> None:
    assert Selection().event_keys == ["*.#"]
    assert Selection(hosts=["a.b"], names=["started"]).event_keys == ["a%2Eb.#"]
    assert Selection(classes=["domain"]).event_keys == ["*.agent.*", "*.domain.#"]
    assert Selection(hosts=["h1"], objects=["u"]).event_keys == ["h1.agent.*", "h1.*.u.#"]


@pytest.mark.parametrize(("name", "wanted"), [("lifecycle", True), ("started", True), ("reboot", False)])
def test_a_name_is_that_of_the_event_or_of_the_change(name: str, *, wanted: bool) -> None:
    identity = {"class": "domain", "host": "h1", "uuid": "u"}
    event = Event(
        "h1", "h1.domain.u.lifecycle.started", {"type": "org.libvirt.domain.lifecycle", "data": {"object": identity}}
    )
    assert Selection(names=[name]).wants(event) is wanted


def test_a_text_where_a_list_belongs_is_refused() -> None:
    with pytest.raises(TypeError, match="hosts"):
        Selection(hosts="h1")
    with pytest.raises(ValueError, match="domian"):
        Selection(classes=["domian"])


def test_a_snapshot_is_asked_of_the_selected_classes_that_have_events() -> None:
    assert Selection().snapshot_params == {}
    assert Selection(classes=["agent", "domain"]).snapshot_params == {"classes": ["domain"]}
