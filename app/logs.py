"""Structured logs on standard error: one line per unit of work, JSON for machines or columns for people."""

import contextlib
import json
import logging
import os
import sys
from typing import Any

import orjson
import structlog

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Lines:
    """Writes each line with one system call; what cannot be written is dropped, as a log must not end what it tells of.

    Not through `sys.stderr`: its buffer keeps what could not be written, tries it again with the next line and at the
    end, and makes the exit code 120 of that.
    """

    def __init__(self, *_names: object) -> None:
        self._file = sys.stderr.fileno() if sys.stderr is not None else None  # None: started with it closed

    def msg(self, line: bytes) -> None:
        """Write a line, if it can be written."""
        if self._file is None:
            return
        rest = line + b"\n"
        with contextlib.suppress(OSError):
            while rest:
                rest = rest[os.write(self._file, rest) :]

    debug = info = warning = error = critical = msg


def configure(log_format: str, level: str) -> None:
    """Set up structlog; `auto` is columns on a terminal, JSON otherwise."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    as_json = log_format == "json" or (log_format == "auto" and not is_terminal)
    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if as_json:
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_dumps)]
    else:
        last = [structlog.dev.ConsoleRenderer(colors=is_terminal), _encode]
    structlog.configure(
        processors=shared + last,
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=Lines,
        cache_logger_on_first_use=True,
    )


def _encode(_logger: Any, _method: str, line: str) -> bytes:
    return line.encode(errors="backslashreplace")


def _dumps(event: Any, **_options: Any) -> bytes:
    try:
        return orjson.dumps(event, default=str)
    except TypeError:  # text from a sender that is not UTF-8
        return json.dumps(event, default=str).encode()
