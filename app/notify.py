"""What systemd is told, where it asked for it (sd_notify(3)): ready, alive, what the matter is, stopping.

Twenty lines of our own, because the libraries either want libsystemd to be built or have not been touched for years.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any, Self

READY_SECONDS = 10.0
"""How long readiness waits for the broker.  It waits for libvirt never: the agent is there to say that it is away."""
LOOK_SECONDS = 1.0
"""How often the state is looked at, and half the time in which a sign of life may be due at most."""


class Notifier:
    """Sends nothing when nobody asked."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = int(environ.get("WATCHDOG_USEC") or 0) if is_ours else 0
        self._watchdog = microseconds > 0
        self._every = min(LOOK_SECONDS, microseconds / 2e6) if self._watchdog else LOOK_SECONDS
        self._told = ""
        self._is_stopping = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Stop telling: after everything else has stopped, which takes its time and may hang as well."""
        if self._task is not None:
            self._task.cancel()

    def watch(self, news: Callable[[], dict[str, Any]]) -> None:
        """Tell from now on what `news` (that of `ping --local`) comes to."""
        if self._address:
            self._task = asyncio.create_task(self._run(news), name="systemd")

    async def _run(self, news: Callable[[], dict[str, Any]]) -> None:
        """Run on the agent's own loop: one that hangs tells nothing."""
        started, is_ready = time.monotonic(), False
        while True:
            now = news()
            if not is_ready and not self._is_stopping and (now["broker"] or time.monotonic() - started > READY_SECONDS):
                is_ready = True
                self.tell("READY=1")
            if self._watchdog:
                self.tell("WATCHDOG=1")
            self._tell_status(now)
            await asyncio.sleep(self._every)

    def stopping(self) -> None:
        """Tell that the end has begun."""
        self._is_stopping = True
        self.tell("STOPPING=1", "STATUS=stopping: open calls end, events are flushed")

    def tell(self, *assignments: str) -> None:
        """Send some assignments in one datagram; a manager that does not listen is no fault of ours."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            try:
                sender.sendto("\n".join(assignments).encode(), socket.MSG_DONTWAIT, self._address)
            except OSError:
                return

    def _tell_status(self, now: dict[str, Any]) -> None:
        broker, libvirt = (f"{part} {'connected' if now[part] else 'away'}" for part in ("broker", "libvirt"))
        status = f"STATUS={now['host'] or 'no name yet'}: {broker}, {libvirt}"
        if status != self._told and not self._is_stopping:
            self._told = status
            self.tell(status)


def _address(given: str) -> str:
    """Return the socket's address; one that begins with @ is abstract."""
    return "\0" + given[1:] if given.startswith("@") else given
