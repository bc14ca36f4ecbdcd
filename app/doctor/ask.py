"""Opens libvirt in a process of its own, which can be killed when libvirtd hangs: a call of libvirt cannot be.

`python -m app.doctor.ask MODE [URI]` is that process; it prints one line of JSON.
"""

import asyncio
import json
import os
import sys
from dataclasses import dataclass, replace

import libvirt

from app.hypervisor import DaemonClock

SECONDS = 8.0
"""A libvirtd that has just been started by its socket answers within three."""


@dataclass(frozen=True)
class Answer:
    """What opening libvirt came to: `error` is libvirt's own message, None when it opened."""

    uri: str | None
    error: str | None = None
    hostname: str | None = None
    version: int | None = None
    daemon: int | None = None
    """The daemon's process, where it is one that is seen from here."""
    timed_out: bool = False


async def ask(uri: str | None, *, read_only: bool, seconds: float = SECONDS) -> Answer:
    """Open libvirt as the agent would, and close it again; no session's libvirtd is started for that."""
    mode = "read-only" if read_only else "read-write"
    # -P: a folder named app in the current one is none of ours.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "app.doctor.ask", mode, *([] if uri is None else [uri])),
        env=os.environ | {"LIBVIRT_AUTOSTART": "0"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds):
            said, complaint = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return Answer(uri, f"no answer within {seconds:g} s", timed_out=True)
    try:
        return replace(Answer(uri), **json.loads(said))
    except ValueError:
        return Answer(uri, complaint.decode(errors="replace").strip() or f"exit code {process.returncode}")


def _open(mode: str, uri: str | None) -> dict[str, object]:
    libvirt.registerErrorHandler(lambda _opaque, _error: None, None)
    try:
        connection = libvirt.openReadOnly(uri) if mode == "read-only" else libvirt.open(uri)
        daemon = DaemonClock()
        daemon.find()
        return {
            "uri": connection.getURI(),
            "hostname": connection.getHostname(),
            "version": connection.getLibVersion(),
            "daemon": daemon.pid,
        }
    except libvirt.libvirtError as error:
        return {"error": str(error)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_open(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)))  # noqa: PLR2004
