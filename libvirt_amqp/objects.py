"""libvirt's object classes: how an object is named in a routing key and how in a body.

| class                | words in the key              | members of the body besides `class` and `host` |
|----------------------|-------------------------------|------------------------------------------------|
| connect, agent       | none                          | none                                           |
| domain               | uuid                          | uuid, name, id (-1 when inactive)              |
| network, storage-pool, nwfilter | uuid               | uuid, name                                     |
| secret               | uuid                          | uuid, usageType, usageID                       |
| domain-snapshot, domain-checkpoint | domain uuid, name | domain, name                                 |
| network-port         | network uuid, port uuid       | network, uuid                                  |
| storage-vol          | pool uuid, name               | pool, name, key, path                          |
| interface            | name                          | name, mac                                      |
| node-device          | name                          | name                                           |
| nwfilter-binding     | port device                   | portdev                                        |
"""

from dataclasses import dataclass
from typing import Any

Identity = dict[str, Any]


@dataclass(frozen=True)
class ObjectClass:
    """One of libvirt's object classes, spelled like its access-control objects."""

    name: str
    word: str | None = None
    """The member of the body that is the object's own (last) word in the key."""
    parent: str | None = None
    """The member of the body that holds the identity of the object it belongs to; its uuid is the first word."""

    @property
    def words(self) -> int:
        """How many words of the key identify an object of this class: 0, 1 or 2."""
        return len(self.kinds)

    @property
    def kinds(self) -> tuple[str, ...]:
        """What each word of the key is: the member of an identity that it comes from."""
        parent = ("uuid",) if self.parent is not None else ()
        return (*parent, self.word) if self.word is not None else parent


CLASSES: dict[str, ObjectClass] = {
    c.name: c
    for c in (
        ObjectClass("connect"),
        ObjectClass("agent"),
        ObjectClass("domain", "uuid"),
        ObjectClass("domain-snapshot", "name", "domain"),
        ObjectClass("domain-checkpoint", "name", "domain"),
        ObjectClass("network", "uuid"),
        ObjectClass("network-port", "uuid", "network"),
        ObjectClass("interface", "name"),
        ObjectClass("storage-pool", "uuid"),
        ObjectClass("storage-vol", "name", "pool"),
        ObjectClass("node-device", "name"),
        ObjectClass("nwfilter", "uuid"),
        ObjectClass("nwfilter-binding", "portdev"),
        ObjectClass("secret", "uuid"),
    )
}


def identity_words(identity: Identity) -> tuple[str, ...]:
    """Return the plain (not encoded) words of an identity as it stands in a body.

    Raises ValueError when the class is unknown or a member that names the object is missing or no string.
    """
    cls = CLASSES.get(identity.get("class", ""))
    if cls is None:
        raise ValueError(f"{identity.get('class')!r} is no class of objects")
    words: list[Any] = []
    if cls.parent is not None:
        parent = identity.get(cls.parent)
        words.append(parent.get("uuid") if isinstance(parent, dict) else None)
    if cls.word is not None:
        words.append(identity.get(cls.word))
    if not all(isinstance(word, str) and word for word in words):
        raise ValueError(f"the identity of a {cls.name} needs {needed_members(cls)}")
    return tuple(words)


def needed_members(cls: ObjectClass) -> str:
    """Say which members name an object of the class, for an error message."""
    members = [f"{cls.parent}.uuid"] if cls.parent else []
    return " and ".join([*members, *([cls.word] if cls.word else [])])
