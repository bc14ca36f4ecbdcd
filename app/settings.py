"""The configuration: `LIBVIRT_AMQP_<SETTING>` in the environment over `<setting>` in a TOML file over the defaults."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from libvirt_amqp import local
from libvirt_amqp.keys import ANY
from libvirt_amqp.url import DEFAULT_URL, parse_url

PREFIX = local.PREFIX

STATS_GROUPS = (
    "state",
    "cpu-total",
    "balloon",
    "vcpu",
    "interface",
    "block",
    "perf",
    "iothread",
    "memory",
    "dirtyrate",
    "vm",
)
"""The groups of libvirt's bulk statistics, by their names of `virsh domstats`."""

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Interval = Annotated[float, Field(ge=0.05, le=86_400)]
"""Seconds between two beats: 20 a second are more than anybody can want."""


LISTEN = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[^\s:/@\[\]]+)):(?P<port>\d{1,5})", re.ASCII)
MAX_PORT = 65_535


class SettingsError(Exception):
    """A setting is unknown or impossible.  One readable line, which never repeats a value that may be secret."""


class Settings(BaseModel):
    """What an agent can be told.  Everything has a default that is safe."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    broker_url: SecretStr = SecretStr(DEFAULT_URL)
    """amqp:// or amqps://, with user and password."""
    uri: str | None = None
    """libvirt's connection URI; None: LIBVIRT_DEFAULT_URI, then libvirt's own choice."""
    host: str | None = None
    """The first word of every key; None: the last name kept in STATE_DIR, then what libvirt calls the host."""
    access: Literal["read-only", "full"] = "read-only"
    secrets: bool = False
    """Serve also what reads or sets secrets: XML_SECURE, secret values, passwords, monitor and guest agent."""
    stats_interval: Interval = 10
    heartbeat_interval: Interval = 5
    stats_groups: tuple[str, ...] = ()
    """Groups of libvirt's bulk statistics to publish besides, by their names of `virsh domstats`; they are heavy."""
    stats_groups_interval: Interval = 60
    stats_cpu_share: Annotated[float, Field(ge=0.001, le=100)] = 1
    """Percent of one CPU that polling may take, in the agent and in a libvirtd on this machine; above it intervals
    stretch."""
    stats_per_host: bool = False
    """One message per host and round with all domains, instead of one message per domain."""
    stats_only_changed: bool = False
    """Publish a domain's figures only when they have changed, and all of them every STATS_FULL_EVERY seconds."""
    stats_full_every: Seconds = 300
    state_dir: Path | None = None
    """What must outlive the process; None: STATE_DIRECTORY, then libvirt-amqp under XDG_STATE_HOME."""
    outbox_max_mib: Annotated[float, Field(ge=1, le=65_536)] = 256
    """MiB of events that wait for the broker; when it is reached the oldest is dropped, and `agent.gap` says so."""
    stop_grace: Seconds = 10
    """Seconds that running calls get when the agent is told to stop."""
    max_request_bytes: Annotated[int, Field(ge=1024)] = 4 * 1024 * 1024
    metrics_listen: tuple[str, int] | None = None
    """host:port on which Prometheus finds /metrics; None: no port is opened."""
    metrics_domains: bool = False
    """Show there also the domains' figures, a label for each domain."""
    metrics_names: Literal["inovex", "tinkoff"] = "inovex"
    """Whose names they have: inovex/prometheus-libvirt-exporter's or Tinkoff/libvirt-exporter's."""
    log_format: Literal["auto", "json", "console"] = "auto"
    """auto: console on a terminal, JSON lines otherwise."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("broker_url")
    @classmethod
    def _is_amqp(cls, value: SecretStr) -> SecretStr:
        parse_url(value.get_secret_value())
        return value

    @field_validator("state_dir", mode="before")
    @classmethod
    def _empty_is_not_set(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("host")
    @classmethod
    def _is_a_name(cls, value: str | None) -> str | None:
        if value is not None and (value == ANY or not value.strip()):
            raise ValueError(f"{value!r} is no host's name")
        return value

    @field_validator("stats_groups", mode="before")
    @classmethod
    def _are_listed(cls, value: object) -> object:
        return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value

    @field_validator("stats_groups")
    @classmethod
    def _are_groups(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in STATS_GROUPS:
                raise ValueError(f"{name!r} is no group of statistics (there are {', '.join(STATS_GROUPS)})")
        return value

    @field_validator("metrics_listen", mode="before")
    @classmethod
    def _is_host_and_port(cls, value: object) -> tuple[str, int] | None:
        if value is None:
            return None
        found = LISTEN.fullmatch(str(value))
        if found is None or not 0 < int(found["port"]) <= MAX_PORT:
            raise ValueError("needs the form host:port, as 127.0.0.1:9177 or [::1]:9177")
        return found["six"] or found["host"], int(found["port"])

    @property
    def state_path(self) -> Path:
        """Where the state lives, in the order that the contract gives."""
        if self.state_dir is not None:
            return self.state_dir
        return local.state_directory(os.environ)


def load(environ: Mapping[str, str] = os.environ, file: Path | None = None) -> Settings:
    """Read the settings.  Raises SettingsError with one readable line."""
    given = _from_file(file) | _from_environment(environ)
    try:
        return Settings.model_validate({setting: one.value for setting, one in given.items()})
    except ValidationError as error:
        lines = [_explain(given.get("".join(map(str, e["loc"][:1]))), e["type"], e["msg"]) for e in error.errors()]
        raise SettingsError("; ".join(lines)) from None


class Given(NamedTuple):
    """A value and where it stands: `name` is how a message calls it, `known` how it would call all that there are."""

    value: object
    name: str
    known: Callable[[str], str]


def _from_environment(environ: Mapping[str, str]) -> dict[str, Given]:
    return {
        name[len(PREFIX) :].lower(): Given(value, name, str.upper)
        for name, value in environ.items()
        if name.startswith(PREFIX)
    }


def _from_file(file: Path | None) -> dict[str, Given]:
    path = file or local.SETTINGS_FILE
    if file is None and not path.exists():
        return {}
    try:
        values = local.read_file(path)
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"{path} is no TOML: {error}") from error
    return {key.lower(): Given(value, f"{path}: {_shown(key)}", str.lower) for key, value in values.items()}


def _shown(key: str) -> str:
    """Return a key as it stands in the file; one that TOML needs quotes for is quoted, so that a line stays one."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else repr(key)


def _explain(given: Given | None, kind: str, message: str) -> str:
    if given is None:
        return message
    if kind == "extra_forbidden":
        return f"{given.name} is no setting (there are {', '.join(map(given.known, Settings.model_fields))})"
    return f"{given.name}: {message.removeprefix('Value error, ')}"
