"""A sign of life for this machine alone: a socket that answers as long as the loop turns, whatever the broker does."""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog

from libvirt_amqp.local import ALIVE_SOCKET, alive_directories

log = structlog.get_logger()


class Alive:
    """Answers everyone who connects with one line of JSON, what `news` returns, and hangs up."""

    def __init__(self, state: Path, news: Callable[[], dict[str, Any]]) -> None:
        self._news = news
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._directories = tuple(alive_directories(state))

    async def start(self) -> None:
        """Listen at the first place that can be had; without any the agent goes on, and says so."""
        refusals = []
        for directory in self._directories:
            path = directory / ALIVE_SOCKET
            try:
                self._server = await asyncio.start_unix_server(self._answer, sock=_bound(path))
            except OSError as error:
                refusals.append(f"{path}: {error.strerror or error}")
            else:
                self._path = path
                return
        log.warning("no_sign_of_life", reason="; ".join(refusals), consequence="ping --local does not find this agent")

    def close(self) -> None:
        """Hang up and take the socket away."""
        if self._server is not None:
            self._server.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    async def _answer(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(json.dumps(self._news()).encode() + b"\n")
            await writer.drain()
        writer.close()


def _bound(path: Path) -> socket.socket:
    """Return a socket at this path, for its owner alone; one that nobody listens to any more is replaced.

    Raises OSError, also when somebody does listen: another agent lives there.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.stat().st_uid not in {os.getuid(), 0}:
        raise PermissionError(0, "the folder is another user's")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        except FileNotFoundError:
            pass
        else:
            raise OSError(0, "another agent lives there")
    server = socket.socket(socket.AF_UNIX)
    try:
        server.bind(str(path))
        path.chmod(0o600)
    except OSError:
        server.close()
        raise
    return server
