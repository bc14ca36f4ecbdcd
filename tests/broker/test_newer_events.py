"""Events that this version does not know: a real libvirt's, after a part of our own catalogue was taken away."""

import pytest
from conftest import TEST_UUID, Start, hearing

from libvirt_amqp.catalogue import load
from libvirt_amqp.client import Client
from libvirt_amqp.events import FIELDS
from libvirt_amqp.keys import Address

TEST = Address("h1", "domain", (TEST_UUID,))
METADATA = "VIR_DOMAIN_EVENT_ID_METADATA_CHANGE"
ELEMENT = {"type": 2, "metadata": "<a/>", "key": "k", "uri": "http://libvirt.org/a", "flags": 0}


async def test_an_event_whose_id_is_not_known_is_published(
    monkeypatch: pytest.MonkeyPatch, broker_url: str, client: Client, start_agent: Start
) -> None:
    monkeypatch.delitem(FIELDS, METADATA)
    await start_agent("h1")
    async with hearing(broker_url, "h1.domain.#") as heard:
        await client.call(TEST, "virDomainSetMetadata", ELEMENT)
        (message,) = await heard.of_type("domain.metadata-change")
        assert message.key == TEST.key("metadata-change")
        assert message.body["data"].items() >= {"arg0": 2, "arg1": ELEMENT["uri"], "names": {}}.items()


async def test_an_event_with_a_field_that_is_not_known_is_published(
    monkeypatch: pytest.MonkeyPatch, broker_url: str, client: Client, start_agent: Start
) -> None:
    monkeypatch.setitem(FIELDS, METADATA, ("type",))
    await start_agent("h1")
    async with hearing(broker_url, "h1.domain.#") as heard:
        await client.call(TEST, "virDomainSetMetadata", ELEMENT)
        data = (await heard.of_type("domain.metadata-change", arg0=ELEMENT["uri"]))[0].body["data"]
        assert (data["type"], data["names"]) == (2, {"type": "VIR_DOMAIN_METADATA_ELEMENT"})


async def test_an_event_with_a_value_that_is_not_known_is_published(
    monkeypatch: pytest.MonkeyPatch, broker_url: str, client: Client, start_agent: Start
) -> None:
    api = load()
    monkeypatch.setattr(api, "_names", {})
    monkeypatch.delitem(api.enums["virDomainEventType"], "VIR_DOMAIN_EVENT_SUSPENDED")
    await start_agent("h1")
    async with hearing(broker_url, "h1.domain.#") as heard:
        await client.call(TEST, "virDomainSuspend")
        (message,) = await heard.of_type("domain.lifecycle", event=3)
        assert message.key == TEST.key("lifecycle", "3")
        assert message.body["data"]["names"] == {"event": None, "detail": None}
