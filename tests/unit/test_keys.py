import hashlib

import pytest

from libvirt_amqp.keys import Address, decode_word, decode_words, encode_word, parse_request_key

UUID = "6695eb01-f6a4-8304-79aa-97f2502e193f"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("node1.example.com", "node1%2Eexample%2Ecom"),
        ("a b", "a%20b"),
        ("#*", "%23%2A"),
        ("50%", "50%25"),
        ("ü", "%C3%BC"),
        ("pci_0000_00-1", "pci_0000_00-1"),
        ("~", "%7E"),
    ],
)
def test_a_word_is_encoded_and_read_back(text: str, word: str) -> None:
    assert encode_word(text) == word
    assert decode_word(word) == text


def test_a_word_of_80_bytes_stays_and_one_more_is_hashed() -> None:
    assert encode_word("x" * 80) == "x" * 80
    assert encode_word("x" * 81) == "~" + hashlib.sha256(b"x" * 81).hexdigest()


@pytest.mark.parametrize("word", ["%2e", "a%20%", "%41", "%FF", "~abc"])
def test_another_spelling_of_a_word_is_refused(word: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (that it is refused is the point)
        decode_word(word)


def test_a_volume_is_addressed_by_its_pool_and_name() -> None:
    address = Address("h", "storage-vol", (UUID, "disk 1.img"))
    assert address.key("virStorageVolGetInfo") == f"h.storage-vol.{UUID}.disk%201%2Eimg.virStorageVolGetInfo"
    assert address.subject == f"storage-vol/{UUID}/disk%201%2Eimg"
    assert Address.of(address.identity()) == address


def test_a_hashed_word_needs_the_identity_in_the_body_and_it_must_match() -> None:
    address = Address("h", "interface", ("e" * 200,))
    key = parse_request_key(address.key("virInterfaceGetXMLDesc"))
    assert decode_words(key, address.identity(), "h") == ("e" * 200,)
    with pytest.raises(ValueError, match="object"):
        decode_words(key, None, "h")
    with pytest.raises(ValueError, match="not what the key names"):
        decode_words(key, {**address.identity(), "name": "eth0"}, "h")


@pytest.mark.parametrize("uuid", [UUID.upper(), UUID.replace("-", ""), "abc"])
def test_a_uuid_has_one_spelling_only(uuid: str) -> None:
    """Else a broker's permission for one domain could be got round."""
    key = parse_request_key(f"h.domain.{uuid}.virDomainGetInfo")
    with pytest.raises(ValueError, match="uuid"):
        decode_words(key, None, "h")


@pytest.mark.parametrize("key", ["", "h", "h.domain", "h.domain.x", "h.dragon.x.y", "h.connect.x.y", "h.domain..m"])
def test_a_key_that_names_no_object_is_refused(key: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_request_key(key)
