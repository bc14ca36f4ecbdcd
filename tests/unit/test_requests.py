import pytest

from app.handlers.requests import call_id, parse, read
from libvirt_amqp.delivery import Delivery
from libvirt_amqp.errors import InvalidRequest, ParseError

KEY = "h1.connect.virConnectGetType"


def request_with_id(text: str) -> Delivery:
    body = f'{{"jsonrpc":"2.0","method":"virConnectGetType","id":{text}}}'
    return Delivery("libvirt.rpc", KEY, body.encode(), 1, redelivered=False, reply_to="q", correlation_id=None)


@pytest.mark.parametrize(
    ("text", "is_given_back"),
    [("0", 0), ("-9223372036854775808", -(2**63)), ("18446744073709551615", 2**64 - 1), ('"1.5"', "1.5"), ('""', "")],
)
def test_a_string_and_an_integer_of_64_bits_are_ids(text: str, is_given_back: object) -> None:
    body = parse(request_with_id(text), 1000)
    read(body, KEY, "h1")
    assert call_id(body) == is_given_back


@pytest.mark.parametrize(
    "text", ["18446744073709551616", "-9223372036854775809", "1.5", "1.0", "1e2", "true", "[1]", "{}"]
)
def test_what_would_not_come_back_as_it_was_sent_is_no_id(text: str) -> None:
    body = parse(request_with_id(text), 1000)
    assert call_id(body) is None
    with pytest.raises(InvalidRequest, match="64 bits"):
        read(body, KEY, "h1")


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999", '"\\ud800"', "01"])
def test_what_json_has_no_form_for_is_no_json(text: str) -> None:
    with pytest.raises(ParseError):
        parse(request_with_id(text), 1000)
