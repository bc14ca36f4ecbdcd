"""A container engine, the images under the names of the official ones, and compose.yaml as users type it."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from private_rabbitmq import free_port

ROOT = Path(__file__).parents[2]
ENGINE_SECONDS = 30
NOT_RUN = "THE CONTAINERS WERE NOT RUN: no container engine: "
NOT_RUN_CODE = 77
"""Distinct from a failure; automake's code for a test that was not run."""
TAG = os.environ.setdefault("IMAGE_TAG", "tests")
"""Of the images under test, so that whoever uses `latest` here keeps it; compose.yaml reads it too."""
IMAGE = f"libvirt-amqp:{TAG}"
HYPERVISOR = f"libvirt-amqp-hypervisor:{TAG}"


def docker(*arguments: str, seconds: float = 600) -> str:
    """Run Docker's client; returns what it printed."""
    return run(("docker", *arguments), seconds)


def run(command: tuple[str | Path, ...], seconds: float = 600, **environment: str) -> str:
    """Run a command in the project's folder.  Raises AssertionError with its output when it fails."""
    done = subprocess.run(
        command, check=False, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=seconds
    )
    assert done.returncode == 0, f"{command}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


def inspect(name: str) -> dict[str, Any]:
    """Return what the engine knows of a container or an image."""
    (known,) = json.loads(docker("inspect", name))
    assert isinstance(known, dict)
    return known


@pytest.fixture(scope="session")
def engine() -> Iterator[None]:
    """Use the engine that runs, or run one."""
    if subprocess.run(("docker", "info"), check=False, capture_output=True).returncode == 0:
        yield
        return
    program = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if program is None or os.geteuid() != 0:
        reason = "dockerd is not installed" if program is None else "only root can start one"
        pytest.exit(f"{NOT_RUN}{reason}", NOT_RUN_CODE)
    with _running(program):
        yield


@contextmanager
def _running(program: str) -> Iterator[None]:
    # Into a file: a pipe that nobody reads holds the engine up after 64 KiB, and a run of these tests logs more.
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(program, stdout=log, stderr=log)
        try:
            end = time.monotonic() + ENGINE_SECONDS
            while subprocess.run(("docker", "info"), check=False, capture_output=True).returncode != 0:
                if process.poll() is not None or time.monotonic() > end:
                    log.seek(0)
                    pytest.exit(f"{NOT_RUN}{log.read()[-1000:].decode(errors='replace')}", NOT_RUN_CODE)
                time.sleep(0.1)
            yield
        finally:
            process.terminate()
            process.wait(ENGINE_SECONDS)


REVISION = "of-the-tests"


@pytest.fixture(scope="session")
def images(engine: None) -> None:  # noqa: ARG001 (it has to run)
    """Have the official images, or what stands in for them, and build ours."""
    run((ROOT / "docker" / "stand-ins" / "make", "debian:trixie-slim", "rabbitmq:4-management"))
    docker("build", "-q", "-f", "docker/Dockerfile", "--build-arg", f"REVISION={REVISION}", "-t", IMAGE, ".")
    docker("build", "-q", "-t", HYPERVISOR, "docker/hypervisor")
    docker("build", "-q", "-t", f"libvirt-amqp-qpid:{TAG}", "docker/qpid")


class Compose:
    """One project of compose.yaml: `command` is what is typed before the project's name."""

    def __init__(self, name: str, command: tuple[str, ...] = ("docker-compose",), **environment: str) -> None:
        self.name = name
        self.port = free_port()
        self._command = command
        self._environment = {"AMQP_PORT": str(self.port), "QPID_PORT": str(self.port), **environment}

    @property
    def url(self) -> str:
        """The broker, from outside."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def __call__(self, *arguments: str, profile: str | None = None, seconds: float = 300) -> str:
        chosen = ("--profile", profile) if profile else ()
        return run((*self._command, "-p", self.name, *chosen, *arguments), seconds, **self._environment)

    def container(self, service: str) -> dict[str, Any]:
        """Return what the engine knows of a service's container."""
        label = "com.docker.compose"
        filters = (f"label={label}.project={self.name}", f"label={label}.service={service}")
        (number,) = docker("ps", "-aq", *(f"--filter={one}" for one in filters)).split()
        return inspect(number)

    def health(self, service: str) -> str:
        """Return what the health check says: starting, healthy, unhealthy."""
        return str(self.container(service)["State"]["Health"]["Status"])


@contextmanager
def project(name: str, profiles: tuple[str, ...] = (), **more: Any) -> Iterator[Compose]:
    """Make a project that is gone, volumes and all, when the block is left."""
    compose = Compose(f"{name}-{os.getpid()}", **more)
    try:
        yield compose
    finally:
        flags = [flag for one in profiles for flag in ("--profile", one)]
        compose(*flags, "down", "-v", "--remove-orphans", "-t", "5")
