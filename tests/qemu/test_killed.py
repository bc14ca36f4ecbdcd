"""An agent that is killed, beside a libvirtd that goes on announcing: what it had not heard is in the told time."""

import asyncio
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import libvirt
from conftest import Heard, answering
from private_libvirtd import PrivateLibvirtd

from libvirt_amqp.messages import parse_time
from qemu.conftest import HOST


class Killable:
    """An agent as a process."""

    def __init__(self, url: str, uri: str, folder: Path) -> None:
        settings = {"BROKER_URL": url, "HOST": HOST, "URI": uri, "STATE_DIR": str(folder), "LOG_LEVEL": "error"}
        environment = os.environ | {f"LIBVIRT_AMQP_{name}": value for name, value in settings.items()}
        self._process = subprocess.Popen([sys.executable, "-m", "app"], env=environment)

    async def end(self, number: int) -> None:
        self._process.send_signal(number)
        await asyncio.to_thread(self._process.wait, 30)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)


def toggle(uri: str, times: int) -> list[datetime]:
    """Suspend and resume a domain; returns when each was done."""
    moments = []
    with libvirt.open(uri) as connection:
        domain = connection.lookupByName("test")
        for _ in range(times):
            for change in (domain.suspend, domain.resume):
                change()
                moments.append(datetime.now(UTC))
    return moments


def untold(heard: Heard, moments: list[datetime]) -> list[float]:
    """Return by how many seconds the told time begins after what was not received."""
    gap = next(m.body["data"] for m in heard.events if m.key.endswith(".agent.gap"))
    received = {
        m.body["id"] for m in heard.events if m.key.endswith((".suspended", ".resumed")) and "found" not in m.body
    }
    begin = parse_time(gap["from"])
    return [(begin - moment).total_seconds() for moment in moments[len(received) :] if moment < begin]


async def test_what_an_agent_that_stood_still_had_not_heard_is_in_the_told_time(
    heard: Heard, broker_url: str, fresh_daemon: PrivateLibvirtd, tmp_path: Path
) -> None:
    fresh_daemon.start()
    agent = Killable(broker_url, fresh_daemon.test_uri, tmp_path)
    try:
        await answering(broker_url, HOST)
        agent.signal(signal.SIGSTOP)
        moments = await asyncio.to_thread(toggle, fresh_daemon.test_uri, 100)
        await asyncio.sleep(3)  # it stands still, and longer than it takes to write down how far it has come
        agent.signal(signal.SIGCONT)
        await asyncio.sleep(0.02)
        await agent.end(signal.SIGKILL)
        agent = Killable(broker_url, fresh_daemon.test_uri, tmp_path)
        await heard.of_type("agent.gap")
        assert untold(heard, moments) == []
    finally:
        await agent.end(signal.SIGKILL)
