"""Type=notify: what systemd is told by an agent that serves, whose broker is away, that hangs, and that stops."""

import asyncio
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import eventually
from private_rabbitmq import PrivateRabbitMQ, free_port
from test_processes import Process

from app.notify import READY_SECONDS


class Manager:
    """Listens as systemd does."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(0)
        self._told: list[str] = []

    def told(self) -> list[str]:
        """Return every assignment that has come so far."""
        while True:
            try:
                self._told += self._socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return self._told

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    yield manager
    manager.close()


@pytest.fixture
def agents() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for agent in started:
        agent.close()


async def test_an_agent_is_ready_when_it_serves_and_tells_when_it_stops(
    broker_url: str, tmp_path: Path, manager: Manager, agents: list[Process]
) -> None:
    agents.append(Process(tmp_path, broker_url))
    await eventually(lambda: "READY=1" in manager.told())
    await eventually(lambda: "STATUS=p1: broker connected, libvirt connected" in manager.told())
    assert "WATCHDOG=1" not in manager.told()
    agents[0].signal(signal.SIGTERM)
    assert await agents[0].exit_code() == 0
    assert "STOPPING=1" in manager.told()


async def test_readiness_does_not_wait_for_libvirt(
    broker_url: str, tmp_path: Path, manager: Manager, agents: list[Process]
) -> None:
    agents.append(Process(tmp_path, broker_url, URI=f"qemu+unix:///session?socket={tmp_path}/none"))
    await eventually(lambda: "READY=1" in manager.told())
    await eventually(lambda: "STATUS=p1: broker connected, libvirt away" in manager.told())


async def test_readiness_does_not_wait_for_a_broker_for_ever(
    tmp_path: Path, manager: Manager, agents: list[Process]
) -> None:
    agents.append(Process(tmp_path, f"amqp://127.0.0.1:{free_port()}/"))
    await eventually(lambda: "STATUS=p1: broker away, libvirt connected" in manager.told())
    assert "READY=1" not in manager.told()
    await eventually(lambda: "READY=1" in manager.told(), READY_SECONDS + 10)


async def test_an_agent_whose_host_is_taken_is_never_ready(
    broker_url: str, tmp_path: Path, manager: Manager, agents: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    agents.append(Process(tmp_path, broker_url))
    await eventually(lambda: "READY=1" in manager.told())
    second = Manager(str(tmp_path / "second"))
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "second"))
    agents.append(Process(tmp_path, broker_url, STATE_DIR=str(tmp_path / "state")))
    assert await agents[1].exit_code() == 3
    assert "READY=1" not in second.told()
    second.close()


async def test_the_watchdog_hears_of_a_loop_that_turns_and_nothing_of_one_that_hangs(
    broker_url: str, tmp_path: Path, manager: Manager, agents: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    agents.append(Process(tmp_path, broker_url))
    await eventually(lambda: manager.told().count("WATCHDOG=1") > 3)
    agents[0].signal(signal.SIGSTOP)
    await eventually(lambda: _is_stopped(agents[0].pid))
    so_far = len(manager.told())
    end = time.monotonic() + 1  # five times the span in which systemd wants to hear something
    while time.monotonic() < end:
        assert len(manager.told()) == so_far
        await asyncio.sleep(0.02)


async def test_the_watchdog_is_fed_while_the_agent_stops(
    tmp_path: Path,
    manager: Manager,
    agents: list[Process],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    with PrivateRabbitMQ() as broker:
        agents.append(Process(tmp_path, broker.url))
        await eventually(lambda: "READY=1" in manager.told())
        broker.freeze()
        agents[0].signal(signal.SIGTERM)
        await eventually(lambda: "STOPPING=1" in manager.told())
        so_far = manager.told().count("WATCHDOG=1")
        await eventually(lambda: manager.told().count("WATCHDOG=1") > so_far + 3)
        assert manager.told()[-1] == "WATCHDOG=1"


async def test_a_watchdog_that_is_meant_for_another_process_hears_nothing(
    broker_url: str, tmp_path: Path, manager: Manager, agents: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    agents.append(Process(tmp_path, broker_url))
    await eventually(lambda: "READY=1" in manager.told())
    await eventually(lambda: any(one.startswith("STATUS=p1: broker connected") for one in manager.told()))
    assert "WATCHDOG=1" not in manager.told()


async def test_an_abstract_socket_is_reached(
    broker_url: str, tmp_path: Path, agents: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"libvirt-amqp-test-{tmp_path.name}-{free_port()}"
    manager = Manager(f"\0{name}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    agents.append(Process(tmp_path, broker_url))
    await eventually(lambda: "READY=1" in manager.told())
    manager.close()


def _is_stopped(process: int) -> bool:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "T"
