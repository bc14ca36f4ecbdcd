"""Rounds over domains of libvirt's test driver whose listing does not come."""

import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import libvirt
import pytest
from conftest import eventually
from listings import XML, SlowToList

from app.hypervisor import POLLING, Hypervisor
from app.pollers.figures import Five
from libvirt_amqp import catalogue

NAMES = [f"unlisted-{number}" for number in range(4)]
FIVE = Five(catalogue.load())


@pytest.fixture
async def hypervisor() -> AsyncIterator[Hypervisor]:
    hypervisor = Hypervisor("test:///default", read_only=False)
    yield hypervisor
    await hypervisor.close()


@pytest.fixture
def beside(hypervisor: Hypervisor) -> Iterator[libvirt.virConnect]:
    connection = libvirt.open(hypervisor.uri)
    yield connection
    for domain in connection.listAllDomains():
        if domain.name().startswith("unlisted-"):
            domain.destroy()


@pytest.fixture
def domains(beside: libvirt.virConnect) -> dict[str, str]:
    """Return name -> uuid of running domains."""
    return {name: start(beside, name) for name in NAMES}


def start(connection: libvirt.virConnect, name: str) -> str:
    its = str(uuid.uuid4())
    connection.createXML(XML.format(name, its))
    return its


def walk_of(hypervisor: Hypervisor) -> SlowToList:
    return SlowToList(hypervisor, "h1", POLLING, FIVE.source())


async def test_when_the_listing_hangs_whom_the_last_one_named_are_read_all_the_same(
    hypervisor: Hypervisor, domains: dict[str, str]
) -> None:
    walk = walk_of(hypervisor)
    await walk.round(0.2, 10)
    with walk.hanging():
        for _ in range(3):
            done = await walk.round(0.2, 10)
            assert set(domains.values()) <= done.answers.keys()
            assert done.unread == set()
            assert done.host, "the host is asked as well"
            assert not done.is_listed, "who has started since is missing"


async def test_the_listing_is_not_tried_again_while_a_worker_is_stuck_in_it(
    hypervisor: Hypervisor, domains: dict[str, str]
) -> None:
    walk = walk_of(hypervisor)
    await walk.round(0.2, 10)
    with walk.hanging():
        for _ in range(3):
            await walk.round(0.2, 10)
        assert walk.listings == 2
        assert len(walk._stuck) == 1
    await eventually(lambda: not walk._stuck)
    assert (await walk.round(0.2, 10)).is_listed
    assert domains


@pytest.mark.usefixtures("domains")
async def test_a_listing_that_hangs_is_waited_for_no_longer_than_a_domain(hypervisor: Hypervisor) -> None:
    walk = walk_of(hypervisor)
    await walk.round(0.2, 10)
    with walk.hanging():
        begun = time.monotonic()
        done = await walk.round(0.2, 10)
        took = time.monotonic() - begun
    assert took < 2
    assert took > done.waited > 0.2, "which is not time that was worked"


async def test_who_ended_meanwhile_is_gone_and_not_late(
    hypervisor: Hypervisor, beside: libvirt.virConnect, domains: dict[str, str]
) -> None:
    walk = walk_of(hypervisor)
    await walk.round(0.2, 10)
    with walk.hanging():
        beside.lookupByName(NAMES[1]).destroy()
        done = await walk.round(0.2, 10)
        assert (done.gone, done.unread) == ({domains[NAMES[1]]}, set())
        assert domains[NAMES[1]] not in (await walk.round(0.2, 10)).listed


async def test_one_that_stays_defined_when_it_ends_is_gone_too(
    hypervisor: Hypervisor, beside: libvirt.virConnect, domains: dict[str, str]
) -> None:
    kept = beside.defineXML(XML.format("unlisted-kept", uuid.uuid4()))
    kept.create()
    walk = walk_of(hypervisor)
    await walk.round(0.2, 10)
    try:
        with walk.hanging():
            kept.destroy()
            assert (await walk.round(0.2, 10)).gone == {kept.UUIDString()}
    finally:
        kept.undefine()
    assert domains


async def test_who_started_meanwhile_is_read_when_the_listing_has_come(
    hypervisor: Hypervisor, beside: libvirt.virConnect, domains: dict[str, str]
) -> None:
    walk = walk_of(hypervisor)
    await walk.round(0.2, 10)
    with walk.hanging():
        await walk.round(0.2, 10)
        new = start(beside, "unlisted-new")
        assert new not in (await walk.round(0.2, 10)).answers
    await eventually(lambda: not walk._stuck)
    with walk.hanging():
        assert new in (await walk.round(0.2, 10)).answers, "a late listing counts as one"
    assert domains


async def test_before_the_first_listing_nobody_is_known_and_the_host_is_asked(hypervisor: Hypervisor) -> None:
    walk = walk_of(hypervisor)
    with walk.hanging():
        for _ in range(2):
            done = await walk.round(0.2, 0.5)
            assert (done.is_listed, done.listed, done.answers) == (False, {}, {})
            assert done.host


@pytest.mark.usefixtures("domains")
async def test_a_libvirt_that_always_takes_long_to_list_is_given_the_time(hypervisor: Hypervisor) -> None:
    walk = walk_of(hypervisor)
    walk.seconds = 0.5
    for _ in range(2):
        assert (await walk.round(0.2, 10)).is_listed


async def test_one_that_hangs_beside_a_listing_that_does_holds_up_only_its_own_figures(
    hypervisor: Hypervisor, domains: dict[str, str]
) -> None:
    walk = walk_of(hypervisor)
    await walk.round(0.2, 10)
    with walk.hanging():
        free = walk._free

        def one(connection: libvirt.virConnect, domain: libvirt.virDomain) -> Any:
            if domain.name() == NAMES[0]:
                free.wait(20)
            return FIVE.source().one(connection, domain)

        walk._source = FIVE.source()._replace(one=one)
        for _ in range(3):
            assert (await walk.round(0.2, 10)).unread == {domains[NAMES[0]]}
        assert len(walk._stuck) == 2


async def test_a_libvirt_that_answers_nothing_at_all_takes_no_more_workers_than_there_are(
    hypervisor: Hypervisor, domains: dict[str, str]
) -> None:
    walk = walk_of(hypervisor)
    await walk.round(0.2, 10)
    with walk.hanging():
        free = walk._free

        def one(connection: libvirt.virConnect, domain: libvirt.virDomain) -> Any:
            free.wait(20)
            return FIVE.source().one(connection, domain)

        walk._source = FIVE.source()._replace(one=one)
        for _ in range(3):
            done = await walk.round(0.2, 10)
            assert set(domains.values()) <= done.unread
        assert walk.is_hung
    await eventually(lambda: not walk._stuck)
    assert (await walk.round(0.2, 10)).unread == set()


@pytest.mark.usefixtures("domains")
async def test_a_round_lists_once_however_many_hang_in_it(hypervisor: Hypervisor) -> None:
    free = threading.Event()

    def one(connection: libvirt.virConnect, domain: libvirt.virDomain) -> Any:
        if domain.name() in NAMES[:2]:
            free.wait(20)
        return FIVE.source().one(connection, domain)

    walk = SlowToList(hypervisor, "h1", POLLING, FIVE.source()._replace(one=one))
    try:
        done = await walk.round(0.2, 10)
        assert (len(done.left), walk.listings) == (2, 1)
    finally:
        free.set()
