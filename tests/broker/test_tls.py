"""TLS with both sides verified, as docs/operations.md configures it: an agent and callers, and who is refused how."""

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from conftest import Start, eventually, hearing
from tls_broker import Certificates, TLSBroker, tls_broker

from app.service import running
from app.settings import Settings
from libvirt_amqp.broker import BrokerUnavailable, open_link
from libvirt_amqp.client import connect
from libvirt_amqp.keys import Address

COMMAND = Path(sys.executable).parent / "libvirt-amqp"

pytestmark = pytest.mark.only("rabbitmq", because="TLS is configured on a RabbitMQ 3 of their own")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def broker(folder: Path) -> Iterator[TLSBroker]:
    with tls_broker(folder) as broker:
        yield broker


@pytest.fixture(scope="module")
def broker_url(broker: TLSBroker) -> str:
    return broker.url_of("host1")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Another CA, which issues certificates in our names."""
    certificates = Certificates(tmp_path_factory.mktemp("stranger"))
    certificates.issue("host1")
    return certificates


async def refusal(url: str) -> str:
    """Return why a link cannot be opened; it is one line."""
    with pytest.raises(BrokerUnavailable) as caught:
        await open_link(url, "test")
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


async def run(url: str, *arguments: str) -> tuple[int | None, bytes, bytes]:
    environment = os.environ | {"LIBVIRT_AMQP_BROKER_URL": url}
    process = await asyncio.create_subprocess_exec(
        COMMAND, *arguments, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    return process.returncode, *(await process.communicate())


async def test_an_agent_is_called_and_heard_through_tls(broker: TLSBroker, start_agent: Start) -> None:
    await start_agent("host1")
    async with connect(broker.url_of("operator"), "test") as client, hearing(broker.url_of("operator")) as heard:
        answer = await client.call(Address("host1", "connect"), "virConnectGetHostname")
        await heard.of_type("agent.heartbeat")
    assert answer


async def test_the_login_is_the_common_name_of_the_certificate(broker: TLSBroker) -> None:
    link = await open_link(broker.url_of("operator"), "test")
    try:
        users = await eventually(lambda: broker.ctl("list_connections", "--silent", "user", "ssl", "auth_mechanism"))
        assert users.split() == ["operator", "true", "EXTERNAL"]
    finally:
        await link.close()


async def test_the_command_line_calls_and_watches_through_tls(broker: TLSBroker, start_agent: Start) -> None:
    await start_agent("host1")
    url = broker.url_of("operator")
    _, output, errors = await run(url, "call", "host1", "domain/test", "virDomainGetInfo")
    assert orjson.loads(output)["nrVirtCpu"] == 2, errors
    watch = await asyncio.create_subprocess_exec(
        COMMAND, "--broker", url, "watch", "--json", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert watch.stdout is not None
        line = await asyncio.wait_for(watch.stdout.readline(), 15)
    finally:
        watch.terminate()
        await watch.wait()
    assert orjson.loads(line)["key"].startswith("host1.")


async def test_a_broker_with_a_certificate_of_an_unknown_ca_is_refused(
    broker: TLSBroker, stranger: Certificates
) -> None:
    url = broker.url_of("host1").replace(f"{broker._certificates.folder}/ca.pem", f"{stranger.folder}/ca.pem")
    assert "the broker's certificate is refused: " in await refusal(url)


async def test_without_a_cafile_the_systems_authorities_count(broker: TLSBroker) -> None:
    url = broker.url_of("host1").replace(f"cafile={broker._certificates.folder}/ca.pem&", "")
    assert "the broker's certificate is refused: " in await refusal(url)


async def test_a_broker_with_a_certificate_for_another_name_is_refused(broker: TLSBroker) -> None:
    text = await refusal(broker.url_of("host1", host="127.0.0.1"))
    assert "the broker's certificate is refused: IP address mismatch" in text


async def test_who_has_no_certificate_is_refused(broker: TLSBroker) -> None:
    url = f"amqps://guest:guest@localhost:{broker.tls_port}/?cafile={broker._certificates.folder}/ca.pem"
    assert "demands a client certificate (certfile)" in await refusal(url)


async def test_a_certificate_of_a_stranger_in_the_right_name_is_refused(
    broker: TLSBroker, stranger: Certificates
) -> None:
    ours, theirs = f"{broker._certificates.folder}/host1", f"{stranger.folder}/host1"
    text = await refusal(broker.url_of("host1").replace(ours, theirs))
    # OpenSSL's alert, or, where it was overtaken by the reset, what we make of that.
    assert "our certificate" in text


async def test_a_certificate_of_nobody_the_broker_knows_is_refused(broker: TLSBroker) -> None:
    broker._certificates.issue("nobody")
    assert "ACCESS_REFUSED - Login was refused using authentication mechanism EXTERNAL" in await refusal(
        broker.url_of("nobody")
    )


async def test_a_user_without_a_password_cannot_log_in_with_one(broker: TLSBroker) -> None:
    assert "ACCESS_REFUSED" in await refusal(broker.url.replace("guest:guest", "operator:unused"))


async def test_tls_to_a_port_without_it_says_so(broker: TLSBroker) -> None:
    url = broker.url_of("host1").replace(f":{broker.tls_port}", f":{broker.port}")
    assert "there is no TLS on this port" in await refusal(url)


async def test_no_tls_to_a_port_with_it_says_so(broker: TLSBroker) -> None:
    assert "amqps:// is for it" in await refusal(f"amqp://localhost:{broker.tls_port}/")


async def test_a_virtual_host_that_is_not_there_is_named(broker: TLSBroker) -> None:
    assert "/nope: the broker refused the virtual host" in await refusal(broker.url_of("host1").replace("/?", "/nope?"))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("ca.pem", "missing.pem"), "cafile {folder}/missing.pem: No such file"),
        (("host1.key", "missing.key"), "with keyfile {folder}/missing.key: No such file"),
        (("host1.key", "broker.key"), "with keyfile {folder}/broker.key: they do not belong together"),
        (("ca.pem", "host1.key"), "cafile {folder}/host1.key: it has no such thing in PEM form"),
    ],
)
async def test_a_file_that_will_not_do_is_named(broker: TLSBroker, change: tuple[str, str], text: str) -> None:
    found = await refusal(broker.url_of("host1").replace(*change))
    assert text.format(folder=broker._certificates.folder) in found


async def test_a_renewed_certificate_is_used_without_a_restart(
    broker: TLSBroker, stranger: Certificates, tmp_path: Path
) -> None:
    ours = broker._certificates
    for kind in ("pem", "key"):
        (ours.folder / f"renewed.{kind}").write_bytes((stranger.folder / f"host1.{kind}").read_bytes())
    url = broker.url_of("renewed")
    async with running(Settings(broker_url=url, uri="test:///default", host="host1", state_dir=tmp_path)) as agent:
        await eventually(lambda: agent._bus is not None and "our certificate" in agent._bus._told)
        ours.issue("host1", stem="renewed")
        await eventually(lambda: agent._bus is not None and agent._bus.linked.is_set(), 20)
