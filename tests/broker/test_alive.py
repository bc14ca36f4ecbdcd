"""`ping --local`: what kills an agent that hangs must not kill one whose broker is away."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import eventually
from private_rabbitmq import free_port
from test_processes import COMMAND, Process

from libvirt_amqp.local import NotAlive, ask_alive


@pytest.fixture
def agents() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for agent in started:
        agent.close()


async def ping(state: Path, *arguments: str, **more: str) -> tuple[int, str]:
    """Run the command as a health check does; return its exit code and what it said."""
    environment = os.environ | {"LIBVIRT_AMQP_STATE_DIR": str(state)} | more
    command = (COMMAND, "ping", *arguments)
    done = await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout + done.stderr


async def test_an_agent_without_a_broker_is_alive_and_not_ready(tmp_path: Path, agents: list[Process]) -> None:
    nobody = f"amqp://127.0.0.1:{free_port()}/"
    agents.append(Process(tmp_path, nobody))
    await eventually((tmp_path / "alive.sock").exists)
    code, said = await ping(tmp_path, "--local")
    assert (code, "p1 is alive" in said, "BROKER NOT CONNECTED" in said) == (0, True, True), said
    assert (await ping(tmp_path, "p1", LIBVIRT_AMQP_BROKER_URL=nobody))[0] == 3


async def test_an_agent_that_hangs_is_not_alive_and_one_that_goes_on_is(
    broker_url: str, tmp_path: Path, agents: list[Process]
) -> None:
    agents.append(Process(tmp_path, broker_url))
    await eventually((tmp_path / "alive.sock").exists)
    agents[0].signal(signal.SIGSTOP)
    code, said = await ping(tmp_path, "--local", "--timeout", "0.5")
    assert (code, "did not answer within 0.5 s" in said) == (4, True), said
    agents[0].signal(signal.SIGCONT)
    assert (await ping(tmp_path, "--local"))[0] == 0


async def test_the_run_after_a_kill_is_found_where_the_former_one_was(
    broker_url: str, tmp_path: Path, agents: list[Process]
) -> None:
    agents.append(Process(tmp_path, broker_url))
    await eventually((tmp_path / "alive.sock").exists)
    agents[0].signal(signal.SIGKILL)
    await agents[0].exit_code()
    assert (await ping(tmp_path, "--local"))[0] == 4
    agents.append(Process(tmp_path, broker_url))

    async def is_alive() -> bool:
        return (await ping(tmp_path, "--local"))[0] == 0

    await eventually(is_alive)
    agents[1].signal(signal.SIGTERM)
    await agents[1].exit_code()
    assert not (tmp_path / "alive.sock").exists()


async def test_without_a_place_for_its_state_it_is_found_elsewhere(
    broker_url: str, tmp_path: Path, agents: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    place = tmp_path / "file"
    place.write_text("")
    agents.append(Process(tmp_path, broker_url, STATE_DIR=str(place)))
    await eventually((tmp_path / "libvirt-amqp" / "alive.sock").exists)
    assert (await ping(place, "--local"))[0] == 0


async def test_a_local_ping_takes_no_host(tmp_path: Path) -> None:
    code, said = await ping(tmp_path, "--local", "p1")
    assert (code, "name no host" in said) == (2, True), said


def test_another_users_folder_is_no_sign_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The place that is tried last is guessed, in a folder where everybody may write."""
    somebody = 65534 if os.getuid() == 0 else os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    guessed = tmp_path / "libvirt-amqp-4242"
    guessed.mkdir()
    os.chown(guessed, somebody, -1)
    with socket.socket(socket.AF_UNIX) as trap:
        trap.bind(str(guessed / "alive.sock"))
        trap.listen()
        with pytest.raises(NotAlive, match="another user's"):
            ask_alive([tmp_path / "nothing"], 1)
