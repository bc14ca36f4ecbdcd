"""Checks the place for what must outlive the process: may this user write there, and is there room."""

import os
import tempfile
from pathlib import Path

from app.doctor.finding import Finding, ok, wrong
from app.doctor.place import in_container
from app.doctor.socket import user
from app.settings import Settings

CHECK = "state"
_MIB = 2**20


def check(settings: Settings) -> Finding:
    """Write something to the directory, or to what it would be made in."""
    directory = settings.state_path
    place = next(path for path in (directory, *directory.absolute().parents) if os.path.exists(path))  # noqa: PTH110 (Path.exists raises where we may not look)
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-"):
            free = os.statvfs(place)
    except OSError as error:
        return wrong(CHECK, f"{place}: user {user()} cannot write: {error.strerror}", _mend(directory, place))
    mib = free.f_bavail * free.f_frsize / _MIB
    text = f"{directory} is writable, {mib:.0f} MiB free, events may take {settings.outbox_max_mib:g} MiB"
    if mib < settings.outbox_max_mib:
        return wrong(CHECK, text, f"LIBVIRT_AMQP_OUTBOX_MAX_MIB={max(1, int(mib / 2))}   (or make room)")
    return ok(CHECK, text)


def _mend(directory: Path, place: Path) -> str:
    if in_container():
        return f"-v libvirt-amqp:{directory}   (a volume that uid {os.getuid()} owns)"
    if not os.access(place, os.W_OK) and os.statvfs(place).f_flag & os.ST_RDONLY:
        return "LIBVIRT_AMQP_STATE_DIR=/var/lib/libvirt-amqp   (or another folder that is not read-only)"
    return f"install -d -o {os.getuid()} -m 0700 {directory}"
