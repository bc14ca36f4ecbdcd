"""The table of faults (`make faults`) is kept working by two of its rows; all of it takes half an hour."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "bench" / "faults"


@pytest.mark.only("rabbitmq", "rabbitmq4", because="the bench reads with aio-pika alone, which opens no channel there")
async def test_two_rows_of_the_fault_table_are_clean(broker_url: str) -> None:
    rows = ("--only", "connection cut", "--only", "clock stepped back")
    command = (sys.executable, PROGRAM, "--quick", "--broker", broker_url, *rows)
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(": clean") == 2, done.stdout
