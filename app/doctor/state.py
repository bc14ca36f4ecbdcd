"""Checks the place for what must outlive the process: may this user write there, and is there room."""

import os
import tempfile
from pathlib import Path

from app.doctor.finding import Finding, ok, wrong
from app.doctor.place import in_container
from app.doctor.socket import name_of, user
from app.settings import Settings
from libvirt_amqp.local import UNIT_DIRECTORY, kept, state_directories

CHECK = "state"
_MIB = 2**20


def check(settings: Settings) -> Finding:
    """Write something to the directory, or to what it would be made in."""
    last = kept(state_directories(os.environ, settings.state_dir))
    directory = last.directory if last else settings.state_path
    place = next(path for path in (directory, *directory.absolute().parents) if os.path.exists(path))  # noqa: PTH110 (Path.exists raises where we may not look)
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".doctor-"):
            free = os.statvfs(place)
    except OSError as error:
        return wrong(CHECK, f"{place}: user {user()} cannot write: {error.strerror}", _mend(directory, place))
    mib = free.f_bavail * free.f_frsize / _MIB
    room = f"{mib:.0f} MiB free, events may take {settings.outbox_max_mib:g} MiB"
    text = f"{directory} is writable{_for_whom(place)}, {room}"
    if mib < settings.outbox_max_mib:
        return wrong(CHECK, text, f"LIBVIRT_AMQP_OUTBOX_MAX_MIB={max(1, int(mib / 2))}   (or make room)")
    return ok(CHECK, text)


def _for_whom(place: Path) -> str:
    """Say it where root looks at what a service's user has: it is that one who has to write."""
    owner = place.stat().st_uid
    return "" if os.getuid() != 0 or owner == 0 else f" for user {user()}, belongs to {name_of(owner)}"


def _mount(directory: Path) -> str:
    """Return the line for a container: a new volume is root's, but where the image has a folder that is for anybody."""
    if directory == UNIT_DIRECTORY:
        return f"chown {os.getuid()} FOLDER   (what is mounted there; or a new volume: -v libvirt-amqp:{directory})"
    volume = f"-v libvirt-amqp:{UNIT_DIRECTORY} -e LIBVIRT_AMQP_STATE_DIR={UNIT_DIRECTORY}"
    return f"{volume}   (a new volume elsewhere is root's; or chown {os.getuid()} what is mounted at {directory})"


def _mend(directory: Path, place: Path) -> str:
    if in_container():
        return _mount(directory)
    if not os.access(place, os.W_OK) and os.statvfs(place).f_flag & os.ST_RDONLY:
        return "LIBVIRT_AMQP_STATE_DIR=/var/lib/libvirt-amqp   (or another folder that is not read-only)"
    return f"install -d -o {os.getuid()} -m 0700 {directory}"
