"""Where the agent of this machine keeps what outlives it, and the name that it goes by."""

import json
from collections.abc import Mapping
from pathlib import Path

STATE_FILE = "state.json"


def state_directory(environ: Mapping[str, str]) -> Path:
    """Return systemd's STATE_DIRECTORY, else libvirt-amqp under XDG_STATE_HOME or ~/.local/state."""
    if directory := environ.get("STATE_DIRECTORY"):
        return Path(directory.split(":")[0])
    home = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "libvirt-amqp"


def host_name(environ: Mapping[str, str]) -> str | None:
    """Return the host that this machine's agent serves: LIBVIRT_AMQP_HOST, or the name it kept; None: unknown."""
    if host := environ.get("LIBVIRT_AMQP_HOST"):
        return host
    set_by_hand = environ.get("LIBVIRT_AMQP_STATE_DIR")
    directory = Path(set_by_hand) if set_by_hand else state_directory(environ)
    try:
        return str(json.loads((directory / STATE_FILE).read_text())["host"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
