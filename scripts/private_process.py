"""What the private RabbitMQ and the private libvirtd share: a server in a folder of its own, which leaves nothing.

Subclasses say how it is started (`_command`, `_environment`, `_identity`) and when it is ready (`_is_open`).
"""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

STOP_SECONDS = 30.0
_LOOK_SECONDS = 0.01


class ServerFailed(RuntimeError):
    """The server did not start, or left something behind; the message has the end of its output or what is left."""


class PrivateProcess:
    """`start`, `stop`, `kill`, `freeze` and `thaw` may be called in any order; `close` removes everything."""

    name: ClassVar[str]
    prefix: ClassVar[str]
    """Of the folder under /tmp; short where sockets are made in it, whose paths have to fit 107 bytes."""
    ready_seconds: ClassVar[float]

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix=self.prefix)
        self._path = Path(self._temporary.name)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the server is there, frozen or not."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server and wait until it listens.  Raises ServerFailed; whatever is raised, nothing is left."""
        try:
            with self._log.open("ab") as output:
                self._process = process = subprocess.Popen(
                    self._command(),
                    cwd=self._path,
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    **self._identity(),
                )
            end = time.monotonic() + self.ready_seconds
            while not self._is_open():
                if process.poll() is not None or time.monotonic() > end:
                    tail = self._log.read_text(errors="replace")[-2000:]
                    raise ServerFailed(f"{self.name} did not start: {tail}")
                time.sleep(_LOOK_SECONDS)
        except BaseException:  # an interrupt too: the server has a session of its own, Ctrl-C does not reach it
            self.close()
            raise

    def stop(self) -> None:
        """Stop the server in good order; its data stay."""
        self._signal(signal.SIGTERM)
        self._wait()

    def kill(self) -> None:
        """Kill the server at once; its data stay."""
        self._signal(signal.SIGKILL)
        self._wait()

    def freeze(self) -> None:
        """Stop the server from running; connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._signal(signal.SIGCONT)

    def processes(self) -> list[int]:
        """Return what was started from the folder and still runs, in whatever session it is."""
        entries = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [int(entry.name) for entry in entries if self._is_ours(entry)]

    def close(self) -> None:
        """Kill everything that was started from the folder, and remove it.  Raises ServerFailed, OSError.

        In this order: what dies slowly still writes into the folder that is being removed, and the folder stays.
        """
        self.kill()
        self._end(self.processes, signal.SIGKILL)
        self._temporary.cleanup()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def _log(self) -> Path:
        return self._path / "output"

    def _command(self) -> list[str | Path]:
        raise NotImplementedError

    def _environment(self) -> dict[str, str]:
        raise NotImplementedError

    def _identity(self) -> dict[str, Any]:
        """Return whom the server becomes, as arguments of Popen."""
        return {}

    def _is_open(self) -> bool:
        raise NotImplementedError

    def _is_ours(self, entry: Path) -> bool:
        """Say whether a process names the folder; one that has ended and was not waited for names nothing."""
        folder = f"{self._path}/".encode()
        return entry.name != str(os.getpid()) and any(folder in _read(entry / name) for name in ("cmdline", "environ"))

    def _group(self) -> list[int]:
        """Return what runs in the server's own group: RabbitMQ is a shell and the Erlang machine behind it."""
        leader = self._process.pid if self._process is not None else None
        return [process for process in self.processes() if _group_of(process) == leader]

    def _signal(self, number: int) -> None:
        if self.running and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _wait(self) -> None:
        """Wait until the whole group is gone: what is left of it would hold the port against the next start."""
        if self._process is None:
            return
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait(STOP_SECONDS)
        self._end(self._group)
        # The kernel takes a process's memory, by which it is known here, before its files: the port closes after that.
        end = time.monotonic() + STOP_SECONDS
        while self._is_open() and time.monotonic() < end:
            time.sleep(_LOOK_SECONDS)

    def _end(self, find: Callable[[], list[int]], number: int = 0) -> None:
        """Wait until `find` finds no process; each gets the signal (0 is none) every time it is found."""
        end = time.monotonic() + STOP_SECONDS
        while left := find():
            for process in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, number)
            if time.monotonic() > end:
                raise ServerFailed(f"{self.name}: processes left behind: {left}")
            time.sleep(_LOOK_SECONDS)


def _group_of(process: int) -> int | None:
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(process)
    return None


def _read(path: Path) -> bytes:
    """Return what /proc says; nothing of a process that has ended or is another user's."""
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""
