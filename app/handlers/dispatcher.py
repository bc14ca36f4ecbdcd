"""Every call: from a message on the host's queue to its reply.  One dispatcher for all functions of libvirt.

Requests are acknowledged on arrival, checked on the loop, run in a lane of worker threads, and answered in any case.
"""

import time
from collections import Counter
from typing import Any, Protocol

import libvirt
import orjson
import structlog

from app.handlers.access import Access
from app.handlers.agent import AgentMethods
from app.handlers.arguments import check
from app.handlers.calling import is_in_binding, make_work, newer_functions, translate
from app.handlers.repeats import Repeats, unknown
from app.handlers.requests import Request, call_id, is_request, parse, read, too_late
from app.handlers.results import Encoder
from app.hypervisor import CALLS, PRIORITY, ConnectionDied, Hypervisor, Job
from libvirt_amqp.broker import Delivery
from libvirt_amqp.catalogue import Catalogue, Function
from libvirt_amqp.errors import (
    Busy,
    CallError,
    DeadlinePassed,
    Denied,
    InternalError,
    LibvirtFailed,
    LibvirtLost,
    MethodNotFound,
    NotSupported,
    ResultUnknown,
    TooLarge,
)
from libvirt_amqp.messages import error_reply, result_reply

log = structlog.get_logger()

CALLS_OF_ONE_CALLER = 500
"""Waiting or running calls with one `reply_to`, so that one caller cannot fill the queue for all."""
LARGEST_REPLY = 15 * 1024 * 1024
"""Bytes: RabbitMQ 4 closes the channel over a message of 16 MiB."""

NOT_FOUND = frozenset(
    value
    for name, value in vars(libvirt).items()
    if name.startswith("VIR_ERR_NO_") and name not in {"VIR_ERR_NO_CONNECT", "VIR_ERR_NO_DEVICE"}
)
"""Errors that say that this host does not have the object (VIR_ERR_NO_SUPPORT: not even the class)."""


class Replies(Protocol):
    """What the dispatcher needs of the bus."""

    def reply(self, reply_to: str, correlation_id: str | None, body: bytes) -> None:
        """Answer a request."""

    def acknowledge(self, delivery: Delivery) -> None:
        """Take a request off the queue."""


class Call:
    """One request while it is being served: who asked, and what the log line will say."""

    __slots__ = ("arrived", "body", "caller", "delivery", "function", "request", "writes")

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.arrived = time.monotonic()
        self.body: dict[str, Any] | None = None
        self.request: Request | None = None
        self.function: Function | None = None
        self.writes = False
        self.caller = delivery.reply_to or ""

    @property
    def wants_answer(self) -> bool:
        """A notification is carried out and never answered; what is no request at all is answered if it can be."""
        is_notification = self.body is not None and "id" not in self.body and is_request(self.body)
        return bool(self.delivery.reply_to) and not is_notification

    @property
    def id(self) -> object:
        """The request's id, None while it is not known."""
        return call_id(self.body) if self.body is not None else None


