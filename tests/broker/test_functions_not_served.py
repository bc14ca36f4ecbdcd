"""What is not in the catalogue, or in it and not served: the agent works, and says so."""

import libvirt
import pytest
from conftest import TEST_UUID, Start, hearing
from structlog.testing import capture_logs

from app.handlers.calling import newer_functions
from libvirt_amqp import catalogue
from libvirt_amqp.client import Client
from libvirt_amqp.errors import MethodNotFound, NotSupported
from libvirt_amqp.keys import Address

DOMAIN = Address("h1", "domain", (TEST_UUID,))
UNKNOWN = "virDomainGetOSType"
"""The installed libvirt has it; the tests' catalogue does not, as if libvirt were newer."""


@pytest.fixture
def older_catalogue(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make the catalogue one that was made before libvirt had a function; return what it does not know then."""
    before = newer_functions(catalogue.load())
    monkeypatch.delitem(catalogue.load().functions, UNKNOWN)
    return sorted([*before, UNKNOWN])


async def test_an_agent_on_a_newer_libvirt_says_at_its_start_what_its_catalogue_does_not_know(
    start_agent: Start, older_catalogue: list[str]
) -> None:
    with capture_logs() as lines:
        await start_agent("h1")
    told = [line for line in lines if line["event"] == "functions_not_in_catalogue"]
    assert [(line["catalogue"], line["functions"]) for line in told] == [(catalogue.load().libvirt, older_catalogue)]


@pytest.mark.usefixtures("older_catalogue")
async def test_an_agent_on_a_newer_libvirt_serves_what_its_catalogue_knows(start_agent: Start, client: Client) -> None:
    await start_agent("h1")
    assert (await client.call(DOMAIN, "virDomainGetInfo"))["state"] == libvirt.VIR_DOMAIN_RUNNING
    with pytest.raises(MethodNotFound, match=rf"{UNKNOWN} is not in this agent's catalogue, made from libvirt \d+\."):
        await client.call(DOMAIN, UNKNOWN)


async def test_a_ping_and_a_heartbeat_name_the_libvirt_that_the_catalogue_was_made_from(
    broker_url: str, start_agent: Start, client: Client
) -> None:
    await start_agent("h1")
    answer = await client.call(Address("h1", "agent"), "ping")
    assert answer["versions"]["catalogue"] == catalogue.load().libvirt
    async with hearing(broker_url, "h1.agent.heartbeat") as heard:
        beat = (await heard.of_type("agent.heartbeat"))[0]
    assert beat.body["data"]["versions"]["catalogue"] == catalogue.load().libvirt


async def test_migration_with_two_connections_names_libvirts_form_with_one(start_agent: Start, client: Client) -> None:
    await start_agent("h1")
    for name in ("virDomainMigrate", "virDomainMigrate2", "virDomainMigrate3"):
        with pytest.raises(NotSupported, match="VIR_MIGRATE_PEER2PEER") as refused:
            await client.call(DOMAIN, name)
        data = refused.value.data or {}
        assert data["use"] == "virDomainMigrateToURI3"
        assert data["add_flags"] == ["VIR_MIGRATE_PEER2PEER"]
        assert data["arguments"]["dconn"] == "dconnuri"


async def test_what_replaces_an_argument_of_a_migration_is_libvirts_name_of_the_typed_parameter(
    start_agent: Start, client: Client
) -> None:
    await start_agent("h1")
    with pytest.raises(NotSupported) as refused:
        await client.call(DOMAIN, "virDomainMigrate2")
    typed = {name: to.removeprefix("params.") for name, to in (refused.value.data or {})["arguments"].items()}
    assert typed | {"dconn": "", "flags": ""} == {
        "dconn": "",
        "flags": "",
        "dname": libvirt.VIR_MIGRATE_PARAM_DEST_NAME,
        "uri": libvirt.VIR_MIGRATE_PARAM_URI,
        "bandwidth": libvirt.VIR_MIGRATE_PARAM_BANDWIDTH,
        "dxml": libvirt.VIR_MIGRATE_PARAM_DEST_XML,
    }


async def test_what_passes_file_descriptors_names_the_function_that_does_not(
    start_agent: Start, client: Client
) -> None:
    await start_agent("h1")
    with pytest.raises(NotSupported, match="file descriptors") as refused:
        await client.call(DOMAIN, "virDomainCreateWithFiles")
    assert refused.value.data == {"use": "virDomainCreateWithFlags"}
