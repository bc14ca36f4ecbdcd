import asyncio
import re

import pytest
from conftest import hearing
from events.recipes import RECIPES
from events.run import TYPES, Run, check_event
from events.table import FILE, NOT_HAD, page, table, write_if_wanted
from sweep.hosts import every_host

from libvirt_amqp.catalogue import load
from libvirt_amqp.client import connect
from libvirt_amqp.events import SOURCES
from libvirt_amqp.messages import TYPE_PREFIX

DETAILS = re.compile("virDomainEvent.*DetailType")
HOSTS = ("test", "qemu", "qemu2", "system")


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


def test_every_event_that_came_is_as_the_contract_says_with_the_fields_of_c_and_libvirts_names(run: Run) -> None:
    events = [m for m in run.heard.events if m.body["type"].removeprefix(TYPE_PREFIX) in TYPES]
    assert len(events) > 200
    for message in events:
        check_event(message)


def test_every_change_of_lifecycle_is_seen_but_for_those_of_which_the_reason_is_known(run: Run) -> None:
    enums = load().enums
    details = {name for enum in enums if DETAILS.fullmatch(enum) for name in enums[enum]}
    events = {name for source in SOURCES if source.cls != "domain" for name in enums[source.lifecycle]}
    assert run.changes.keys() == (details | events) - NOT_HAD.keys()


def test_events_of_one_host_are_numbered_without_a_gap_while_all_this_happens(run: Run) -> None:
    for host in HOSTS:
        numbers = [int(m.body["sequence"].partition("-")[2]) for m in run.heard.events if m.body["source"] == host]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_the_table_in_the_documentation_is_what_comes_out(run: Run) -> None:
    assert FILE.read_text() == page(run), "`make coverage` writes it anew"
