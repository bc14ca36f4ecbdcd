"""What a sloppy or hostile sender can put into a frame must not end the connection: pamqp's decoding, made tolerant.

pamqp raises on a short string that is not UTF-8 and on a time that datetime cannot hold; aiormq then drops the whole
connection.  Any publisher could interrupt an agent with one such property.
"""

import re
from datetime import UTC, datetime

import pamqp.constants
from pamqp import decode

_OCTETS_OF_A_TIMESTAMP = 8
_EPOCH = datetime.fromtimestamp(0, UTC)


def be_tolerant() -> None:
    """Exchange pamqp's decoders of short strings and times, and let every name of a queue pass that a broker takes."""
    decode.short_str = decode.METHODS["shortstr"] = _short_string
    decode.timestamp = decode.METHODS["timestamp"] = decode.TABLE_MAPPING[b"T"] = _timestamp
    # pamqp checks names by the letter of AMQP 0-9-1; brokers take every UTF-8 name, and ours carry encoded words.
    pamqp.constants.DOMAIN_REGEX["queue-name"] = re.compile(r"^[a-zA-Z0-9-_.:@#,/><= %~]*$")


def _short_string(value: bytes) -> tuple[int, str]:
    """Keep bytes that are not UTF-8 as surrogates, so that a correlation_id can be given back as it was sent."""
    length = value[0]
    return length + 1, value[1 : length + 1].decode(errors="surrogateescape")


_plain_timestamp = decode.timestamp


def _timestamp(value: bytes) -> tuple[int, datetime]:
    """Nobody here reads it: a time out of range is 1970."""
    try:
        return _plain_timestamp(value)
    except (ValueError, OverflowError, OSError):
        return _OCTETS_OF_A_TIMESTAMP, _EPOCH
