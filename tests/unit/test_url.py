"""A broker's URL: what would be ignored is refused, and the password is never repeated."""

import pytest

from libvirt_amqp.url import describe, parse_url

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("rest", "text"),
    [
        ("amqps://u:hunter2@b/?cacertfile=ca.pem", "has no option 'cacertfile'"),
        ("amqps://u:hunter2@b/?verify=no", "has no option 'verify'"),
        ("amqp://u:hunter2@b/?cafile=ca.pem", "has cafile for TLS, which needs amqps://"),
        ("amqp://u:hunter2@b/?auth=external&certfile=me.pem", "has certfile for TLS, which needs amqps://"),
        ("amqps://u:hunter2@b/?auth=external", "which needs certfile"),
        ("amqps://u:hunter2@b/?auth=hunter2", "has an auth that is neither plain nor external"),
        ("amqps://u:hunter2@b/?keyfile=me.key", "has a keyfile without a certfile"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(rest: str, text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        parse_url(rest)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "amqps://b/?auth=external&cafile=ca.pem&certfile=me.pem&keyfile=me.key",
        "amqps://u:hunter2@b/?capath=/etc/ssl/certs&auth=PLAIN",
        "amqps://u:hunter2@b/vhost?no_verify_ssl=1",
        "amqp://u:hunter2@b/?heartbeat=3&timeout=5",
    ],
)
def test_every_documented_option_passes(url: str) -> None:
    assert str(parse_url(url)) == url


def test_a_url_is_shown_without_user_password_and_files() -> None:
    assert describe("amqps://u:hunter2@b/v?cafile=ca.pem&keyfile=me.key") == "amqps://b:5671/v"
