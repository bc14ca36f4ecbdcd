"""A message from the queue, read and checked: everything about a request that can be known without libvirt."""

import time
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from libvirt_amqp.delivery import Delivery
from libvirt_amqp.errors import DeadlinePassed, InvalidParams, InvalidRequest, ParseError, TooLarge
from libvirt_amqp.keys import ANY, RequestKey, decode_words, encode_word, parse_request_key
from libvirt_amqp.messages import REQUEST_MEMBERS, parse_time, timestamp

STARTS_WITHIN = 60.0
"""Seconds from arrival within which a call without a deadline has to start."""


class Request(NamedTuple):
    """`words` are the plain words of the receiver's identity; `deadline` is in seconds of time.monotonic()."""

    key: RequestKey
    words: tuple[str, ...]
    params: dict[str, Any]
    deadline: float
    idempotency_key: str | None
    wants_progress: bool

    @property
    def is_for_any_host(self) -> bool:
        """Whether the key addresses every host."""
        return self.key.host == ANY


def parse(delivery: Delivery, max_bytes: int) -> dict[str, Any]:
    """Read the body as a JSON object.  Raises TooLarge, ParseError, InvalidRequest."""
    if len(delivery.body) > max_bytes:
        text = f"the request has {len(delivery.body)} bytes, the limit is {max_bytes}"
        raise TooLarge(text, {"limit": max_bytes})
    try:
        body = orjson.loads(delivery.body)
    except ValueError as error:
        raise ParseError(f"the body is no JSON: {error}") from error
    if isinstance(body, list):
        raise InvalidRequest("batches are not served: one request a message")
    if not isinstance(body, dict):
        raise InvalidRequest("a JSON-RPC 2.0 request is an object")
    return body


def call_id(body: dict[str, Any]) -> object:
    """Return the request's id, None if it has none or none that comes back as it was sent.

    An integer over 64 bits is read as a float, which has fewer digits; a fraction is no id in JSON-RPC 2.0 either.
    """
    value = body.get("id")
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def is_request(body: dict[str, Any]) -> bool:
    """Say whether the envelope is that of a request, whatever its parameters are."""
    return body.get("jsonrpc") == "2.0" and isinstance(body.get("method"), str)


def read(body: dict[str, Any], routing_key: str, host: str) -> Request:
    """Check the envelope and the key.  Raises InvalidRequest, InvalidParams, DeadlinePassed."""
    _check_envelope(body)
    try:
        key = parse_request_key(routing_key)
    except ValueError as error:
        raise InvalidRequest(f"routing key {routing_key!r}: {error}") from error
    if key.host not in {encode_word(host), ANY}:
        raise InvalidRequest(f"routing key {routing_key!r} is for another host; this is {host!r}")
    if body["method"] != key.method:
        raise InvalidRequest(f"the method {body['method']!r} is not the one in the routing key, {key.method!r}")
    try:
        words = decode_words(key, body.get("object"), host)
    except ValueError as error:
        raise InvalidRequest(f"routing key {routing_key!r}: {error}") from error
    params = body.get("params", {})
    if not isinstance(params, dict):
        raise InvalidParams("params is an object of arguments by name; positional ones are not served")
    deadline = _deadline(body.get("deadline"))
    return Request(key, words, params, deadline, body.get("idempotency_key"), body.get("progress", False))


def _check_envelope(body: dict[str, Any]) -> None:
    if body.get("jsonrpc") != "2.0":
        raise InvalidRequest('"jsonrpc" has to be "2.0"')
    if not isinstance(body.get("method"), str):
        raise InvalidRequest('"method" has to be a string')
    if body.get("id") is not None and call_id(body) is None:
        raise InvalidRequest('"id" has to be a string or an integer of 64 bits')
    unknown = body.keys() - REQUEST_MEMBERS
    if unknown:
        raise InvalidRequest(f"{min(unknown)!r} is no member of a request ({', '.join(sorted(REQUEST_MEMBERS))} are)")
    key = body.get("idempotency_key")
    if key is not None and not (isinstance(key, str) and 0 < len(key) <= 255):  # noqa: PLR2004
        raise InvalidRequest('"idempotency_key" has to be a string of 1 to 255 characters')
    if not isinstance(body.get("progress", False), bool):
        raise InvalidRequest('"progress" has to be true or false')


def _deadline(text: object) -> float:
    if text is None:
        return time.monotonic() + STARTS_WITHIN
    try:
        moment = parse_time(text) if isinstance(text, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise InvalidParams(f"deadline {text!r}: an RFC 3339 time with a zone is needed, as 2026-11-22T09:30:05.250Z")
    remaining = (moment - datetime.now(UTC)).total_seconds()
    if remaining < 0:
        raise too_late()
    return time.monotonic() + remaining


def too_late() -> DeadlinePassed:
    """Return the error of a call that did not start in time, with the agent's clock."""
    return DeadlinePassed("the deadline passed before the call could start", {"time": timestamp()})
