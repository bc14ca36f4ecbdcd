"""The two kinds of message body: CloudEvents for what the agent says, JSON-RPC 2.0 for what it is asked.

Everything a reader needs is in the body, because headers of an AMQP 0-9-1 publisher do not reach AMQP 1.0 readers
on RabbitMQ 3.
"""

from datetime import UTC, datetime
from typing import Any

import orjson

from libvirt_amqp import errors
from libvirt_amqp.keys import Address, encode_word

EVENT_CONTENT_TYPE = "application/cloudevents+json"
CALL_CONTENT_TYPE = "application/json"
TYPE_PREFIX = "org.libvirt."

REQUEST_MEMBERS = frozenset(
    ("jsonrpc", "id", "method", "params", "deadline", "object", "idempotency_key", "progress"),
)


def timestamp(moment: datetime | None = None) -> str:
    """Return a moment (now, if none is given) in RFC 3339, UTC, to the microsecond."""
    return (moment or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time with a zone.  Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None or "T" not in text.upper():
        raise ValueError("an RFC 3339 time with a zone is needed, as 2026-11-22T09:30:05.250Z")
    return moment


def sequence(epoch: int, number: int) -> str:
    """Return the `sequence` (and `id`) of an event: it sorts as text, is contiguous within an epoch, starts at 1."""
    return f"{epoch:010d}-{number:015d}"


def cloud_event(  # noqa: PLR0913 (one parameter per attribute of the CloudEvent)
    address: Address,
    kind: str,
    data: dict[str, Any],
    *,
    event_id: str,
    time: str,
    extensions: dict[str, Any] | None = None,
) -> bytes:
    """Encode one event, sample or heartbeat; `kind` is its type without the prefix, as `domain.lifecycle`."""
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": event_id,
            "source": encode_word(address.host),
            "type": TYPE_PREFIX + kind,
            "subject": address.subject,
            "time": time,
            "datacontenttype": CALL_CONTENT_TYPE,
            **(extensions or {}),
            "data": data,
        },
        option=orjson.OPT_NON_STR_KEYS,
    )


def request(  # noqa: PLR0913 (one parameter per member of the request)
    method: str,
    params: dict[str, Any],
    *,
    call_id: int | str | None,
    deadline: datetime | None = None,
    idempotency_key: str | None = None,
    identity: dict[str, Any] | None = None,
    wants_progress: bool = False,
) -> bytes:
    """Encode a request; without a `call_id` it is carried out and never answered."""
    body: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
    optional = {
        "id": call_id,
        "deadline": timestamp(deadline) if deadline else None,
        "idempotency_key": idempotency_key,
        "object": identity,
        "progress": wants_progress or None,
    }
    return orjson.dumps(body | {name: value for name, value in optional.items() if value is not None})


def result_reply(call_id: object, result: object) -> bytes:
    """Encode the answer to a call that succeeded."""
    return orjson.dumps({"jsonrpc": "2.0", "id": call_id, "result": result}, option=orjson.OPT_NON_STR_KEYS)


def error_reply(call_id: object, error: errors.CallError) -> bytes:
    """Encode the answer to a call that failed; `call_id` is None when the request's could not be read."""
    return orjson.dumps({"jsonrpc": "2.0", "id": call_id, "error": error.as_json()})


def progress(call_id: object, *, number: int, elapsed: float, state: str, job: Any) -> bytes:
    """Encode a notification to a caller that waits: `elapsed` in seconds since the request arrived."""
    params = {"id": call_id, "number": number, "elapsed": elapsed, "state": state, "job": job}
    return orjson.dumps({"jsonrpc": "2.0", "method": "progress", "params": params}, option=orjson.OPT_NON_STR_KEYS)


def read_reply(body: bytes) -> Any:
    """Return the result of a reply, or raise the CallError it carries.  Raises ValueError when it is no reply."""
    reply = orjson.loads(body)
    if isinstance(reply, dict) and isinstance(reply.get("error"), dict):
        raise errors.from_json(reply["error"])
    if not isinstance(reply, dict) or "result" not in reply:
        raise ValueError("a reply has a `result` or an `error`")
    return reply["result"]
