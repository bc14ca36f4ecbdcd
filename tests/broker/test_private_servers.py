"""The servers that tests are made with leave nothing behind, whatever happens to them."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from brokers import KINDS, Broker
from conftest import eventually
from private_process import ServerFailed

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def test_a_closed_node_leaves_no_process_and_no_folder(broker_kind: str) -> None:
    broker = KINDS[broker_kind]()
    broker.start()
    assert broker.processes()
    broker.close()
    assert not broker.processes()
    assert not broker._path.exists()


def test_a_frozen_node_can_be_closed(own_broker: Broker) -> None:
    own_broker.freeze()
    own_broker.close()
    assert not own_broker.processes()
    assert not own_broker._path.exists()


def test_a_node_that_does_not_start_says_why_and_leaves_nothing(broker_kind: str) -> None:
    broker = KINDS[broker_kind]()
    configuration = {"rabbitmq": "rabbitmq.conf", "rabbitmq4": "rabbitmq.conf", "brokerj": "initial.json"}[broker_kind]
    (broker._path / configuration).write_text("this is no configuration\n")
    with pytest.raises(ServerFailed, match=f"{broker.name} did not start"):
        broker.start()
    assert not broker.processes()
    assert not broker._path.exists()


async def test_an_interrupt_during_the_start_leaves_nothing(broker_kind: str, tmp_path: Path) -> None:
    program = f"""import sys
sys.path[:0] = [{str(SCRIPTS)!r}, {str(SCRIPTS.parent)!r}, {str(SCRIPTS.parent / "tests")!r}]
from brokers import KINDS
with KINDS[{broker_kind!r}](): pass"""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    await eventually(lambda: list(tmp_path.glob("*/output")))
    process.send_signal(signal.SIGINT)
    await process.wait()
    await eventually(lambda: not list(tmp_path.iterdir()))
