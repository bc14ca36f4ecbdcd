"""What the image is."""

import pytest

from containers.conftest import IMAGE, REVISION, docker, inspect
from libvirt_amqp import __version__

GOAL_BYTES = 170_000_000

pytestmark = pytest.mark.usefixtures("images")


def test_the_image_is_small() -> None:
    assert inspect(IMAGE)["Size"] < GOAL_BYTES


def test_the_image_runs_as_nobody_special_and_is_told_to_stop_by_sigterm() -> None:
    config = inspect(IMAGE)["Config"]
    assert config["User"] == "10001:10001"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"] == ["CMD", "libvirt-amqp", "ping"]
    assert config["Labels"]["org.opencontainers.image.title"] == "libvirt-amqp"
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert config["Labels"]["org.opencontainers.image.revision"] == REVISION


def test_nothing_is_compiled_at_a_start() -> None:
    """The root file system is read-only: what had no bytecode would be compiled at every health check."""
    program = (
        "import pathlib, sys; root = pathlib.Path(sys.prefix); "
        "print([str(f) for f in root.rglob('*.py') if not list(f.parent.glob(f'__pycache__/{f.stem}.*.pyc'))])"
    )
    arguments = ("--rm", "--read-only", "--entrypoint", "/opt/libvirt-amqp/bin/python", IMAGE, "-c", program)
    assert docker("run", *arguments).strip() == "[]"


def test_it_runs_as_any_user_with_nothing_but_its_volume() -> None:
    arguments = ("--rm", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--user=54321:54321")
    say = "libvirt-amqp serve & sleep 3; libvirt-amqp ping --local"
    environment = ("-e", "LIBVIRT_AMQP_URI=test:///default", "-e", "LIBVIRT_AMQP_HOST=h1")
    said = docker("run", *arguments, *environment, "--entrypoint=sh", IMAGE, "-c", say)
    assert "h1 is alive" in said
    assert "libvirt connected" in said
