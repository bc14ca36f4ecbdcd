"""The units of systemd and Podman keep to what the agent does."""

from pathlib import Path

import pytest

from app.__main__ import EXIT_SETTINGS
from app.notify import LOOK_SECONDS, READY_SECONDS
from app.settings import Settings

DOCKER = Path(__file__).parents[2] / "docker"
SERVICE, QUADLET = DOCKER / "libvirt-amqp.service", DOCKER / "libvirt-amqp.container"
GRACES = 3
"""How often `stop` waits for STOP_GRACE: requests, calls, events."""


def values(file: Path, key: str) -> list[str]:
    """Return what a unit gives a key, in order."""
    lines = [line.partition("=") for line in file.read_text().splitlines() if not line.startswith(("#", "["))]
    return [value for name, _, value in lines if name == key]


@pytest.mark.parametrize("file", [SERVICE, QUADLET])
def test_the_start_may_take_as_long_as_readiness_waits_for_the_broker(file: Path) -> None:
    assert int(values(file, "TimeoutStartSec")[0]) > 2 * READY_SECONDS


@pytest.mark.parametrize("file", [SERVICE, QUADLET])
def test_the_stop_may_take_as_long_as_the_agent_grants_itself(file: Path) -> None:
    assert int(values(file, "TimeoutStopSec")[0]) > GRACES * Settings().stop_grace + 10


def test_the_watchdog_is_fed_far_more_often_than_it_bites() -> None:
    assert int(values(SERVICE, "WatchdogSec")[0]) > 10 * LOOK_SECONDS


@pytest.mark.parametrize("file", [SERVICE, QUADLET])
def test_only_wrong_settings_are_not_tried_again(file: Path) -> None:
    assert values(file, "Restart") == ["always"]
    assert values(file, "RestartPreventExitStatus") == [str(EXIT_SETTINGS)]


@pytest.mark.parametrize("file", [SERVICE, QUADLET])
def test_libvirt_is_no_condition(file: Path) -> None:
    assert "libvirtd.service" in values(file, "After")[0]
    assert not [key for key in ("Requires", "BindsTo", "Requisite", "PartOf") if values(file, key)]
    assert values(file, "Wants") == ["network-online.target"]


def test_systemd_is_told_by_the_agent_itself() -> None:
    assert (values(SERVICE, "Type"), values(QUADLET, "Notify")) == (["notify"], ["true"])


def test_the_program_is_where_the_documentation_installs_it() -> None:
    folder = values(SERVICE, "ExecStart")[0].split()[0].removesuffix("/bin/libvirt-amqp")
    assert f"{folder}/bin/pip install" in (DOCKER.parent / "docs" / "operations.md").read_text()


def test_a_container_is_killed_for_hanging_and_not_for_its_broker() -> None:
    assert values(QUADLET, "HealthCmd") == ["libvirt-amqp ping --local"]
    assert "/run/libvirt:/run/libvirt:ro" in values(QUADLET, "Volume")
