"""Every call: from a message on the host's queue to its reply.  One dispatcher for all functions of libvirt.

Requests are acknowledged on arrival, checked on the loop, run in a lane of worker threads, and answered in any case.
"""

from collections.abc import Callable
from typing import Any

import libvirt
import orjson
import structlog

from app.handlers.access import Access
from app.handlers.agent import SNAPSHOT, AgentMethods, Snapshot, snapshot_classes
from app.handlers.answers import Answers, Replies
from app.handlers.arguments import check
from app.handlers.calling import is_in_binding, make_work, newer_functions, translate
from app.handlers.calls import Call, OpenCalls
from app.handlers.progress import Progress
from app.handlers.repeats import Repeats, unknown
from app.handlers.requests import Request, parse, read, too_late
from app.handlers.results import Encoder
from app.handlers.rooms import STREAMS
from app.handlers.streams import Streams
from app.hypervisor import CALLS, PRIORITY, RESCUE, ConnectionDied, Hypervisor, Job, Work
from libvirt_amqp.catalogue import Catalogue, Function
from libvirt_amqp.delivery import Delivery
from libvirt_amqp.errors import (
    Aborted,
    Busy,
    CallError,
    DeadlinePassed,
    Denied,
    InternalError,
    InvalidParams,
    LibvirtLost,
    MethodNotFound,
    NotSupported,
    ResultUnknown,
    TooLarge,
)
from libvirt_amqp.messages import error_reply, result_reply

log = structlog.get_logger()

LARGEST_REPLY = 15 * 1024 * 1024
"""Bytes: RabbitMQ 4 closes the channel over a message of 16 MiB."""

RESCUERS = frozenset({"virDomainAbortJob", "virDomainAbortJobFlags", "virDomainDestroy", "virDomainDestroyFlags"})
"""What ends that for which everything else may be waiting: a worker is kept for it."""


