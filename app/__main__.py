"""`libvirt-amqp serve`: read the settings, configure logging, run until a signal comes."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import structlog

from app import logs, service
from app.claim import HostTaken
from app.notify import Notifier
from app.settings import Settings, SettingsError, load

EXIT_FAULT, EXIT_SETTINGS, EXIT_TAKEN = 1, 2, 3

log = structlog.get_logger()


def main(file: Path | None = None) -> int:
    """Run an agent; returns the exit code: 0 stopped, 1 a fault of ours, 2 wrong settings, 3 the host is taken."""
    try:
        settings = load(os.environ, file)
    except SettingsError as error:
        sys.stderr.write(f"libvirt-amqp: {error}\n")
        return EXIT_SETTINGS
    logs.configure(settings.log_format, settings.log_level)
    try:
        return asyncio.run(_serve(settings))
    except HostTaken as error:
        log.error("host_taken", reason=str(error))
        return EXIT_TAKEN


async def _serve(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Notifier() as notifier, service.running(settings) as agent:
        notifier.watch(agent.sign_of_life)
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({stopped, agent.ended}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        notifier.stopping()
        if not agent.ended.done():
            return 0
        error = agent.ended.exception()
        if isinstance(error, HostTaken):
            raise error
        log.error("agent_broke", exc_info=error)
        return EXIT_FAULT


if __name__ == "__main__":
    sys.exit(main())
