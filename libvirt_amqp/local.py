"""What is known of the agent of this machine: its settings, where it keeps what outlives it, its name, its life."""

import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

PREFIX = "LIBVIRT_AMQP_"
SETTINGS_FILE = Path("/etc/libvirt-amqp.toml")
STATE_FILE = "state.json"
ALIVE_SOCKET = "alive.sock"
UNIT_DIRECTORY = Path("/var/lib/libvirt-amqp")
"""What `StateDirectory=` of docker/libvirt-amqp.service makes; the image's STATE_DIR is the same."""
_OTHERS_MAY_WRITE = 0o022


class NotAlive(Exception):
    """No agent of this machine says that it lives; the message says what was tried."""


class Kept(NamedTuple):
    """What the run of an agent that began last has left."""

    epoch: int
    host: str
    directory: Path


def read_file(path: Path) -> dict[str, object]:
    """Read a TOML file of settings.  Raises OSError, or ValueError for what is no TOML; neither repeats a value."""
    import tomllib  # noqa: PLC0415 (`ping` does without it where there is no file)

    return tomllib.loads(path.read_text())


def settings_file() -> tuple[dict[str, object], str | None]:
    """Return what the file says that an agent reads, and why it says nothing: it may have a password, and be closed."""
    try:
        return {name.lower(): value for name, value in read_file(SETTINGS_FILE).items()}, None
    except FileNotFoundError:
        return {}, None
    except OSError as error:
        return {}, f"{SETTINGS_FILE} cannot be read: {error.strerror}"
    except ValueError as error:
        return {}, f"{SETTINGS_FILE} is no TOML: {error}"


def setting(environ: Mapping[str, str], name: str) -> str | None:
    """Return what an agent of this machine is told: by the environment, else by the file; None: nothing, or unread."""
    if value := environ.get(PREFIX + name.upper()):
        return value
    found = settings_file()[0].get(name)
    return found if isinstance(found, str) else None


def state_directory(environ: Mapping[str, str]) -> Path:
    """Return systemd's STATE_DIRECTORY, else libvirt-amqp under XDG_STATE_HOME or ~/.local/state."""
    if directory := environ.get("STATE_DIRECTORY"):
        return Path(directory.split(":")[0])
    state_home = environ.get("XDG_STATE_HOME") or str(home() / ".local" / "state")
    return Path(state_home) / "libvirt-amqp"


def state_directories(environ: Mapping[str, str], given: Path | str | None) -> tuple[Path, ...]:
    """Return where the agent of this machine may keep its state: as told, else as we would, else as the unit does."""
    if given:
        return (Path(given),)
    ours = state_directory(environ)
    return (ours,) if environ.get("STATE_DIRECTORY") else (ours, UNIT_DIRECTORY)


def directories_here(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return them for an agent with the settings of this machine."""
    return state_directories(environ, setting(environ, "state_dir"))


def home() -> Path:
    """Return this user's home, `/` for one that has none."""
    try:
        return Path.home()
    except RuntimeError:  # no HOME, and a user that passwd does not know: a container's
        return Path("/")


def kept(directories: Sequence[Path]) -> Kept | None:
    """Return what was kept last in one of these; the first of them was chosen, the others are guessed."""
    found = []
    for directory in directories:
        try:
            if directory != directories[0]:
                _check_owner(directory)
            state = json.loads((directory / STATE_FILE).read_text())
            found.append(Kept(int(state["epoch"]), str(state["host"]), directory))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return max(found, default=None)


def host_name(environ: Mapping[str, str]) -> str | None:
    """Return the host that this machine's agent serves: HOST of its settings, or the name it kept; None: unknown."""
    if host := setting(environ, "host"):
        return host
    last = kept(directories_here(environ))
    return last.host if last else None


def alive_directories(state: Path) -> Iterator[Path]:
    """Yield where the agent's socket may be, best first: a place for state is not always there to write to."""
    yield state
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "libvirt-amqp"
    yield Path(os.environ.get("TMPDIR") or "/tmp") / f"libvirt-amqp-{os.getuid()}"  # noqa: S108 (a folder of our own)


def ask_alive(directories: Sequence[Path], seconds: float) -> dict[str, object]:
    """Ask the agent on this machine, without the broker, whether its loop turns.  Raises NotAlive."""
    tried: list[str] = []
    for news in answers(directories, seconds, tried):
        return news
    raise NotAlive("; ".join(tried))


def answers(directories: Sequence[Path], seconds: float, tried: list[str]) -> Iterator[dict[str, object]]:
    """Yield what each agent says that lives here; `tried` gets why the others do not.

    Raises NotAlive for one that takes the question and does not answer.
    """
    chosen, *guessed = directories
    first, *elsewhere = alive_directories(chosen)
    for directory in (first, *guessed, *elsewhere):
        path = directory / ALIVE_SOCKET
        try:
            if directory != chosen:
                _check_owner(directory)
            news = _ask(path, seconds)
        except TimeoutError as error:
            raise NotAlive(f"{path}: the agent did not answer within {seconds:g} s") from error
        except (OSError, ValueError) as error:
            tried.append(f"{path}: {getattr(error, 'strerror', None) or error}")
        else:
            yield news


def _ask(path: Path, seconds: float) -> dict[str, object]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        connection.connect(str(path))
        with connection.makefile() as answer:
            news: dict[str, object] = json.loads(answer.readline())
            return news


def _check_owner(directory: Path) -> None:
    """Raise OSError for a folder that was guessed, and is not ours, root's, or what root gave the unit's user."""
    found = directory.stat()
    if found.st_uid in {os.getuid(), 0}:
        return
    if directory == UNIT_DIRECTORY and not found.st_mode & _OTHERS_MAY_WRITE:
        above = directory.parent.stat()
        if above.st_uid == 0 and not above.st_mode & _OTHERS_MAY_WRITE:
            return
    raise PermissionError(0, "the folder is another user's, who could answer whatever he likes")