class Dispatcher:
    """Serves one host's calls."""

    def __init__(  # noqa: PLR0913 (everything a call meets on its way)
        self,
        host: str,
        hypervisor: Hypervisor,
        replies: Replies,
        catalogue: Catalogue,
        access: Access,
        ping: Callable[[], Any],
        snapshot: Snapshot,
        repeats: Repeats,
        max_request_bytes: int,
    ) -> None:
        self._host = host
        self._hypervisor = hypervisor
        self._answers = Answers(replies)
        self._functions = catalogue.functions
        self._newer = dict.fromkeys(newer_functions(catalogue), catalogue.libvirt)
        self._missing = {name for name, f in catalogue.served().items() if not is_in_binding(f)}
        self._encoder = Encoder(catalogue, host)
        self._access = access
        self._agent = AgentMethods(ping, self._abort)
        self._snapshot = snapshot
        self._repeats = repeats
        self._max_request_bytes = max_request_bytes
        self._open = OpenCalls()
        self.streams = Streams(hypervisor, host)
        self._progress = Progress(hypervisor, self._functions, self._encoder, self._answers.send)
        self.stopping = False

    def receive(self, delivery: Delivery) -> None:
        """On the loop, for every message: never raises, always acknowledges."""
        self._answers.acknowledge(delivery)
        call = Call(delivery)
        try:
            self._accept(call)
        except CallError as error:
            self._answers.refuse(call, error)
        except Exception as error:
            log.exception("call_broke", key=delivery.key)
            self._answers.refuse(call, InternalError(f"{type(error).__name__}: {error}"))

    def _accept(self, call: Call) -> None:
        """Check everything that can be checked without libvirt, and queue the call."""
        call.body = parse(call.delivery, self._max_request_bytes)
        call.request = request = read(call.body, call.delivery.key, self._host)
        if self.stopping:
            raise Busy("the agent is stopping")
        if request.key.cls == "agent":
            self._answer_agent(call, request)
            return
        call.function = function = self._function(request)
        arguments = self._arguments(function, request)
        self._check_connected()
        if function.cls == "stream":
            self._operate_stream(call, function, request, arguments)
            return
        call.writes = function.writes(arguments)
        if call.writes and call.delivery.redelivered:
            raise unknown()
        if function.name not in RESCUERS:
            self._open.check(call.caller)
        if function.name in STREAMS:
            _check_opens_a_stream(call, request)
        if request.idempotency_key is None or not call.writes or not self._is_repeat(call, request):
            self._start(call, function, request, arguments)
        self._follow(call, function, request, arguments)

    def _arguments(self, function: Function, request: Request) -> dict[str, Any]:
        """Check access and arguments: what is refused whatever its arguments are, is so before they are looked at."""
        self._access.check(function, {})
        arguments = check(function, request.params, self._host)
        if function.is_conditional:
            self._access.check(function, arguments)
        return arguments

    def _answer_agent(self, call: Call, request: Request) -> None:
        """Answer a method of the agent's own; the snapshot is a call of libvirt like any other."""
        if request.key.method != SNAPSHOT:
            result = self._agent.answer(request.key.method, request.params, call.caller)
            self._answers.answer(call, result_reply(call.id, result))
            return
        classes = snapshot_classes(request.params)
        self._check_connected()
        self._open.check(call.caller)
        self._queue(
            call, lambda connection: result_reply(call.id, self._snapshot(connection, classes)), CALLS, request.deadline
        )

    def _check_connected(self) -> None:
        if not self._hypervisor.connected:
            raise LibvirtLost("the agent is not connected to libvirt now; it goes on trying")

    def _function(self, request: Request) -> Function:
        """Find the function, and refuse it where it does not belong."""
        name, cls = request.key.method, request.key.cls
        function = self._functions.get(name)
        if name in self._newer:
            raise MethodNotFound(f"{name} is not in this agent's catalogue, made from libvirt {self._newer[name]}")
        if function is None or function.cls is None:
            raise MethodNotFound(f"{name!r} is no function of libvirt's objects")
        if function.cls not in {cls, "stream"}:
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
            self._answers.answer(call, _with_id(known.answer, call.id))
        elif known.lost:
            raise unknown()
        else:
            known.waiting.append(lambda answer: self._answer_repeat(call, answer))
        return True

    def _answer_repeat(self, call: Call, answer: bytes | None) -> None:
        if answer is None:
            self._answers.refuse(call, Busy("the same call was waiting and not started"))
        else:
            self._answers.answer(call, _with_id(answer, call.id))

    def _start(self, call: Call, function: Function, request: Request, arguments: dict[str, Any]) -> None:
        try:
            if function.name in STREAMS:
                self._open_stream(call, function, request, arguments)
            else:
                self._submit(call, function, request, arguments)
        except Busy:
            self._end_repeat(call, None)
            raise

    def _follow(self, call: Call, function: Function, request: Request, arguments: dict[str, Any]) -> None:
        if request.wants_progress and call.wants_answer:
            self._progress.follow(call, function, request.words, arguments)

    def _submit(self, call: Call, function: Function, request: Request, arguments: dict[str, Any]) -> None:
        work = make_work(function, request.key.cls, request.words, arguments, self._encoder, call.id)
        self._queue(call, work, self._lane(function), request.deadline)

    def _queue(self, call: Call, work: Work, lane: str, deadline: float | None) -> None:
        call.job = Job(work, lambda job: self._finish(call, job), deadline)
        call.lane = lane
        self._hypervisor.submit(call.job, lane)
        self._open.begin(call)

    def _lane(self, function: Function) -> str:
        """Choose the workers: those kept free are for what would otherwise wait behind calls that hang."""
        if not self._hypervisor.is_full(CALLS):
            return CALLS
        if function.name in RESCUERS:
            return RESCUE if self._hypervisor.is_full(PRIORITY) else PRIORITY
        return PRIORITY if function.high_priority else CALLS

    def _open_stream(self, call: Call, function: Function, request: Request, arguments: dict[str, Any]) -> None:
        def answer(outcome: Any) -> None:
            self._open.end(call)
            self._answers.complete(call, outcome)

        receiver = request.key.cls, request.words
        call.cancel = self.streams.open(function, receiver, arguments, request.deadline, answer)
        self._open.begin(call)

    def _operate_stream(self, call: Call, function: Function, request: Request, arguments: dict[str, Any]) -> None:
        """Pass on one of the virStream* functions; the stream has a log line of its own."""

        def answer(outcome: Any) -> None:
            self._answers.complete(call, outcome, is_logged=isinstance(outcome, CallError))

        self.streams.operate(function, (request.key.cls, request.words), arguments, answer)
        if not call.outcome:
            self._follow(call, function, request, arguments)

    def _abort(self, caller: str, request_id: object) -> str:
        """End a caller's call, if it has not started, and say what became of it."""
        found = "unknown"
        error = Aborted("the call was aborted before it started")
        for call in self._open.find(caller, request_id):
            if call.job is None:
                call.cancel(error)
                found = "aborted"
            else:
                found = "aborted" if self._hypervisor.withdraw(call.job, call.lane, error) else "running"
        return found

    def close(self) -> None:
        """Follow no call any more."""
        self._progress.close()

    def _finish(self, call: Call, job: Job) -> None:
        """On the loop: answer a call whose job has ended."""
        self._open.end(call)
        if job.error is None and len(job.result) <= LARGEST_REPLY:
            self._end_repeat(call, job.result)
            self._answers.answer(call, job.result)
            return
        error = self._error(call, job)
        not_run = isinstance(error, Aborted | Busy | DeadlinePassed | LibvirtLost)
        self._end_repeat(call, None if not_run else error_reply(call.id, error))
        self._answers.refuse(call, error)

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


def _with_id(answer: bytes, new_id: object) -> bytes:
    """Return a stored reply under the id of the request that repeats it."""
    return orjson.dumps(orjson.loads(answer) | {"id": new_id})


def _check_opens_a_stream(call: Call, request: Request) -> None:
    """Refuse a stream that nobody could use, or two could."""
    if not call.wants_answer:
        raise InvalidParams("what opens a stream needs an id and a reply_to: nobody could use it otherwise")
    if request.idempotency_key is not None:
        raise InvalidParams("a stream belongs to one caller: an idempotency_key is not served for what opens one")
