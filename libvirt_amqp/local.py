"""Where the agent of this machine keeps what outlives it, the name that it goes by, and where it says that it lives."""

import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

STATE_FILE = "state.json"
ALIVE_SOCKET = "alive.sock"


class NotAlive(Exception):
    """No agent of this machine says that it lives; the message says what was tried."""


def state_directory(environ: Mapping[str, str]) -> Path:
    """Return systemd's STATE_DIRECTORY, else libvirt-amqp under XDG_STATE_HOME or ~/.local/state."""
    if directory := environ.get("STATE_DIRECTORY"):
        return Path(directory.split(":")[0])
    home = environ.get("XDG_STATE_HOME") or str(_home() / ".local" / "state")
    return Path(home) / "libvirt-amqp"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # no HOME, and a user that passwd does not know: a container's
        return Path("/")


def host_name(environ: Mapping[str, str]) -> str | None:
    """Return the host that this machine's agent serves: LIBVIRT_AMQP_HOST, or the name it kept; None: unknown."""
    if host := environ.get("LIBVIRT_AMQP_HOST"):
        return host
    try:
        return str(json.loads((_chosen_directory(environ) / STATE_FILE).read_text())["host"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def alive_directories(state: Path) -> Iterator[Path]:
    """Yield where the agent's socket may be, best first: a place for state is not always there to write to."""
    yield state
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        yield Path(runtime) / "libvirt-amqp"
    yield Path(os.environ.get("TMPDIR") or "/tmp") / f"libvirt-amqp-{os.getuid()}"  # noqa: S108 (a folder of our own)


def ask_alive(environ: Mapping[str, str], seconds: float) -> dict[str, object]:
    """Ask the agent on this machine, without the broker, whether its loop turns.  Raises NotAlive."""
    tried = []
    chosen = _chosen_directory(environ)
    for directory in alive_directories(chosen):
        path = directory / ALIVE_SOCKET
        try:
            if directory != chosen and directory.stat().st_uid not in {os.getuid(), 0}:
                raise PermissionError(0, "the folder is another user's, who could answer whatever he likes")
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(seconds)
                connection.connect(str(path))
                with connection.makefile() as answer:
                    news: dict[str, object] = json.loads(answer.readline())
                    return news
        except TimeoutError as error:
            raise NotAlive(f"{path}: the agent did not answer within {seconds:g} s") from error
        except (OSError, ValueError) as error:
            tried.append(f"{path}: {getattr(error, 'strerror', None) or error}")
    raise NotAlive("; ".join(tried))


def _chosen_directory(environ: Mapping[str, str]) -> Path:
    by_hand = environ.get("LIBVIRT_AMQP_STATE_DIR")
    return Path(by_hand) if by_hand else state_directory(environ)
