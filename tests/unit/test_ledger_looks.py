import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import libvirt
import orjson
import pytest
from conftest import TEST_UUID, eventually
from rows import Rows

from app.events.compare import Comparison
from app.events.ledger import PAUSED, Ledger, State
from app.events.listing import Listing, is_starting
from app.events.stream import Stream
from app.hypervisor import POLLING, Hypervisor
from app.outgoing import Event
from app.pollers.figures import Five
from app.pollers.walk import Walk
from libvirt_amqp import catalogue

API = catalogue.load()
XML = "<domain type='test'><name>{}</name><memory>65536</memory><os><type>hvm</type></os></domain>"
WEB = {"class": "domain", "host": "h1", "uuid": TEST_UUID, "name": "web", "id": 1}
SUBJECT = f"domain/{TEST_UUID}"


class Host:
    """A stream on libvirt's test driver, without a broker; `deaf`: types that it does not register for."""

    def __init__(self, rows: Rows, deaf: tuple[str, ...] = ()) -> None:
        self.published: list[dict[str, Any]] = []
        self.rows = rows
        self.hypervisor = Hypervisor("test:///default", read_only=False)
        self.stream = Stream("h1", 1, API, self._publish, rows)
        self.kinds = {kind.type: kind for kind in self.stream._kinds}
        self.stream._kinds = [kind for kind in self.stream._kinds if kind.type not in deaf]

    def _publish(self, event: Event) -> None:
        self.published.append({**orjson.loads(event.body), "word": event.key.rpartition(".")[2]})

    async def watch(self) -> None:
        self.hypervisor.watch(
            self.stream.register,
            self.stream.look,
            lambda _: self.stream.libvirt_found({}),
            lambda loss: self.stream.libvirt_lost(loss.reason, loss.since),
        )
        await eventually(lambda: self.stream._comparison._is_ready)

    async def round(self) -> None:
        done = await Walk(self.hypervisor, "h1", POLLING, Five(API).source()).round(patience=5, limit=5)
        states = [(answer.object, answer.figures["state"]) for answer in done.answers.values()]
        self.stream.domains_seen(states, done.unread)

    def words(self, *, found: bool = True) -> list[str]:
        return [e["word"] for e in self.published if e.get("found", False) is found and "lifecycle" in e["type"]]

    async def found(self, *words: str) -> None:
        """Run rounds until the difference has been told."""

        async def told() -> bool:
            await self.round()
            return self.words() == list(words)

        await eventually(told)


Make = Callable[..., Any]


@pytest.fixture
async def make_host() -> AsyncIterator[Make]:
    hosts: list[Host] = []

    async def make(rows: Rows | None = None, deaf: tuple[str, ...] = ()) -> Host:
        host = Host(rows or Rows(), deaf)
        hosts.append(host)
        await host.watch()
        return host

    yield make
    for host in hosts:
        await host.hypervisor.close()


async def test_what_libvirt_does_not_announce_is_found_by_the_poller(
    make_host: Make, beside: libvirt.virConnect
) -> None:
    host = await make_host(deaf=("domain.lifecycle",))
    beside.lookupByName("test").suspend()
    await host.round()
    assert host.words() == []  # one round is not enough
    await host.found("suspended")
    beside.lookupByName("test").destroy()
    await host.found("suspended", "stopped")
    beside.lookupByName("test").create()
    await host.found("suspended", "stopped", "started")
    beside.createXML(XML.format("transient"))
    await host.found("suspended", "stopped", "started", "started")


async def test_one_that_is_paused_and_was_not_known_to_run_may_be_starting_and_is_left_to_its_events(
    make_host: Make, beside: libvirt.virConnect
) -> None:
    host = await make_host(deaf=("domain.lifecycle",))
    new = beside.createXML(XML.format("transient"))
    new.suspend()
    beside.lookupByName("test").suspend()
    await host.found("suspended")
    new.resume()
    await host.found("suspended", "started")


