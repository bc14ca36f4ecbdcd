"""Rounds over domains of libvirt's test driver, some of which do not answer: the wait is the test's, not libvirt's."""

import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import libvirt
import pytest
from conftest import eventually
from structlog.testing import capture_logs

from app.hypervisor import POLLING, TRIAL, DaemonClock, Hypervisor, identity
from app.pollers.figures import Five
from app.pollers.trial import compare
from app.pollers.walk import Source, Walk
from libvirt_amqp import catalogue

NAMES = [f"walked-{number}" for number in range(6)]
FIVE = Five(catalogue.load())
XML = "<domain type='test'><name>{}</name><uuid>{}</uuid><memory>1024</memory><os><type>hvm</type></os></domain>"


@pytest.fixture
async def hypervisor() -> AsyncIterator[Hypervisor]:
    hypervisor = Hypervisor("test:///default", read_only=False)
    yield hypervisor
    await hypervisor.close()


@pytest.fixture
def domains(hypervisor: Hypervisor) -> Iterator[dict[str, str]]:
    """Yield name -> uuid of running domains."""
    connection = libvirt.open(hypervisor.uri)
    uuids = {name: str(uuid.uuid4()) for name in NAMES}
    for name, its in uuids.items():
        connection.createXML(XML.format(name, its))
    yield uuids
    for domain in connection.listAllDomains():
        if domain.name() in NAMES:
            domain.destroy()


