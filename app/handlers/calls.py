"""One request while it is being served, and all of them by who asked."""

import time
from collections.abc import Callable
from typing import Any

from app.handlers.requests import Request, call_id, is_request
from app.hypervisor import Job
from libvirt_amqp.catalogue import Function
from libvirt_amqp.delivery import Delivery
from libvirt_amqp.errors import Busy, CallError

CALLS_OF_ONE_CALLER = 500
"""Waiting or running calls with one `reply_to`, so that one caller cannot fill the queue for all."""


class Call:
    """Who asked for what, how far it has come, and what the log line will say."""

    __slots__ = (
        *("arrived", "body", "caller", "cancel", "delivery", "function"),
        *("job", "lane", "outcome", "request", "writes"),
    )

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.arrived = time.monotonic()
        self.body: dict[str, Any] | None = None
        self.request: Request | None = None
        self.function: Function | None = None
        self.writes = False
        self.caller = delivery.reply_to or ""
        self.job: Job | None = None
        self.lane = ""
        self.cancel: Callable[[CallError], None] = lambda _error: None
        """Ends what has no job: the opening of a stream."""
        self.outcome = ""
        """Empty until it is answered; then "ok" or the name of the error."""

    @property
    def wants_answer(self) -> bool:
        """A notification is carried out and never answered; what is no request at all is answered if it can be."""
        is_notification = self.body is not None and "id" not in self.body and is_request(self.body)
        return bool(self.delivery.reply_to) and not is_notification

    @property
    def id(self) -> object:
        """The request's id, None while it is not known."""
        return call_id(self.body) if self.body is not None else None


class OpenCalls:
    """The calls that wait for a worker or run."""

    def __init__(self) -> None:
        self._of: dict[str, set[Call]] = {}

    def check(self, caller: str) -> None:
        """Raise Busy when a caller has too many already."""
        if len(self._of.get(caller, ())) >= CALLS_OF_ONE_CALLER:
            raise Busy(f"{CALLS_OF_ONE_CALLER} calls of this caller are waiting or running already")

    def begin(self, call: Call) -> None:
        """Note a call that was queued."""
        self._of.setdefault(call.caller, set()).add(call)

    def end(self, call: Call) -> None:
        """Forget a call that has ended, and let it forget its job, which knows it: both are gone at once then."""
        call.job = None
        calls = self._of[call.caller]
        calls.discard(call)
        if not calls:
            del self._of[call.caller]

    def find(self, caller: str, request_id: object) -> list[Call]:
        """Return a caller's calls with an id: more than one if it gave the id twice."""
        return [call for call in self._of.get(caller, ()) if call.id == request_id]
