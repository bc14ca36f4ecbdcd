"""Checks whether libvirt lets us in, read-only and read-write, and what its refusals mean."""

import os
import re
from collections.abc import Callable

from app.doctor.ask import Answer
from app.doctor.finding import Finding, ok, wrong
from app.doctor.place import Place, in_container
from app.doctor.socket import MOUNT, SYSTEM_URI, join_group, let_enter, make_user, outer_uid, start_libvirt, user

READ_ONLY, READ_WRITE = "libvirt read-only", "libvirt read-write"
_NOBODY = 65534
UNKNOWN_USER = r"Failed to find user record for uid"
_NOWHERE = r"No such file or directory|does not exist in \$PATH|Connection refused|no connection driver available"
_NO_GROUP_COUNTS = "a container's own groups do not count: polkit reads the hypervisor's /etc/group"


def check(name: str, answer: Answer, place: Place | None, access: str, *, is_needed: bool) -> Finding:
    """Say what an attempt to open libvirt came to."""
    if answer.error is None:
        return ok(name, f"{answer.uri} answers (libvirt {_version(answer.version or 0)}, host {answer.hostname})")
    if not is_needed:
        return ok(name, f"refused, which ACCESS={access} does not need: {answer.error}")
    if answer.timed_out:
        return wrong(name, f"libvirtd does not answer: {answer.error}", _restart(place))
    if place is None and answer.uri is None and re.search(_NOWHERE, answer.error):
        return wrong(name, f"libvirt's own choice, as URI is not set, leads nowhere: {answer.error}", _choose())
    for pattern, meaning, mend in _KNOWN:
        if re.search(pattern, answer.error):
            return wrong(name, f"{meaning}: {answer.error}", mend(place))
    return wrong(name, answer.error, f"virsh -c '{answer.uri or ''}' version   (shows the same, as the same user)")


def knows_user(answers: tuple[Answer, ...], place: Place | None) -> bool | None:
    """Say whether the daemon knows our user; None when none of the attempts went so far."""
    if any(re.search(UNKNOWN_USER, answer.error or "") for answer in answers):
        return False
    return True if place is not None and any(answer.error is None for answer in answers) else None


def _restart(place: Place | None) -> str:
    if place is not None and place.is_session:
        return "kill -9 $(cat $XDG_RUNTIME_DIR/libvirt/libvirtd.pid); libvirtd --daemon   (guests go on)"
    return "systemctl restart libvirtd   (or virtqemud; guests go on)"


def _join(_place: Place | None) -> str:
    """For polkit and for the socket: the group that may use it."""
    name = user().partition(" ")[0]
    if outer_uid() == _NOBODY:  # is anybody's: who may use libvirt is root
        run_as = "--user $(id -u libvirt-amqp)" if in_container() else "User=libvirt-amqp"
        return f"useradd --system --no-create-home --groups libvirt libvirt-amqp   (on the hypervisor; then {run_as})"
    if in_container():
        return f"usermod -aG libvirt $(id -nu {outer_uid()})   (on the hypervisor; {_NO_GROUP_COUNTS})"
    return f"usermod -aG libvirt {name}   (then start the agent again)"


def _socket_group(place: Place | None) -> str:
    if place is None:
        return "libvirtd's settings unix_sock_group, unix_sock_rw_perms"
    try:
        return join_group(place.socket.stat().st_gid)
    except OSError:
        return let_enter(place.socket)


def _listen(place: Place | None) -> str:
    if in_container():
        return MOUNT
    return _start(place) if place is None or place.is_session else "systemctl restart libvirtd   (or virtqemud)"


def _start(place: Place | None) -> str:
    if in_container() and place is not None and not place.socket.parent.is_dir():
        return MOUNT
    return start_libvirt(is_session=place is not None and place.is_session)


def _choose() -> str:
    if in_container():
        return f"{SYSTEM_URI}, and {MOUNT}"
    if os.getuid() == 0:
        return start_libvirt(is_session=False)
    return f"{SYSTEM_URI}   (who is not root gets a session of his own from libvirt)"


def _driver(_place: Place | None) -> str:
    return (
        "apt-get install libvirt-daemon-driver-qemu   (or the driver that the URI names), or another LIBVIRT_AMQP_URI"
    )


_POLKIT_WITHOUT_BUS = (
    'auth_unix_ro = "none", auth_unix_rw = "none", unix_sock_group = "libvirt", unix_sock_rw_perms = "0770"'
    "   (in /etc/libvirt/libvirtd.conf; restart libvirtd), or apt-get install dbus polkitd"
)

# Seen with libvirt 9.0 and 11.3, but for those of the network.
_KNOWN: tuple[tuple[str, str, Callable[[Place | None], str]], ...] = (
    (UNKNOWN_USER, "the hypervisor does not know this user", lambda _: make_user(outer_uid())),
    (r"[Uu]nable to get system bus", "libvirtd asks polkit, which is not there", lambda _: _POLKIT_WITHOUT_BUS),
    (
        r"authentication unavailable|no polkit agent|authentication failed|access denied by policy",
        "polkit does not let this user in",
        _join,
    ),
    (r"Permission denied", "the socket is not for this user", _socket_group),
    (r"Connection refused", "nobody listens at the socket", _listen),
    (r"No such file or directory", "there is no socket", _start),
    (r"no connection driver available|[Uu]nable to find.*driver|unexpected.*driver", "no such driver", _driver),
)


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
