"""What leaves: the reply to a call, and the one line about it in the log."""

import time
from typing import Any, Protocol

import libvirt
import structlog

from app.handlers.calls import Call
from libvirt_amqp.delivery import Delivery
from libvirt_amqp.errors import CallError, LibvirtFailed
from libvirt_amqp.messages import error_reply, result_reply

log = structlog.get_logger()

NOT_FOUND = frozenset(
    value
    for name, value in vars(libvirt).items()
    if name.startswith("VIR_ERR_NO_") and name not in {"VIR_ERR_NO_CONNECT", "VIR_ERR_NO_DEVICE"}
)
"""Errors that say that this host does not have the object (VIR_ERR_NO_SUPPORT: not even the class)."""


class Replies(Protocol):
    """What is needed of the bus."""

    def reply(self, reply_to: str, correlation_id: str | None, body: bytes) -> None:
        """Answer a request."""

    def acknowledge(self, delivery: Delivery) -> None:
        """Take a request off the queue."""


class Answers:
    """Every call ends in one of `answer`, `refuse` and `complete`."""

    def __init__(self, replies: Replies) -> None:
        self._replies = replies
        self.acknowledge = replies.acknowledge

    def answer(self, call: Call, body: bytes, *, is_logged: bool = True) -> None:
        """Send an encoded reply."""
        call.outcome = "ok"
        if call.wants_answer:
            self.send(call, body)
        if is_logged:
            self._log(call)

    def refuse(self, call: Call, error: CallError) -> None:
        """Answer with an error, unless another host is to answer a question that went to all of them."""
        is_for_others = (
            call.request is not None
            and call.request.is_for_any_host
            and isinstance(error, LibvirtFailed)
            and (error.data or {}).get("code") in NOT_FOUND
        )
        call.outcome = type(error).__name__
        if call.wants_answer and not is_for_others:
            self.send(call, error_reply(call.id, error))
        self._log(call, code=error.code, error=error.message)

    def complete(self, call: Call, outcome: Any, *, is_logged: bool = True) -> None:
        """Answer with a result, or with the CallError that came instead."""
        if isinstance(outcome, CallError):
            self.refuse(call, outcome)
        else:
            self.answer(call, result_reply(call.id, outcome), is_logged=is_logged)

    def send(self, call: Call, body: bytes) -> None:
        """Send a message to who waits for the call's answer."""
        self._replies.reply(call.delivery.reply_to or "", call.delivery.correlation_id, body)

    def _log(self, call: Call, **details: object) -> None:
        """One line per call."""
        log.info(
            "call",
            key=call.delivery.key,
            outcome=call.outcome,
            ms=round((time.monotonic() - call.arrived) * 1000, 2),
            reply_to=call.delivery.reply_to,
            **details,
        )
