"""How a long call goes: a notification each second while its caller waits, with libvirt's own figures of the job.

A notification without figures says that the agent lives and the call still runs, which is what a caller cannot know
otherwise.  The functions that only start a job (block copy, commit, pull; backup) are followed after their answer,
until the job has ended or is ready.
"""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any

import libvirt

from app.handlers.calls import Call
from app.handlers.results import Encoder
from app.handlers.rooms import FINDERS
from app.hypervisor import PROGRESS, Hypervisor
from libvirt_amqp.catalogue import Function
from libvirt_amqp.jobs import BLOCK_JOB, ENDED, READY, RUNNING, STARTS_A_JOB, WAITING
from libvirt_amqp.messages import progress

PROGRESS_SECONDS = 1.0
ANSWER_SECONDS = 0.25
"""How long a beat waits for libvirt's figures; they may wait behind the job itself."""
FOLLOWED_SECONDS = 86_400.0
"""How long a job is followed after its call was answered: nobody can tell whether its caller still listens."""
PULL = re.compile(r"<domainbackup\s[^>]*mode\s*=\s*['\"]pull")
"""A backup that the caller fetches: its job ends when the caller ends it."""

Question = Callable[[libvirt.virConnect], Any]
"""In a worker thread: returns the job's figures, None when there is no job."""


class Progress:
    """Follows the calls whose requests ask for it."""

    def __init__(
        self,
        hypervisor: Hypervisor,
        functions: dict[str, Function],
        encoder: Encoder,
        send: Callable[[Call, bytes], None],
    ) -> None:
        self._hypervisor = hypervisor
        self._functions = functions
        self._encoder = encoder
        self._send = send
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, call: Call, function: Function, words: tuple[str, ...], arguments: dict[str, Any]) -> None:
        """Send notifications from now on until the call, or the job that it starts, has ended."""
        question = self._question(function, words, arguments)
        task = asyncio.create_task(self._follow(call, function, question), name="progress")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Follow nothing any more."""
        for task in self._tasks:
            task.cancel()

    async def _follow(self, call: Call, function: Function, question: Question | None) -> None:
        asking = Asking(self._hypervisor, question)
        number = 0
        while not call.outcome:
            await self._next_beat(call)
            # One without a job is the repeat of a call that runs, or the opening of a stream.
            running = call.job is None or call.job.started
            job = await asking.ask() if running and not call.outcome else None
            if call.outcome:
                break
            number += 1
            self._notify(call, number, RUNNING if running else WAITING, job)
        if call.outcome == "ok" and STARTS_A_JOB.fullmatch(function.name):
            await self._follow_job(call, asking, number)

    async def _follow_job(self, call: Call, asking: "Asking", number: int) -> None:
        """Go on after the answer, until the job has ended or is ready."""
        params = call.request.params if call.request is not None else {}
        is_pulled = PULL.search(str(params.get("backupXML"))) is not None
        state, end = RUNNING, time.monotonic() + FOLLOWED_SECONDS
        while state == RUNNING and time.monotonic() < end and self._hypervisor.connected:
            job = await asking.ask()
            state = READY if is_pulled else asking.state(job)
            number += 1
            self._notify(call, number, state, job)
            if state == RUNNING:
                await self._next_beat(call)

    @staticmethod
    async def _next_beat(call: Call) -> None:
        """Sleep until the next whole second since the request arrived."""
        await asyncio.sleep(PROGRESS_SECONDS - (time.monotonic() - call.arrived) % PROGRESS_SECONDS)

    def _notify(self, call: Call, number: int, state: str, job: Any) -> None:
        elapsed = round(time.monotonic() - call.arrived, 3)
        self._send(call, progress(call.id, number=number, elapsed=elapsed, state=state, job=job))

    def _question(self, function: Function, words: tuple[str, ...], arguments: dict[str, Any]) -> Question | None:
        """Return what to ask libvirt about a call; None where it has no figures (a volume that is wiped)."""
        if BLOCK_JOB.fullmatch(function.name):
            return self._block_job(words, arguments["disk"])
        if function.cls in {"domain", "domain-snapshot"}:
            return self._domain_job(words)
        return None

    def _domain_job(self, words: tuple[str, ...]) -> Question:
        function = self._functions["virDomainGetJobStats"]

        def ask(connection: libvirt.virConnect) -> Any:
            job = self._encoder.result(function, FINDERS["domain"](connection, words[:1]).jobStats(0))
            return job if job["type"] else None

        return ask

    def _block_job(self, words: tuple[str, ...], disk: str) -> Question:
        function = self._functions["virDomainGetBlockJobInfo"]

        def ask(connection: libvirt.virConnect) -> Any:
            info: Any = FINDERS["domain"](connection, words[:1]).blockJobInfo(disk, 0)
            return self._encoder.result(function, info) or None

        return ask


class Asking:
    """Asks one question again and again, never twice at once: a job's figures may wait behind the job itself."""

    def __init__(self, hypervisor: Hypervisor, question: Question | None) -> None:
        self._hypervisor = hypervisor
        self._question = question
        self._task: asyncio.Task[Any] | None = None
        self._is_known = False

    async def ask(self) -> Any:
        """Return the figures, or those of the question before; None when there are none within a quarter second."""
        self._is_known = False
        if self._question is None:
            return None
        if self._task is None:
            self._task = asyncio.create_task(self._hypervisor.call(self._question, PROGRESS))
            self._task.add_done_callback(_retrieved)
        await asyncio.wait({self._task}, timeout=ANSWER_SECONDS)
        if not self._task.done():
            return None
        task, self._task = self._task, None
        if task.cancelled() or task.exception() is not None:
            # The domain has gone, and its job with it, or nobody can say.
            self._is_known = not task.cancelled() and isinstance(task.exception(), libvirt.libvirtError)
            return None
        self._is_known = True
        return task.result()

    def state(self, job: Any) -> str:
        """Say what the figures that were returned last mean for a job that was started."""
        if job is None:
            return ENDED if self._is_known else RUNNING
        return READY if job.get("end") and job.get("cur") == job["end"] else RUNNING


def _retrieved(task: asyncio.Task[Any]) -> None:
    """Look at what a question ended with, so that nobody complains that nobody did."""
    if not task.cancelled():
        task.exception()
