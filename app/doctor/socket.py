"""Checks libvirt's socket from outside: is it there, is it a mounted file, may this user connect to it."""

import grp
import os
import pwd
import stat
from pathlib import Path

from app.doctor.finding import Finding, advice, ok, unseen, wrong
from app.doctor.place import SYSTEM, Place, in_container

CHECK, SESSION = "socket", "session"
SYSTEM_URI = "LIBVIRT_AMQP_URI=qemu:///system"
MOUNT = f"mount the folder, not the file: -v {SYSTEM}:{SYSTEM}:ro   (compose: volumes: ['{SYSTEM}:{SYSTEM}:ro'])"


def check(place: Place | None, uri: str) -> Finding:
    """Look at the socket that the agent would use."""
    if place is None:
        return ok(CHECK, f"{uri} is reached without a socket of this machine")
    path = place.socket
    try:
        found = path.stat()
    except FileNotFoundError:
        return _missing(place)
    except PermissionError:
        return wrong(CHECK, f"{path}: user {user()} may not enter the folder {closed(path)}", let_enter(path))
    return _judge(path, found)


def _judge(path: Path, found: os.stat_result) -> Finding:
    if not stat.S_ISSOCK(found.st_mode):
        return wrong(CHECK, f"{path} is no socket", "libvirtd was not running when this was mounted: " + MOUNT)
    if not os.access(path, os.W_OK):
        return _refused(path, found)
    text = f"{path}: user {user()} may connect (mode {stat.S_IMODE(found.st_mode):04o}, group {group(found.st_gid)})"
    if is_mount_point(path):
        return advice(CHECK, f"{text}, but the file itself is mounted: a libvirtd that restarts makes another", MOUNT)
    return ok(CHECK, text)


def check_session(uri: str) -> Finding:
    """Say that this is not the machine's libvirt, which is what whoever is not root gets by default."""
    text = f"{uri} is the libvirt of user {user()} alone, whose guests are not the machine's"
    return advice(SESSION, text, f"{SYSTEM_URI}   (unless this user's own guests are meant)")


def closed(path: Path) -> Path:
    """Return the first folder on the way to a file that this user may not enter."""
    folders = [*reversed(path.parents)]
    return next((folder for folder in folders if not os.access(folder, os.X_OK)), folders[-1])


def let_enter(path: Path) -> str:
    """Return the line that opens it."""
    return f"chmod o+x {closed(path)}"


def user() -> str:
    """Return this process's user as name and number, so far as this machine (or container) has a name."""
    return name_of(os.getuid())


def name_of(uid: int) -> str:
    """Return a user as name and number."""
    try:
        return f"{pwd.getpwuid(uid).pw_name} ({uid})"
    except KeyError:
        return f"{uid} (no name in passwd here)"


def group(gid: int) -> str:
    """Return a group as name and number."""
    try:
        return f"{grp.getgrgid(gid).gr_name} ({gid})"
    except KeyError:
        return f"{gid} (no name here)"


def start_libvirt(*, is_session: bool) -> str:
    """Return the line that starts libvirt on the hypervisor."""
    return "libvirtd --daemon   (as this user)" if is_session else "systemctl enable --now libvirtd   (or virtqemud)"


def is_mount_point(path: Path) -> bool:
    """Say whether exactly this file was mounted (proc(5): the fifth field of mountinfo)."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return False
    return str(path.resolve()) in {line.split()[4] for line in lines}


def _missing(place: Place) -> Finding:
    names = " and ".join(map(str, place.candidates))
    if in_container() and not place.candidates[-1].parent.is_dir():
        return wrong(CHECK, f"{names}: no such file, and the folder is not mounted", MOUNT)
    return wrong(CHECK, f"{names}: no such file, libvirt does not run", start_libvirt(is_session=place.is_session))


def _refused(path: Path, found: os.stat_result) -> Finding:
    mode = stat.S_IMODE(found.st_mode)
    text = f"{path}: user {user()} may not connect (mode {mode:04o}, owner {found.st_uid}, group {group(found.st_gid)})"
    if not mode & stat.S_IWGRP:
        return wrong(CHECK, text, 'unix_sock_rw_perms = "0770"   (in /etc/libvirt/libvirtd.conf; restart libvirtd)')
    return wrong(CHECK, text, join_group(found.st_gid))


def join_group(gid: int) -> str:
    """Return the line that makes this user a member."""
    if in_container():
        return f'--group-add {gid}   (compose: group_add: ["{gid}"])'
    name = group(gid).partition(" ")[0]
    return f"usermod -aG {name} {user().partition(' ')[0]}   (then start the agent again)"


def check_user(*, is_known: bool | None) -> Finding:
    """Look at who libvirtd sees; `is_known`: what it said about that itself, None when it was not asked that far."""
    outer = outer_uid()
    seen = f"user {user()}" + ("" if outer == os.getuid() else f", outside of this user namespace {outer}")
    if is_known:
        return ok("user", f"{seen}: libvirtd knows it")
    if is_known is False:
        return wrong("user", f"{seen} is unknown in the hypervisor's passwd", make_user(outer))
    if in_container():
        return unseen("user", f"{seen}; the hypervisor's passwd is not seen from a container", f"getent passwd {outer}")
    return ok("user", seen) if "no name" not in seen else wrong("user", seen, make_user(outer))


def make_user(uid: int) -> str:
    """Return the line that makes a uid known, or takes one that is."""
    if in_container():
        return '--user 65534:65534   (compose: user: "65534:65534"), or a uid that the hypervisor knows'
    return f"useradd --system --no-create-home --uid {uid} libvirt-amqp   (on the hypervisor)"


def outer_uid() -> int:
    """Return our uid in the user namespace above, which is what libvirtd gets told (user_namespaces(7))."""
    uid = os.getuid()
    try:
        rows = [tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    except (OSError, ValueError):
        return uid
    return next((outer + uid - inner for inner, outer, count in rows if inner <= uid < inner + count), uid)
