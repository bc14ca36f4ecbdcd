"""An agent whose libvirt announces something all the time.  Its settings are in the environment, PAUSE in seconds too.

A process of its own, because it is there to be killed, and the test driver lives in the process that opened it.
"""

import asyncio
import os
import signal
import threading
import time

import libvirt

from app import logs, service
from app.hypervisor import event_loop
from app.settings import load


def announce(pause: float, stop: threading.Event) -> None:
    event_loop.start()
    connection = libvirt.open("test:///default")
    domain = connection.lookupByName("test")
    while not stop.is_set():
        domain.suspend()
        domain.resume()
        time.sleep(pause)


async def main() -> None:
    logs.configure("json", "info")
    stop, told = threading.Event(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    async with service.running(load()):
        thread = threading.Thread(target=announce, args=(float(os.environ["PAUSE"]), stop))
        thread.start()
        await told.wait()
        stop.set()
        await asyncio.to_thread(thread.join)


if __name__ == "__main__":
    asyncio.run(main())
