import asyncio

import libvirt
import pytest
from conftest import hearing
from events.recipes import RECIPES
from events.run import SECONDS, TYPES, WITHOUT_NAMES, Run, check_event
from events.table import FILE, page, table, write_if_wanted
from sweep.hosts import every_host

from app.events.kinds import kinds
from libvirt_amqp.catalogue import load
from libvirt_amqp.client import connect
from libvirt_amqp.messages import TYPE_PREFIX

LIFECYCLES = {
    "network": "VIR_NETWORK_EVENT_",
    "storage-pool": "VIR_STORAGE_POOL_EVENT_",
    "node-device": "VIR_NODE_DEVICE_EVENT_",
    "secret": "VIR_SECRET_EVENT_",
}
NOT_EVERYWHERE = {
    "VIR_DOMAIN_EVENT_DEFINED_FROM_SNAPSHOT": "a snapshot of a guest that is not defined, whose libvirt would fail",
}


@pytest.fixture(scope="module")
def run(broker_url: str) -> Run:
    """Follow all recipes, once, and return what came of it."""

    async def follow() -> Run:
        async with (
            every_host(broker_url) as hosts,
            connect(broker_url, "test: events") as client,
            hearing(broker_url) as heard,
        ):
            run = Run(client, heard)
            await run.follow([recipe(run, hosts) for recipe in RECIPES])
            return run

    done = asyncio.run(follow())
    print(table(done))  # noqa: T201 (seen with pytest -s)
    write_if_wanted(done)
    return done


def test_every_recipe_provokes_what_it_is_for(run: Run) -> None:
    assert not run.wrong, "\n".join(run.wrong)


@pytest.mark.parametrize("kind", TYPES)
def test_every_id_is_seen_by_a_subscriber(run: Run, kind: str) -> None:
    assert run.seen[kind]
