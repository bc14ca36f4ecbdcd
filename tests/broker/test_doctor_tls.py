"""`libvirt-amqp doctor` and TLS: what a real broker or our own files refuse comes with the line that mends it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from examined import examine
from tls_broker import TLSBroker, tls_broker

from app.doctor.login import refusal
from libvirt_amqp.broker import BrokerUnavailable, open_link

pytestmark = pytest.mark.only("rabbitmq", because="TLS is configured on a RabbitMQ 3 of their own")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TLSBroker]:
    with tls_broker(tmp_path_factory.mktemp("tls")) as broker:
        yield broker


async def mend(url: str) -> tuple[str, str]:
    """Return what the doctor makes of the refusal that this URL gets."""
    with pytest.raises(BrokerUnavailable) as caught:
        await open_link(url, "test")
    return refusal(url, str(caught.value), "PERMIT")


async def test_who_comes_in_by_a_certificate_is_told_so(broker: TLSBroker, tmp_path: Path) -> None:
    settings = {"HOST": "host1", "URI": "test:///default", "STATE_DIR": str(tmp_path)}
    found = (await examine(BROKER_URL=broker.url_of("host1"), **settings)).found["broker login"]
    assert (found.status, "NAME_IN_CERTIFICATE" in found.text) == ("ok", True), found


async def test_an_authority_is_appended_where_none_is_named(broker: TLSBroker) -> None:
    _, line = await mend(f"amqps://localhost:{broker.tls_port}/")
    assert line == "append ?cafile=/path/to/ca.pem to LIBVIRT_AMQP_BROKER_URL"


async def test_a_certificate_is_appended_to_the_options_that_are_there(broker: TLSBroker) -> None:
    _, line = await mend(f"amqps://localhost:{broker.tls_port}/?cafile={broker._certificates.folder}/ca.pem")
    assert line == "append &certfile=/path/to/cert.pem&keyfile=/path/to/key.pem to LIBVIRT_AMQP_BROKER_URL"


async def test_another_name_of_the_broker_is_no_matter_of_trust(broker: TLSBroker) -> None:
    text, line = await mend(broker.url_of("host1", host="127.0.0.1"))
    assert text.startswith("the broker's certificate has other names: ")
    assert f"openssl s_client -connect 127.0.0.1:{broker.tls_port} " in line


async def test_an_authority_that_is_the_wrong_one_is_replaced_and_not_appended(broker: TLSBroker) -> None:
    wrong = f"{broker._certificates.folder}/host1.pem"
    _, line = await mend(broker.url_of("host1", ca="host1.pem"))
    assert line.startswith(f"cafile= with the authority that signed it, not {wrong} ")


async def test_a_user_of_the_certificates_name_is_made_without_a_password(broker: TLSBroker) -> None:
    broker._certificates.issue("host7")
    url = broker.url_of("host7")
    _, line = await mend(url)
    assert f"-subject -in {broker._certificates.folder}/host7.pem" in line
    for command in line.partition("   (")[0].replace("NAME_IN_CERTIFICATE", "host7").split("; "):
        broker.ctl(*command.split()[1:])
    assert (await mend(url))[0].startswith("virtual host / is missing, or not for user NAME_IN_CERTIFICATE")


async def test_a_certificate_of_ours_that_has_expired_is_renewed_and_not_appended(broker: TLSBroker) -> None:
    folder = broker._certificates.folder
    past = datetime(2020, 1, 2, tzinfo=UTC)
    made = broker._certificates._ca.issue_cert("host1", common_name="host1", not_before=past, not_after=past)
    made.cert_chain_pems[0].write_to_path(folder / "old.pem")
    made.private_key_pem.write_to_path(folder / "old.key")
    _, line = await mend(broker.url_of("old"))
    assert line.startswith(f"openssl x509 -noout -dates -issuer -in {folder}/old.pem ")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            ("ca.pem", "missing.pem"),
            "cafile=/path/to/one/in/PEM in LIBVIRT_AMQP_BROKER_URL, or put it at {}/missing.pem",
        ),
        (
            ("host1.key", "missing.key"),
            "keyfile=/path/to/one/in/PEM in LIBVIRT_AMQP_BROKER_URL, or put it at {}/missing.k",
        ),
        (
            ("host1.key", "broker.key"),
            "openssl pkey -pubout -in {}/broker.key; openssl x509 -noout -pubkey -in {0}/host1.pem",
        ),
    ],
)
async def test_a_file_that_will_not_do_is_answered_with_the_file(
    broker: TLSBroker, change: tuple[str, str], line: str
) -> None:
    text, mends = await mend(broker.url_of("host1").replace(*change))
    assert text.startswith("a file that the URL names will not do: ")
    assert mends.startswith(line.replace("{}", "{0}").format(broker._certificates.folder)), mends
