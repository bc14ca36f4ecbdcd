"""Routing keys: `<host>.<class>.<identity>.<event or method>`, words that never contain a dot.

>>> encode_word("node1.example.com")
'node1%2Eexample%2Ecom'
>>> Address("h1", "domain", ("6695eb01-f6a4-8304-79aa-97f2502e193f",)).key("virDomainSuspend")
'h1.domain.6695eb01-f6a4-8304-79aa-97f2502e193f.virDomainSuspend'
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from libvirt_amqp.objects import CLASSES, Identity, identity_words

EVENTS = "libvirt.events"
STATS = "libvirt.stats"
RPC = "libvirt.rpc"

ANY = "any"
"""The first word of a key that addresses every host: only lookups are served under it."""

LONGEST_WORD = 80
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


@lru_cache(maxsize=8192)
def encode_word(text: str) -> str:
    """Return `text` as one word of a key; over 80 bytes it is `~` and the SHA-256 of what it would have been."""
    if not text:
        raise ValueError("a word of a routing key cannot be empty")
    word = "".join(chr(byte) if byte in _PLAIN else f"%{byte:02X}" for byte in text.encode())
    if len(word) <= LONGEST_WORD:
        return word
    return "~" + hashlib.sha256(word.encode()).hexdigest()


@lru_cache(maxsize=8192)
def decode_word(word: str) -> str:
    """Return the text of a word.  Raises ValueError when it is hashed or not how `encode_word` writes it."""
    if word.startswith("~"):
        raise ValueError("a hashed word cannot be read back: the body has to carry `object`")
    text = unquote_to_bytes(word).decode()
    if encode_word(text) != word:
        raise ValueError(f"{word!r} is not encoded as this protocol does")
    return text


def is_of(key: str, host: str) -> bool:
    """Say whether a key is under a host's word; a broker's permissions bind keys, and no broker looks into bodies."""
    return key.partition(".")[0] == encode_word(host)


@dataclass(frozen=True)
class Address:
    """An object on a host.  `words` are plain text; `host` is a plain name, or `any`."""

    host: str
    cls: str
    words: tuple[str, ...] = ()

    @classmethod
    def of(cls, identity: Identity) -> "Address":
        """Return the address of an identity as it stands in a body.  Raises ValueError when it names no object."""
        return cls(str(identity.get("host", "")), str(identity.get("class", "")), identity_words(identity))

    def identity(self) -> Identity:
        """Return the identity, as far as the words give it, as it stands in a body."""
        cls = CLASSES[self.cls]
        body: Identity = {"class": self.cls, "host": self.host}
        if cls.parent is not None:
            body[cls.parent] = {"uuid": self.words[0]}
        if cls.word is not None:
            body[cls.word] = self.words[-1]
        return body

    @property
    def subject(self) -> str:
        """Class and identity as in the key, joined by `/`: the `subject` of a CloudEvent."""
        return "/".join((self.cls, *map(encode_word, self.words)))

    def key(self, *last: str) -> str:
        """Return the routing key of an event or method (`last`: one word, or two for a lifecycle event)."""
        return ".".join((encode_word(self.host), self.cls, *map(encode_word, self.words), *map(encode_word, last)))


@dataclass(frozen=True)
class RequestKey:
    """A request's routing key, taken apart.  `words` are as they stand in the key, still encoded."""

    host: str
    cls: str
    words: tuple[str, ...]
    method: str


@lru_cache(maxsize=8192)
def parse_request_key(key: str) -> RequestKey:
    """Take a request's key apart.  Raises ValueError with the reason when it names no object."""
    host, _, rest = key.partition(".")
    name, *words = rest.split(".")
    cls = CLASSES.get(name)
    if cls is None:
        raise ValueError(f"{name!r} is no class of objects")
    if len(words) != cls.words + 1 or not all(words):
        raise ValueError(f"a key of class {name} has {cls.words} words of identity and one of method")
    return RequestKey(host, name, tuple(words[:-1]), decode_word(words[-1]))


def decode_words(key: RequestKey, identity: object, host: str) -> tuple[str, ...]:
    """Return the plain words of a request's receiver; `identity` is the body's `object`, needed for hashed words.

    Raises ValueError with the reason.  The key stays authoritative: an `object` that names another one is refused.
    """
    if identity is None:
        words = tuple(decode_word(word) for word in key.words)
    elif not isinstance(identity, dict):
        raise ValueError("`object` has to be an identity")
    else:
        if identity.get("class") != key.cls or identity.get("host", host) != host:
            raise ValueError("`object` is of another class or host than the key")
        words = identity_words(identity)
        if tuple(map(encode_word, words)) != key.words:
            raise ValueError("`object` is not what the key names")
    for kind, word in zip(CLASSES[key.cls].kinds, words, strict=True):
        if kind == "uuid" and not _UUID.fullmatch(word):
            raise ValueError(f"{word!r} is no uuid in lower case with dashes")
    return words
