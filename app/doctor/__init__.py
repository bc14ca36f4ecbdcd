"""`libvirt-amqp doctor`: looks at everything that an agent needs, and says what is wrong and the line that mends it."""

import asyncio
import os
import re
from dataclasses import replace
from pathlib import Path

from app.doctor import broker, clock, host, libvirt, limits, permissions, place, socket, state
from app.doctor.ask import Answer, ask
from app.doctor.finding import Finding, Status, ok, unseen, wrong
from app.settings import PREFIX, Settings, SettingsError, load
from libvirt_amqp.keys import RPC
from libvirt_amqp.local import SETTINGS_FILE

__all__ = ["Finding", "Status", "examine"]


async def examine(file: Path | None, listen_seconds: float) -> list[Finding]:
    """Check everything, in the order in which an agent needs it; nothing is changed, nothing is left behind."""
    try:
        settings = load(os.environ, file)
    except SettingsError as error:
        return [_settings_refused(str(error), file)]
    libvirt_found, answers = await _libvirt(settings)
    name, known = host.check_name(settings, answers)
    broker_found = await _broker(settings, known, listen_seconds)
    return [
        _settings_read(file),
        *libvirt_found,
        name,
        *broker_found,
        clock.check_kernel(),
        state.check(settings),
    ]


async def _libvirt(settings: Settings) -> tuple[list[Finding], tuple[Answer, ...]]:
    read_only, read_write = await asyncio.gather(ask(settings.uri, read_only=True), ask(settings.uri, read_only=False))
    answers = (read_only, read_write)
    full = settings.access == "full"
    uri = settings.uri or os.environ.get("LIBVIRT_DEFAULT_URI") or read_only.uri or read_write.uri
    where = place.find(uri, read_only=not full) if uri else None
    known = libvirt.knows_user(answers, where)
    needs_read_only = not full or read_write.error is not None
    found = [
        socket.check(where, uri) if uri else _no_uri(),
        *([socket.check_session(uri)] if where and where.is_session and uri else []),
        *([socket.check_user(is_known=known)] if where else []),
        libvirt.check(libvirt.READ_ONLY, read_only, where, settings.access, is_needed=needs_read_only),
        libvirt.check(libvirt.READ_WRITE, read_write, where, settings.access, is_needed=full),
        limits.check(answers, uri, has_daemon=where is not None or uri is None),
    ]
    return found, answers


async def _broker(settings: Settings, known: str | None, listen_seconds: float) -> list[Finding]:
    url = settings.broker_url.get_secret_value()
    role = permissions.Role(url, known or "HOST")
    found, product = await broker.check(url, role.permissions())
    if product is None or known is None:
        return found
    role = await permissions.acquainted(replace(role, product=product))
    permitted, served, fleet = await asyncio.gather(
        permissions.check(role),
        host.check_served(url, known, settings, permit=role.topics(RPC)),
        clock.check_fleet(url, known, listen_seconds),
    )
    return [*found, *permitted, served, fleet]


def _settings_read(file: Path | None) -> Finding:
    given = sorted(name.removeprefix(PREFIX) for name in os.environ if name.startswith(PREFIX))
    sources = [f"the environment ({', '.join(given)})"] if given else []
    path = file or SETTINGS_FILE
    if path.exists():
        sources.append(str(path))
    return ok("settings", f"read from {' over '.join(sources)}" if sources else "none is set: all are the defaults")


def _settings_refused(error: str, file: Path | None) -> Finding:
    path = file or SETTINGS_FILE
    if "cannot be read" in error:
        mend = f"chown root:{os.getgid()} {path}; chmod 0640 {path}"
    elif unknown := re.match(rf"({PREFIX}\w+) is no setting", error):
        mend = f"unset {unknown[1]}"
    elif named := re.match(rf"({PREFIX}\w+)", error):
        mend = f"{named[1]}=...   (as said above)"
    else:
        mend = f"$EDITOR {path}"
    return wrong("settings", error, mend)


def _no_uri() -> Finding:
    text = "URI is not set, and libvirt's own choice could not be asked"
    return unseen(socket.CHECK, text, socket.SYSTEM_URI)
