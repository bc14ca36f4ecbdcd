"""The agent's own methods, answered without libvirt: `<host>.agent.ping` and its like."""

from collections.abc import Callable
from typing import Any

from libvirt_amqp.errors import CallError, InvalidParams, MethodNotFound, NotSupported
from libvirt_amqp.schema.calls import openrpc

NOT_YET = {"snapshot": "the states of all objects with the sequence they are valid at"}
"""Methods of the contract that this agent does not have yet."""

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
            raise self._no_such(method)
        return known(params, caller)

    def _abort(self, params: dict[str, Any], caller: str) -> str:
        """End a call that waits for a worker; one that runs goes on, because libvirt cannot cancel it."""
        unknown = params.keys() - {"id", "reply_to"}
        call_id = params.get("id")
        if unknown or isinstance(call_id, bool) or not isinstance(call_id, int | str):
            raise InvalidParams("abort needs the id of the call, and its reply_to where it is not one of this caller")
        reply_to = params.get("reply_to")
        reply_to = caller if reply_to is None else reply_to
        if not isinstance(reply_to, str):
            raise InvalidParams("reply_to: a string is needed")
        return self._abort_call(reply_to, call_id)

    def _no_such(self, method: str) -> CallError:
        if method in NOT_YET:
            return NotSupported(f"{method} ({NOT_YET[method]}) is not supported by this agent")
        known = ", ".join([*self._methods, *NOT_YET])
        return MethodNotFound(f"{method!r} is no method of an agent ({known} are)")


def _without_arguments(method: str, params: dict[str, Any], answer: Callable[[], Any]) -> Any:
    if params:
        raise InvalidParams(f"{method} takes no arguments")
    return answer()
