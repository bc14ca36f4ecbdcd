import asyncio

from conftest import Start
from private_libvirtd import PrivateLibvirtd
from sweep.hosts import every_host
from sweep.recipes import (
    connect,
    domain_agent,
    domain_disks,
    domain_jobs,
    domain_life,
    domain_tune,
    interface,
    network,
    node_device,
    nwfilter,
    secret,
    snapshots,
    storage,
)
from sweep.sweep import Sweep, collect

from libvirt_amqp.catalogue import load
from libvirt_amqp.client import Client

ROOMS = (
    connect,
    domain_agent,
    domain_disks,
    domain_jobs,
    domain_life,
    domain_tune,
    interface,
    network,
    node_device,
    nwfilter,
    secret,
    snapshots,
    storage,
)


async def test_every_function_is_called_over_the_bus(
    client: Client, start_agent: Start, daemon: PrivateLibvirtd
) -> None:
    async with every_host(start_agent, daemon, ()) as hosts:
        sweep = Sweep(client)
        wrong: list[str] = []
        await asyncio.gather(*(collect(wrong, recipe(sweep, hosts)) for room in ROOMS for recipe in room.RECIPES))
        served = set(load().served())
        print("never", sorted(served - set(sweep.outcomes)))
        ok = {n for n, o in sweep.outcomes.items() if any(x.said == "succeeds" for x in o)}
        print("ok", len(ok))
        assert not wrong, "\n".join(wrong)
