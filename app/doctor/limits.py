"""Checks libvirtd's limits against what the agent uses: no client can ask for them, so its configuration is read."""

import errno
import os
import pwd
import re
from pathlib import Path

from app.doctor.ask import Answer
from app.doctor.finding import Finding, ok, unseen, wrong
from app.doctor.place import in_container
from app.hypervisor import MOST_CONNECTIONS, MOST_STUCK
from libvirt_amqp.local import home

CHECK = "libvirt's limits"
DEFAULTS = {"max_clients": 5000, "max_workers": 20, "max_client_requests": 5}
"""Of libvirtd and of the daemons of one driver (libvirtd.conf of 9.0 and 11.3)."""
LEAST = {
    # libvirtd reads no keepalive while a connection has all its requests running: a call of 20 s would lose it.
    "max_client_requests": (2, "a call that takes longer than 20 s would lose its connection"),
    "max_clients": (MOST_CONNECTIONS + 10, f"the agent may open {MOST_CONNECTIONS} connections, and one a stream"),
    "max_workers": (MOST_STUCK + 4, f"polling guests that hang may occupy {MOST_STUCK} of them"),
}
"""What the agent needs, and why."""


def check(answers: tuple[Answer, ...], uri: str | None, *, has_daemon: bool) -> Finding:
    """Read what applies to the daemon that answered."""
    if not has_daemon:
        return ok(CHECK, f"{uri} has no daemon on this machine")
    daemon = next((answer.daemon for answer in answers if answer.daemon), None)
    if daemon is None:
        where = "in a container" if in_container() else "as this user"
        look = "grep -E '^max_(client|worker)' /etc/libvirt/libvirtd.conf   (on the hypervisor; nothing: the defaults)"
        return unseen(CHECK, f"the daemon and its configuration are not seen {where}", look)
    try:
        path = configuration(daemon)
        values = DEFAULTS | read(path)
    except FileNotFoundError:
        return _judge(DEFAULTS, "the defaults (no configuration)", path)
    except OSError as error:
        return unseen(CHECK, f"{error.filename}: {error.strerror}", f"run the doctor as root, or cat {error.filename}")
    return _judge(values, str(path), path)


def configuration(daemon: int) -> Path:
    """Return the file that a daemon was started with, or else finds by itself.  Raises OSError."""
    process = Path(f"/proc/{daemon}")
    words = (process / "cmdline").read_text().split("\0")
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word in {"-f", "--config"}:
            return Path(following)
        if word.startswith("--config="):
            return Path(word.partition("=")[2])
    name = f"{(process / 'comm').read_text().strip()}.conf"
    if (owner := process.stat().st_uid) == 0:
        return Path("/etc/libvirt") / name
    return _configuration_home(owner) / "libvirt" / name


def _configuration_home(owner: int) -> Path:
    """Return where a user's daemon looks; of another user's environment only the home is known."""
    if owner == os.getuid():
        return Path(os.environ.get("XDG_CONFIG_HOME") or home() / ".config")
    try:
        return Path(pwd.getpwuid(owner).pw_dir) / ".config"
    except KeyError:
        raise OSError(errno.ENOENT, "its user has no home here", f"configuration of uid {owner}'s daemon") from None


def read(path: Path) -> dict[str, int]:
    """Return the limits that are set in a file."""
    text = path.read_text(errors="replace")
    return {name: int(value) for name, value in re.findall(r"^\s*(max_\w+)\s*=\s*\"?(\d+)", text, re.MULTILINE)}


def _judge(values: dict[str, int], source: str, path: Path) -> Finding:
    for name, (least, why) in LEAST.items():
        if values[name] < least:
            mend = f"{name} = {max(least, DEFAULTS[name])}   (in {path}; restart the daemon)"
            return wrong(CHECK, f"{name} = {values[name]}: {why}", mend)
    shown = ", ".join(f"{name} = {values[name]}" for name in LEAST)
    return ok(CHECK, f"{shown} ({source}); the agent opens up to {MOST_CONNECTIONS} connections, a call at a time each")
