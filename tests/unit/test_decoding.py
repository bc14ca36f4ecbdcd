import struct

import pytest
from pamqp import decode

from libvirt_amqp.decoding import be_tolerant

be_tolerant()


@pytest.mark.parametrize("seconds", [0, 2**31, 2**63, 2**64 - 1])
def test_every_timestamp_can_be_read(seconds: int) -> None:
    assert decode.by_type(struct.pack(">Q", seconds), "timestamp")[0] == 8


@pytest.mark.parametrize("raw", [b"", b"plain", b"\xff\xfe", "ü".encode()])
def test_every_short_string_can_be_read_and_given_back(raw: bytes) -> None:
    length, text = decode.by_type(bytes((len(raw),)) + raw, "shortstr")
    assert length == len(raw) + 1
    assert str(text).encode(errors="surrogateescape") == raw
