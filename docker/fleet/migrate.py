"""A live migration over the bus: a guest starts on one host of compose.yaml's fleet and moves to the other."""

import asyncio
import os

from libvirt_amqp.client import Client, connect
from libvirt_amqp.errors import CallError, NoAnswer, Unroutable
from libvirt_amqp.keys import EVENTS, Address

URL = os.environ["LIBVIRT_AMQP_BROKER_URL"]
SOURCE, TARGET = "hypervisor1", "hypervisor2"
GUEST = """<domain type='qemu'>
  <name>traveller</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices><memballoon model='none'/></devices>
</domain>"""
LIVE_AND_PEER_TO_PEER = 1 | 2
"""VIR_MIGRATE_LIVE, VIR_MIGRATE_PEER2PEER."""


async def ready(client: Client, host: str) -> None:
    """Wait until the host's agent answers and has its libvirt."""
    while True:
        try:
            if (await client.call(Address(host, "agent"), "ping", timeout=5))["libvirt"]["connected"]:
                return
        except (CallError, Unroutable, NoAnswer):
            pass
        await asyncio.sleep(0.5)


async def show_events(client: Client) -> None:
    """Print what happens to the guest until it has been stopped on the target."""
    async for message in client.subscribe({EVENTS: ["*.domain.*.lifecycle.*"]}):
        print("event", message.key, message.body["data"]["names"]["detail"], flush=True)
        if message.key.startswith(f"{TARGET}.") and message.key.endswith(".stopped"):
            return


async def main() -> None:
    """Start, migrate, end."""
    async with connect(URL, "fleet: migrate") as client:
        await asyncio.gather(ready(client, SOURCE), ready(client, TARGET))
        events = asyncio.create_task(show_events(client))
        guest = await client.call(Address(SOURCE, "connect"), "virDomainCreateXML", {"xmlDesc": GUEST, "flags": 0})
        print("started", guest["name"], "on", SOURCE, flush=True)
        where = {"dconnuri": f"qemu+tcp://{TARGET}/system", "params": {}, "flags": LIVE_AND_PEER_TO_PEER}
        await client.call(Address.of(guest), "virDomainMigrateToURI3", where, timeout=120)
        there = Address(TARGET, "domain", (guest["uuid"],))
        state = await client.call(there, "virDomainGetState")
        print("migrated to", TARGET, state, flush=True)
        await client.call(there, "virDomainDestroy")
        await asyncio.wait_for(events, 10)


if __name__ == "__main__":
    asyncio.run(main())