class Dispatcher:
    """Serves one host's calls."""

    def __init__(  # noqa: PLR0913 (everything a call meets on its way)
        self,
        host: str,
        hypervisor: Hypervisor,
        replies: Replies,
        catalogue: Catalogue,
        access: Access,
        agent: AgentMethods,
        repeats: Repeats,
        max_request_bytes: int,
    ) -> None:
        self._host = host
        self._hypervisor = hypervisor
        self._replies = replies
        self._functions = catalogue.functions
        self._newer = dict.fromkeys(newer_functions(catalogue), catalogue.libvirt)
        self._missing = {name for name, f in catalogue.served().items() if not is_in_binding(f)}
        self._encoder = Encoder(catalogue, host)
        self._access = access
        self._agent = agent
        self._repeats = repeats
        self._max_request_bytes = max_request_bytes
        self._open: Counter[str] = Counter()
        self.stopping = False

    def receive(self, delivery: Delivery) -> None:
        """On the loop, for every message: never raises, always acknowledges."""
        self._replies.acknowledge(delivery)
        call = Call(delivery)
        try:
            self._accept(call)
        except CallError as error:
            self._refuse(call, error)
        except Exception as error:
            log.exception("call_broke", key=delivery.key)
            self._refuse(call, InternalError(f"{type(error).__name__}: {error}"))

    def _accept(self, call: Call) -> None:
        """Check everything that can be checked without libvirt, and queue the call."""
        call.body = parse(call.delivery, self._max_request_bytes)
        call.request = request = read(call.body, call.delivery.key, self._host)
        if self.stopping:
            raise Busy("the agent is stopping")
        if request.key.cls == "agent":
            self._answer(call, result_reply(call.id, self._agent.answer(request.key.method, request.params)))
            return
        call.function = function = self._function(request)
        arguments = check(function, request.params, self._host)
        self._access.check(function, arguments)
        if not self._hypervisor.connected:
            raise LibvirtLost("the agent is not connected to libvirt now; it goes on trying")
        call.writes = function.writes(arguments)
        if call.writes and call.delivery.redelivered:
            raise unknown()
        if self._open[call.caller] >= CALLS_OF_ONE_CALLER:
            raise Busy(f"{CALLS_OF_ONE_CALLER} calls of this caller are waiting or running already")
        if request.idempotency_key is not None and call.writes and self._is_repeat(call, request):
            return
        self._start(call, function, request, arguments)

    def _function(self, request: Request) -> Function:
        """Find the function, and refuse it where it does not belong."""
        name, cls = request.key.method, request.key.cls
        function = self._functions.get(name)
        if name in self._newer:
            raise MethodNotFound(f"{name} is not in this agent's catalogue, made from libvirt {self._newer[name]}")
        if function is None or function.cls is None:
            raise MethodNotFound(f"{name!r} is no function of libvirt's objects")
        if function.cls != cls:
            raise MethodNotFound(f"{name} is a method of a {function.cls}, not of a {cls}")
        if request.is_for_any_host and "LookupBy" not in name:
            raise Denied(f"{name} cannot be called on any host: only lookups can")
        if function.left_out is not None:
            raise NotSupported(f"{name} is not supported by this agent: {function.left_out}", function.instead)
        if name in self._missing:
            raise NotSupported(f"{name} is not supported by this agent: its libvirt does not have it")
        return function

    def _is_repeat(self, call: Call, request: Request) -> bool:
        """Answer the repeat of a call that was seen before; False: it is a new one."""
        known = self._repeats.begin(request.idempotency_key or "", call.delivery.key, request.params)
        if known is None:
            return False
        if known.answer is not None:
            self._answer(call, _with_id(known.answer, call.id))
        elif known.lost:
            raise unknown()
        else:
            known.waiting.append(lambda answer: self._answer_repeat(call, answer))
        return True

    def _answer_repeat(self, call: Call, answer: bytes | None) -> None:
        if answer is None:
            self._refuse(call, Busy("the same call was waiting and not started"))
        else:
            self._answer(call, _with_id(answer, call.id))

    def _start(self, call: Call, function: Function, request: Request, arguments: dict[str, Any]) -> None:
        work = make_work(function, request.key.cls, request.words, arguments, self._encoder, call.id)
        job = Job(work, lambda job: self._finish(call, job), request.deadline)
        lane = PRIORITY if function.high_priority and self._hypervisor.is_full(CALLS) else CALLS
        try:
            self._hypervisor.submit(job, lane)
        except Busy:
            self._end_repeat(call, None)
            raise
        self._open[call.caller] += 1

    def _finish(self, call: Call, job: Job) -> None:
        """On the loop: answer a call whose job has ended."""
        self._open[call.caller] -= 1
        if not self._open[call.caller]:
            del self._open[call.caller]
        if job.error is None and len(job.result) <= LARGEST_REPLY:
            self._end_repeat(call, job.result)
            self._answer(call, job.result)
            return
        error = self._error(call, job)
        not_run = isinstance(error, Busy | DeadlinePassed | LibvirtLost)
        self._end_repeat(call, None if not_run else error_reply(call.id, error))
        self._refuse(call, error)

    def _error(self, call: Call, job: Job) -> CallError:
        if job.error is None:
            text = f"the answer has {len(job.result)} bytes, the limit is {LARGEST_REPLY}"
            return TooLarge(text, {"limit": LARGEST_REPLY})
        if isinstance(job.error, DeadlinePassed):
            return too_late()
        if isinstance(job.error, ConnectionDied):
            text = f"libvirt was lost while the call was running: {job.error}"
            return ResultUnknown(text) if call.writes else LibvirtLost(text)
        if not isinstance(job.error, CallError | libvirt.libvirtError):
            log.error("call_broke", key=call.delivery.key, exc_info=job.error)
        return translate(job.error, self._encoder)

    def _end_repeat(self, call: Call, answer: bytes | None) -> None:
        if call.request is not None and call.request.idempotency_key is not None and call.writes:
            self._repeats.end(call.request.idempotency_key, answer)

    def _answer(self, call: Call, body: bytes) -> None:
        if call.wants_answer:
            self._replies.reply(call.delivery.reply_to or "", call.delivery.correlation_id, body)
        self._log(call, "ok")

    def _refuse(self, call: Call, error: CallError) -> None:
        """Answer with an error, unless another host is to answer a question that went to all of them."""
        is_for_others = (
            call.request is not None
            and call.request.is_for_any_host
            and isinstance(error, LibvirtFailed)
            and (error.data or {}).get("code") in NOT_FOUND
        )
        if call.wants_answer and not is_for_others:
            body = error_reply(call.id, error)
            self._replies.reply(call.delivery.reply_to or "", call.delivery.correlation_id, body)
        self._log(call, type(error).__name__, code=error.code, error=error.message)

    def _log(self, call: Call, outcome: str, **details: object) -> None:
        """One line per call."""
        log.info(
            "call",
            key=call.delivery.key,
            outcome=outcome,
            ms=round((time.monotonic() - call.arrived) * 1000, 2),
            reply_to=call.delivery.reply_to,
            **details,
        )


def _with_id(answer: bytes, new_id: object) -> bytes:
    """Return a stored reply under the id of the request that repeats it."""
    return orjson.dumps(orjson.loads(answer) | {"id": new_id})
