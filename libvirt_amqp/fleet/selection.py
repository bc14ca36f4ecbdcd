"""What a subscriber wants to hear of: binding keys for the broker, and the same as a filter of what comes."""

from collections.abc import Collection
from dataclasses import dataclass

from libvirt_amqp.events import SOURCES
from libvirt_amqp.fleet.items import Event
from libvirt_amqp.keys import encode_word
from libvirt_amqp.objects import CLASSES, Identity, identity_words


@dataclass(frozen=True)
class Selection:
    """None is everything.  `objects`: the first word of their keys, not encoded.  `names`: events, or changes."""

    hosts: Collection[str] | None = None
    classes: Collection[str] | None = None
    objects: Collection[str] | None = None
    names: Collection[str] | None = None

    def __post_init__(self) -> None:
        for name in ("hosts", "classes", "objects", "names"):
            if isinstance(getattr(self, name), str):
                raise TypeError(f"{name}: a list is needed, not one text")
        if unknown := set(self.classes or ()) - CLASSES.keys():
            raise ValueError(f"there are no classes {sorted(unknown)} (there are {', '.join(CLASSES)})")

    @property
    def is_whole(self) -> bool:
        """Whether everything of a host is bound.  Names are filtered here, behind the numbers."""
        return self.classes is None and self.objects is None

    @property
    def host_words(self) -> list[str]:
        """The first words of keys."""
        return ["*"] if self.hosts is None else [encode_word(host) for host in self.hosts]

    @property
    def event_keys(self) -> list[str]:
        """The binding keys; the agents' own news are always bound, because they tell of gaps."""
        if self.is_whole:
            return [f"{host}.#" for host in self.host_words]
        classes = ["*"] if self.classes is None else [cls for cls in self.classes if cls != "agent"]
        words = ["#"] if self.objects is None else [f"{encode_word(word)}.#" for word in self.objects]
        kinds = ["agent.*", *(f"{cls}.{word}" for cls in classes for word in words)]
        return [f"{host}.{kind}" for host in self.host_words for kind in kinds]

    @property
    def heartbeat_keys(self) -> list[str]:
        """The binding keys of the heartbeats."""
        return [f"{host}.agent.heartbeat" for host in self.host_words]

    @property
    def snapshot_params(self) -> dict[str, list[str]]:
        """The arguments of `agent.snapshot`: the selected classes of which there are events."""
        if self.classes is None:
            return {}
        return {"classes": [source.cls for source in SOURCES if source.cls in self.classes]}

    def has_host(self, host: str) -> bool:
        """Say whether a host is selected."""
        return self.hosts is None or host in self.hosts

    def has_class(self, cls: str) -> bool:
        """Say whether a class is selected."""
        return self.classes is None or cls in self.classes

    def has_object(self, identity: Identity) -> bool:
        """Say whether an object is selected."""
        if not self.has_class(identity["class"]):
            return False
        return self.objects is None or any(word in self.objects for word in identity_words(identity)[:1])

    def wants(self, event: Event) -> bool:
        """Say whether an event is selected."""
        if not self.has_object(event.object):
            return False
        return self.names is None or event.happened in self.names or event.type.rpartition(".")[2] in self.names
