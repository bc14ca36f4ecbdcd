"""`libvirt-amqp doctor` as an operator runs it, and what it says."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from namespaces import has_users

COMMAND = Path(sys.executable).parent / "libvirt-amqp"

STRANGER = (
    ["unshare", "--user", "--map-user=10001", "--map-group=10001"]
    if has_users()
    else ["setpriv", "--reuid=10001", "--regid=10001", "--clear-groups"]
)
"""Runs a command as somebody without a name, who is root nowhere."""


class Found(NamedTuple):
    status: str
    text: str
    mend: str | None


class Examined(NamedTuple):
    """By name of the check; `wrong` are those that are."""

    code: int
    found: dict[str, Found]

    @property
    def wrong(self) -> set[str]:
        return {check for check, found in self.found.items() if found.status == "wrong"}


async def examine(*prefix: str, listen: float = 0.1, **settings: str) -> Examined:
    """Run the doctor with these settings over the environment's; `prefix` is a command that runs it."""
    environment = os.environ | {f"LIBVIRT_AMQP_{name}": value for name, value in settings.items()}
    command = (*prefix, str(COMMAND), "doctor", "--json", "--listen", str(listen))
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in {0, 1}, done.stderr
    rows = json.loads(done.stdout)
    assert all((row["status"] == "ok") <= (row["mend"] is None) for row in rows), rows
    return Examined(done.returncode, {row.pop("check"): Found(**row) for row in rows})