@pytest.mark.parametrize(
    ("state", "reason", "expected"),
    [
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP, True),
        (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_USER, False),
        (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP, False),
    ],
)
def test_only_who_is_paused_for_its_start_is_starting(state: int, reason: int, *, expected: bool) -> None:
    assert is_starting(state, reason) is expected


async def test_what_was_heard_is_not_found_by_the_poller(make_host: Make, beside: libvirt.virConnect) -> None:
    host = await make_host()
    domain = beside.lookupByName("test")
    for _ in range(200):
        domain.suspend()
        await host.round()
        domain.resume()
        await host.round()
    await eventually(lambda: host.words(found=False) == ["suspended", "resumed"] * 200)
    assert host.words() == []


async def test_a_class_that_the_driver_lost_is_unknown_and_its_objects_are_not_gone(make_host: Make) -> None:
    before = Rows()
    ledger = Ledger(before)
    secret = {"class": "secret", "host": "h1", "uuid": str(uuid.uuid4()), "usageType": 1, "usageID": "/x"}
    ledger.note(f"secret/{secret['uuid']}", secret, "0000000000-1", ("lifecycle", "defined"), (0, 0))
    ledger.now_known("secret")
    host = await make_host(Rows(before.rows))
    assert host.words() == []
    assert host.stream._ledger.there("secret")


async def test_what_is_there_at_first_is_taken_and_what_is_gone_later_is_found(
    make_host: Make, beside: libvirt.virConnect
) -> None:
    domain = beside.defineXML(XML.format("extra"))
    first = await make_host()
    assert first.words() == []
    await first.hypervisor.close()
    domain.undefine()
    second = await make_host(Rows(first.rows.rows))
    await eventually(lambda: second.words() == ["undefined"])


def test_a_difference_is_told_when_two_looks_show_it_without_an_event_between() -> None:
    told: list[str] = []
    ledger = Ledger(Rows())
    comparison = Comparison(ledger, lambda _, word: told.append(word))
    ledger.note(SUBJECT, WEB, "1-1", ("lifecycle", "started"), (2, 0))
    ledger.now_known("domain")
    comparison.begin("one", "1-1")
    assert comparison.look(_listing(PAUSED)) == ["domain"]
    ledger.note(SUBJECT, WEB, "1-2", ("metadata-change",), (0, None))  # not quiet
    assert comparison.look(_listing(PAUSED)) == ["domain"]
    assert told == []
    assert comparison.look(_listing(PAUSED)) == []
    assert told == ["suspended"]
    assert comparison.look(_listing(PAUSED)) == []
    assert told == ["suspended"]


def test_a_change_that_a_listing_shows_before_its_event_is_heard_is_told_once() -> None:
    told: list[str] = []
    ledger = Ledger(Rows())
    comparison = Comparison(ledger, lambda _, word: told.append(word))
    ledger.note(SUBJECT, WEB, "1-1", ("lifecycle", "started"), (2, 0))
    ledger.now_known("domain")
    comparison.begin("one", "1-1")
    assert comparison.look(_listing(PAUSED)) == ["domain"]
    ledger.note(SUBJECT, WEB, "1-2", ("lifecycle", "suspended"), (3, 0))
    assert comparison.look(_listing(PAUSED)) == []
    assert told == []


@pytest.mark.parametrize("unread", [True, False])
def test_what_could_not_be_read_is_not_gone(unread: bool) -> None:  # noqa: FBT001
    told: list[str] = []
    ledger = Ledger(Rows())
    comparison = Comparison(ledger, lambda _, word: told.append(word))
    ledger.note(SUBJECT, WEB, "1-1", ("lifecycle", "started"), (2, 0))
    ledger.now_known("domain")
    comparison.begin("one", "1-1")
    listing = Listing(("domain",), unread={SUBJECT} if unread else set(), unknown=[] if unread else ["domain"])
    assert [comparison.look(listing) for _ in range(3)] == [[] if unread else ["domain"]] * 3
    assert told == []


