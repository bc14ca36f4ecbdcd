"""Calls that must not run twice: what was answered under an idempotency key, for ten minutes, also after a crash.

Before such a call is queued its key goes into a small file; an agent that finds a key there after a restart does not
know how the call ended, and says so instead of running it again.
"""

import hashlib
import itertools
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import structlog

from libvirt_amqp.errors import Busy, InvalidParams, ResultUnknown

log = structlog.get_logger()

KEPT_SECONDS = 600.0
MOST_KEYS = 20_000
LONGEST_ANSWER = 64 * 1024
"""Bytes; the repeat of a call with a longer answer is told "result unknown"."""


class Repeat:
    """One call under an idempotency key: running while `answer` is None, or its outcome is lost."""

    __slots__ = ("answer", "digest", "lost", "time", "waiting")

    def __init__(self, digest: str, moment: float, *, lost: bool) -> None:
        self.digest = digest
        self.time = moment
        self.lost = lost
        self.answer: bytes | None = None
        self.waiting: list[Callable[[bytes | None], None]] = []

    @property
    def is_over(self) -> bool:
        """Whether it runs no more."""
        return self.answer is not None or self.lost


class Repeats:
    """Answers by idempotency key.  `directory` None: only in memory."""

    def __init__(self, directory: Path | None) -> None:
        self._known: dict[str, Repeat] = {}
        self._file = directory / "idempotency.jsonl" if directory is not None else None
        self._lines = 0
        self._load()

    def begin(self, key: str, routing_key: str, params: dict[str, object]) -> Repeat | None:
        """Return None and remember the key when it is new, else the call that it stands for.

        Raises InvalidParams when the key was used for another call, Busy when too many are remembered.
        """
        self._forget_old()
        digest = _digest(routing_key, params)
        known = self._known.get(key)
        if known is not None:
            if known.digest != digest:
                raise InvalidParams(f"idempotency_key {key!r} was used for another call")
            return known
        if len(self._known) >= MOST_KEYS:
            raise Busy(f"{MOST_KEYS} idempotency keys are in use already")
        self._known[key] = Repeat(digest, time.time(), lost=False)
        self._append(key)
        return None

    def end(self, key: str, answer: bytes | None) -> None:
        """Remember an encoded reply, and answer the repeats that came meanwhile; None: it was not carried out."""
        call = self._known[key]
        if answer is None:
            del self._known[key]
        elif len(answer) > LONGEST_ANSWER:
            call.lost = True
        else:
            call.answer = answer
        for reply in call.waiting:
            reply(answer)
        call.waiting.clear()

    def _forget_old(self) -> None:
        """Forget what is over for long; a call that still runs is kept, and does not keep the ones behind it."""
        oldest = time.time() - KEPT_SECONDS
        old = [key for key, _ in itertools.takewhile(lambda item: item[1].time <= oldest, self._known.items())]
        for key in old:
            if self._known[key].is_over:
                del self._known[key]

    def _append(self, key: str) -> None:
        if self._file is None:
            return
        if self._lines > MOST_KEYS:
            self._write_all()
            return
        try:
            with self._file.open("ab") as file:
                file.write(self._line(key))
            self._lines += 1
        except OSError as error:
            self._give_up(error)

    def _load(self) -> None:
        """Read what the last run left and write the file anew with what still counts."""
        if self._file is None:
            return
        oldest = time.time() - KEPT_SECONDS
        try:
            lines = self._file.read_bytes().splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            self._give_up(error)
            return
        for line in lines:
            try:
                key, digest, moment = orjson.loads(line)
            except ValueError:  # the last line of a crash
                continue
            if moment > oldest:
                self._known[key] = Repeat(digest, moment, lost=True)
        self._write_all()

    def _write_all(self) -> None:
        """Write the file anew, so that it does not grow for ever."""
        if self._file is None:
            return
        new = self._file.with_suffix(".new")
        try:
            new.write_bytes(b"".join(map(self._line, self._known)))
            new.replace(self._file)
            self._lines = len(self._known)
        except OSError as error:
            self._give_up(error)

    def _line(self, key: str) -> bytes:
        call = self._known[key]
        return orjson.dumps([key, call.digest, call.time]) + b"\n"

    def _give_up(self, error: OSError) -> None:
        log.error("idempotency_not_kept", error=str(error), consequence="repeats are recognised until a restart only")
        self._file = None


def unknown() -> ResultUnknown:
    """Return the error for a repeat whose first run nobody can speak for."""
    return ResultUnknown("this call was started before; how it ended is not known")


def _digest(routing_key: str, params: dict[str, object]) -> str:
    body = orjson.dumps([routing_key, params], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(body).hexdigest()