class Hanging:
    """Asks as the agent does, but waits at the domains that hang until they are released."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)
        self.release = threading.Event()
        self.asked: list[str] = []

    def source(self) -> Source:
        def one(connection: libvirt.virConnect, domain: libvirt.virDomain) -> Any:
            self.asked.append(domain.name())
            if domain.name() in self.names:
                self.release.wait(20)
            return FIVE.source().one(connection, domain)

        return FIVE.source()._replace(one=one, bulk=self._bulk)

    def _bulk(self, connection: libvirt.virConnect) -> Any:
        self.release.wait(20)
        return FIVE.source().bulk(connection)


async def test_one_that_hangs_holds_up_only_its_own_figures(hypervisor: Hypervisor, domains: dict[str, str]) -> None:
    hanging = Hanging(NAMES[2])
    walk = Walk(hypervisor, "h1", POLLING, hanging.source())
    try:
        done = await walk.round(0.2, 10)
        assert done.unread == {domains[NAMES[2]]}
        assert done.host
        assert {domains[name] for name in NAMES} - done.unread <= done.answers.keys()
    finally:
        hanging.release.set()


async def test_one_that_hangs_is_not_asked_again_until_its_call_has_come_back(
    hypervisor: Hypervisor, domains: dict[str, str]
) -> None:
    hanging = Hanging(NAMES[2])
    walk = Walk(hypervisor, "h1", POLLING, hanging.source())
    for _ in range(3):
        assert (await walk.round(0.2, 10)).unread == {domains[NAMES[2]]}
    assert hanging.asked.count(NAMES[2]) == 1
    assert hanging.asked.count(NAMES[5]) == 3
    hanging.release.set()
    await eventually(lambda: not walk._stuck)
    done = await walk.round(0.2, 10)
    assert done.unread == set()
    assert domains[NAMES[2]] in done.answers


async def test_the_last_worker_asks_nobody_who_did_not_answer(hypervisor: Hypervisor, domains: dict[str, str]) -> None:
    hanging = Hanging()
    walk = Walk(hypervisor, "h1", POLLING, hanging.source())
    await walk.round(0.2, 10)
    hanging.names = set(NAMES[:3])
    try:
        assert (await walk.round(0.2, 10)).unread == {domains[name] for name in NAMES[:3]}
        connection = libvirt.open(hypervisor.uri)
        connection.lookupByName(NAMES[5]).destroy()
        done = await walk.round(0.2, 10)
        assert done.unread == {domains[name] for name in NAMES[:3]}
        assert len(walk._stuck) == hypervisor.size(POLLING) - 1
    finally:
        hanging.release.set()


@pytest.mark.usefixtures("domains")
async def test_when_all_workers_are_stuck_nobody_waits_for_them(hypervisor: Hypervisor) -> None:
    hanging = Hanging(*NAMES)
    walk = Walk(hypervisor, "h1", POLLING, hanging.source())
    try:
        await walk.round(0.2, 10)
        assert walk.is_hung
        assert not (await walk.round(0.2, 10)).is_listed
    finally:
        hanging.release.set()
    await eventually(lambda: not walk._stuck)
    assert (await walk.round(0.2, 10)).unread == set()


async def test_when_one_of_all_workers_comes_back_everybody_else_is_read_again(
    hypervisor: Hypervisor, domains: dict[str, str]
) -> None:
    first, others = Hanging(NAMES[0]), Hanging(*NAMES[1:4])
    source = others.source()

    def one(connection: libvirt.virConnect, domain: libvirt.virDomain) -> Any:
        return (first if domain.name() in first.names else others).source().one(connection, domain)

    walk = Walk(hypervisor, "h1", POLLING, source._replace(one=one))
    try:
        await walk.round(0.2, 10)
        assert walk.is_hung
        await walk.round(0.2, 10)
        first.release.set()
        await eventually(lambda: not walk.is_hung)
        for _ in range(2):
            done = await walk.round(0.2, 10)
            assert done.unread == {domains[name] for name in NAMES[1:4]}
    finally:
        first.release.set()
        others.release.set()


@pytest.mark.usefixtures("domains")
async def test_one_that_has_just_appeared_is_asked_by_the_last_worker_too(hypervisor: Hypervisor) -> None:
    hanging = Hanging(*NAMES[:3])
    walk = Walk(hypervisor, "h1", POLLING, hanging.source())
    try:
        await walk.round(0.2, 10)
        connection = libvirt.open(hypervisor.uri)
        new = connection.createXML(XML.format("walked-new", uuid.uuid4()))
        done = await walk.round(0.2, 10)
        new.destroy()
        assert "walked-new" in {answer.object["name"] for answer in done.answers.values()}
    finally:
        hanging.release.set()


async def test_a_bulk_call_that_hangs_is_given_up_for_one_by_one_in_the_same_round(
    hypervisor: Hypervisor, domains: dict[str, str]
) -> None:
    hanging = Hanging()
    walk = Walk(hypervisor, "h1", POLLING, hanging.source())
    try:
        done = await walk.round(0.2, 10, at_once=0.2)
        assert set(domains.values()) <= done.answers.keys()
        assert {answer.call for answer in done.answers.values()} == {"virDomainGetInfo"}
    finally:
        hanging.release.set()


async def test_one_that_vanishes_in_the_middle_of_a_round_is_no_gap_and_no_line(
    hypervisor: Hypervisor, domains: dict[str, str]
) -> None:
    connection = libvirt.open(hypervisor.uri)
    asked: list[str] = []

    def one(worker: libvirt.virConnect, domain: libvirt.virDomain) -> Any:
        if not asked:
            for other in NAMES:
                if other != domain.name():
                    connection.lookupByName(other).destroy()
                    asked.append(other)
                    break
        return FIVE.source().one(worker, domain)

    walk = Walk(hypervisor, "h1", POLLING, FIVE.source()._replace(one=one))
    with capture_logs() as lines:
        done = await walk.round(1, 10)
    vanished = domains[asked[0]]
    assert vanished in done.listed
    assert vanished in done.gone
    assert vanished not in done.unread
    assert done.unread == set()
    assert lines == []


async def test_a_driver_without_the_bulk_groups_is_asked_one_by_one(
    hypervisor: Hypervisor, domains: dict[str, str]
) -> None:
    found = await hypervisor.call(compare_without_daemon, TRIAL)
    assert (found.domains > 0, found.bulk, found.is_for_bulk) == (True, None, False)
    assert domains


def compare_without_daemon(connection: libvirt.virConnect) -> Any:

    return compare(connection, DaemonClock())


async def test_a_round_holds_nothing_of_libvirts(hypervisor: Hypervisor, domains: dict[str, str]) -> None:
    done = await Walk(hypervisor, "h1", POLLING, FIVE.source()).round(1, 10)
    one = done.answers[domains[NAMES[0]]]
    expected = libvirt.open(hypervisor.uri).lookupByName(NAMES[0])
    assert one.object == identity(expected, "h1")
    assert isinstance(one.figures["cpuTime"], int)
