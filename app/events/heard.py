"""What a callback hands over to the loop."""

from typing import Any, NamedTuple

from app.events.kinds import Kind
from libvirt_amqp.objects import Identity


class Heard(NamedTuple):
    """One event: nothing in it belongs to libvirt any more."""

    kind: Kind
    object: Identity
    values: tuple[Any, ...]
    time_ns: int
