"""The agent's own methods, answered without libvirt: `<host>.agent.ping` and its like."""

from collections.abc import Callable
from typing import Any

from libvirt_amqp.errors import CallError, InvalidParams, MethodNotFound, NotSupported
from libvirt_amqp.schema.calls import openrpc

Answer = Callable[[], Any]

NOT_YET = {
    "snapshot": "the states of all objects with the sequence they are valid at",
    "abort": "ending a call that still waits",
}
"""Methods of the contract that this agent does not have yet."""


class AgentMethods:
    """`ping` is given by who knows the answer; `rpc.discover` is the OpenRPC document."""

    def __init__(self, ping: Answer) -> None:
        self._methods: dict[str, Answer] = {"ping": ping, "rpc.discover": openrpc}

    def answer(self, method: str, params: dict[str, Any]) -> Any:
        """Return the result of a method, or raise a CallError."""
        known = self._methods.get(method)
        if known is None:
            raise self._no_such(method)
        if params:
            raise InvalidParams(f"{method} takes no arguments")
        return known()

    def _no_such(self, method: str) -> CallError:
        if method in NOT_YET:
            return NotSupported(f"{method} ({NOT_YET[method]}) is not supported by this agent")
        known = ", ".join([*self._methods, *NOT_YET])
        return MethodNotFound(f"{method!r} is no method of an agent ({known} are)")