@pytest.mark.parametrize("is_known", [True, False])
def test_a_class_that_could_not_be_listed_at_first_is_listed_again(is_known: bool) -> None:  # noqa: FBT001
    """What is there is compared then with what was announced before, or taken as it is where nothing ever was."""
    told: list[str] = []
    ledger = Ledger(Rows())
    comparison = Comparison(ledger, lambda _, word: told.append(word))
    if is_known:
        ledger.note(SUBJECT, WEB, "1-1", ("lifecycle", "started"), (2, 0))
        ledger.now_known("domain")
    comparison.begin("one", "1-1")
    assert comparison.look(Listing(("domain",), unknown=["domain"])) == ["domain"]
    assert comparison.look(_listing(PAUSED)) == (["domain"] if is_known else [])
    assert comparison.look(_listing(PAUSED)) == []
    assert told == (["suspended"] if is_known else [])
    assert ledger.is_known("domain")


def test_a_class_that_the_driver_never_lists_is_asked_for_once() -> None:
    comparison = Comparison(Ledger(Rows()), lambda _whose, _word: None)
    comparison.begin("one", "1-1")
    assert comparison.look(Listing(("secret",), unknown=["secret"], unsupported={"secret"})) == []


async def test_a_storm_of_what_can_flood_is_coalesced_and_its_last_value_published(
    make_host: Make, beside: libvirt.virConnect
) -> None:
    host = await make_host()
    domain, device = beside.lookupByName("test"), beside.listAllDevices()[0]
    clock = host.stream._callback(host.kinds["domain.rtc-change"])
    update = host.stream._callback(host.kinds["node-device.update"])

    def storm() -> None:
        for number in range(10_000):
            clock(beside, domain, number, None)
            update(beside, device, None)

    thread = threading.Thread(target=storm)
    thread.start()
    await eventually(lambda: _offsets(host)[-1:] == [9_999])
    thread.join()
    assert _offsets(host)[0] == 0
    assert len(_offsets(host)) < 10
    await eventually(lambda: not host.stream._coalescer._resting)
    assert 2 <= len([e for e in host.published if e["type"] == "org.libvirt.node-device.update"]) < 10


async def test_what_is_held_comes_before_the_objects_next_event_of_another_kind(
    make_host: Make, beside: libvirt.virConnect
) -> None:
    host = await make_host()
    domain = beside.lookupByName("test")
    balloon = host.stream._callback(host.kinds["domain.balloon-change"])
    for actual in (1, 2, 3):
        balloon(beside, domain, actual, None)
    host.stream._callback(host.kinds["domain.lifecycle"])(beside, domain, 3, 0, None)
    await eventually(lambda: host.words(found=False))
    assert [e["data"].get("actual", e["word"]) for e in host.published if "domain" in e["subject"]] == [
        1,
        3,
        "suspended",
    ]


async def test_ten_thousand_lifecycle_events_at_the_callback_are_all_published(
    make_host: Make, beside: libvirt.virConnect
) -> None:
    host = await make_host()
    heard = host.stream._callback(host.kinds["domain.lifecycle"])
    domain = beside.lookupByName("test")
    await asyncio.to_thread(lambda: [heard(beside, domain, 3 + n % 2, 0, None) for n in range(10_000)])
    await eventually(lambda: len(host.words(found=False)) == 10_000)
    assert host.words(found=False) == ["suspended", "resumed"] * 5000


def _offsets(host: Host) -> list[int]:
    return [e["data"]["utcoffset"] for e in host.published if e["type"] == "org.libvirt.domain.rtc-change"]


def _listing(state: int) -> Listing:
    listing = Listing(("domain",))
    listing.add(WEB, State(active=True, persistent=False, state=state, id=1))
    return listing
