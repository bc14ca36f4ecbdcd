"""The agent's own methods: `<host>.agent.ping` and its like, answered without libvirt, and the snapshot."""

from collections.abc import Callable
from typing import Any

import libvirt

from libvirt_amqp.errors import InvalidParams, MethodNotFound
from libvirt_amqp.events import SOURCES
from libvirt_amqp.schema.calls import openrpc

SNAPSHOT = "snapshot"
"""The one method that asks libvirt: it goes the way of libvirt's functions."""

CLASSES = tuple(source.cls for source in SOURCES)
"""What a snapshot can be of: the classes whose objects have events."""

Snapshot = Callable[[libvirt.virConnect, tuple[str, ...]], dict[str, Any]]
"""In a worker thread: returns the states of all objects of some classes with the sequence they are valid at."""

Abort = Callable[[str, object], str]
"""Takes a caller's `reply_to` and the id of its call; returns "aborted", "running" or "unknown"."""


class AgentMethods:
    """`ping` and `abort` are given by who can do it; `rpc.discover` is the OpenRPC document."""

    def __init__(self, ping: Callable[[], Any], abort: Abort) -> None:
        self._abort_call = abort
        self._methods: dict[str, Callable[[dict[str, Any], str], Any]] = {
            "ping": lambda params, _: _without_arguments("ping", params, ping),
            "rpc.discover": lambda params, _: _without_arguments("rpc.discover", params, openrpc),
            "abort": self._abort,
        }

    def answer(self, method: str, params: dict[str, Any], caller: str) -> Any:
        """Return the result of a method that `caller` (its `reply_to`) asks for, or raise a CallError."""
        known = self._methods.get(method)
        if known is None:
            known_ones = ", ".join([*self._methods, SNAPSHOT])
            raise MethodNotFound(f"{method!r} is no method of an agent ({known_ones} are)")
        return known(params, caller)

    def _abort(self, params: dict[str, Any], caller: str) -> str:
        """End a call that waits for a worker; one that runs goes on, because libvirt cannot cancel it."""
        unknown = params.keys() - {"id", "reply_to"}
        if unknown or not isinstance(params.get("id"), int | float | str):
            raise InvalidParams("abort needs the id of the call, and its reply_to where it is not one of this caller")
        reply_to = params.get("reply_to", caller)
        if not isinstance(reply_to, str):
            raise InvalidParams("reply_to: a string is needed")
        return self._abort_call(reply_to, params["id"])


def snapshot_classes(params: dict[str, Any]) -> tuple[str, ...]:
    """Return the classes that a snapshot is asked of.  Raises InvalidParams."""
    unknown = params.keys() - {"classes"}
    if unknown:
        raise InvalidParams(f"{SNAPSHOT} has no argument {', '.join(sorted(unknown))}; it takes classes")
    classes = params.get("classes")
    if classes is None:
        return CLASSES
    if not isinstance(classes, list) or not all(cls in CLASSES for cls in classes):
        raise InvalidParams(f"classes: an array of {', '.join(CLASSES)} is needed")
    return tuple(dict.fromkeys(classes))


def _without_arguments(method: str, params: dict[str, Any], answer: Callable[[], Any]) -> Any:
    if params:
        raise InvalidParams(f"{method} takes no arguments")
    return answer()
