"""docs/operations.md as something that runs: its commands, on a broker of the test's own."""

import os
import re
import shlex
import subprocess
from pathlib import Path

from private_rabbitmq import BIN, PrivateRabbitMQ

PAGE = Path(__file__).resolve().parents[1] / "docs" / "operations.md"


def section(heading: str) -> str:
    """Return the text under a heading."""
    text = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert text, f"no section {heading!r} in {PAGE.name}"
    return text


def blocks(heading: str, language: str) -> list[str]:
    """Return the fenced blocks of a language under a heading."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", section(heading), re.MULTILINE | re.DOTALL)
    assert found, f"no {language} under {heading!r} in {PAGE.name}"
    return found


def run_as_written(script: str, broker: PrivateRabbitMQ, folder: Path) -> None:
    """Run shell commands of the page; `rabbitmqctl` is that broker's."""
    environment = broker._environment()
    words = [shlex.quote(f"{name}={value}") for name, value in environment.items()]
    command = folder / "rabbitmqctl"
    command.write_text(f'#!/bin/sh\nexec env {" ".join(words)} {BIN}/rabbitmqctl "$@"\n')
    command.chmod(0o755)
    path = f"{folder}:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-eu"], input=script, cwd=folder, env={"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
