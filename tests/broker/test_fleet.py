"""The subscriber of the client library, against real agents, and hosts by hand for what no agent does."""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from conftest import eventually
from followed import A, B, Followed, cut, following
from hand_made import HandMadeHost, hand_made
from line import Line
from queues import declare

from libvirt_amqp.fleet import Event, Fleet, Missed, Snapshot
from libvirt_amqp.keys import EVENTS
from libvirt_amqp.messages import EVENT_CONTENT_TYPE
from libvirt_amqp.url import DEFAULT_URL
from libvirt_amqp.wire import Properties

_EVENT = Properties(EVENT_CONTENT_TYPE)


@pytest.fixture
async def host(broker_url: str) -> AsyncIterator[HandMadeHost]:
    async with hand_made(broker_url, "m1") as host:
        yield host


async def test_a_host_begins_with_its_state(broker_url: str, host: HandMadeHost) -> None:
    host.change(A, active=True)
    async with following(broker_url, hosts=["m1"]) as followed:
        first = (await followed.count(Snapshot, 1))[0]
        host.change(A, active=False)
        host.change(B, active=True)
        await followed.count(Event, 2)
        assert followed[0] is first
        assert first.unknown == {"secret"}
        assert followed.table == {"m1": host.states}


async def test_a_host_that_nobody_named_is_found_by_its_heartbeat(broker_url: str, host: HandMadeHost) -> None:
    async with following(broker_url) as followed:

        async def known() -> bool:
            host.beat()
            return bool(followed.of(Snapshot, "m1"))

        await eventually(known)


async def test_an_event_that_comes_again_is_given_once(broker_url: str, host: HandMadeHost) -> None:
    async with following(broker_url, hosts=["m1"]) as followed:
        await followed.count(Snapshot, 1)
        body = host.change(A, active=True)
        key = f"m1.storage-pool.{A}.lifecycle.started"
        host.publish(key, body)
        host.change(A, active=False)
        host.publish(key, body)
        host.change(B, active=True)
        await eventually(lambda: followed.table["m1"].get(B))
        assert followed.happened("m1") == ["started", "stopped", "started"]
        assert followed.table == {"m1": host.states}
        assert followed.of(Missed) == []


async def test_a_lost_event_is_told_and_its_effect_is_in_the_state_that_follows(
    broker_url: str, host: HandMadeHost
) -> None:
    async with following(broker_url, hosts=["m1"]) as followed:
        await followed.count(Snapshot, 1)
        host.change(A, active=True)
        host.change(A, active=False, is_lost=True)
        host.change(B, active=True)
        await followed.count(Snapshot, 2)
        missed = followed.of(Missed)
        assert [(m.reason, m.first, m.count) for m in missed] == [("hole", "0000000001-000000000000002", 1)]
        assert followed.happened("m1") == ["started", "started"]
        assert followed.table == {"m1": {A: False, B: True}}


async def test_a_lost_last_event_is_told_by_the_next_heartbeat(broker_url: str, host: HandMadeHost) -> None:
    async with following(broker_url, hosts=["m1"]) as followed:
        await followed.count(Snapshot, 1)
        host.change(A, active=True, is_lost=True)
        host.beat()
        await followed.count(Snapshot, 2)
        assert [m.count for m in followed.of(Missed)] == [1]
        assert followed.table == {"m1": {A: True}}


async def test_of_a_part_a_lost_event_is_told_by_the_next_one_of_the_object(
    broker_url: str, host: HandMadeHost
) -> None:
    async with following(broker_url, hosts=["m1"], classes=["storage-pool"], objects=[A]) as followed:
        await followed.count(Snapshot, 1)
        host.change(A, active=True)
        host.change(B, active=True)
        host.change(A, active=False)
        await followed.count(Event, 2)
        assert followed.of(Missed) == []
        host.change(A, active=True, is_lost=True)
        host.change(A, active=False)
        host.beat()
        await followed.count(Snapshot, 2)
        assert [m.subject for m in followed.of(Missed)] == [f"storage-pool/{A}"]
        assert followed.table == {"m1": {A: False}}


async def test_a_host_whose_agent_does_not_answer_holds_up_nobody(broker_url: str, host: HandMadeHost) -> None:
    async with hand_made(broker_url, "m2") as other, following(broker_url, hosts=["m1", "m2"]) as followed:
        await followed.count(Snapshot, 2)
        silent, host._channel.outlet.publish = host._channel.outlet.publish, lambda *_: None  # type: ignore[method-assign]
        silent(EVENTS, f"m1.storage-pool.{A}.lifecycle.started", host.change(A, active=True, is_lost=True), _EVENT)
        host.change(A, active=True)
        silent(EVENTS, f"m1.storage-pool.{A}.lifecycle.stopped", host.change(A, active=False, is_lost=True), _EVENT)
        await followed.count(Missed, 1, "m1")
        other.change(B, active=True)
        await followed.count(Event, 1, "m2")
        assert followed.happened("m1") == ["started"]


async def test_an_agent_that_has_no_snapshots_is_followed_without(broker_url: str, host: HandMadeHost) -> None:
    host.has_snapshots = False
    async with following(broker_url) as followed:

        async def heard() -> bool:
            host.change(A, active=True)
            return bool(followed.of(Event, "m1"))

        await eventually(heard)
        host.change(A, active=False, is_lost=True)
        host.change(A, active=True)
        await followed.count(Missed, 1)
        assert followed.of(Snapshot, "m1") == []
        assert host.asked == 1


async def test_with_the_fleet_end_the_subscriptions_that_other_tasks_read(broker_url: str, host: HandMadeHost) -> None:
    followed = Followed()

    async def follow(fleet: Fleet) -> None:
        async for item in fleet.events(hosts=["m1"]):
            followed.append(item)

    async with Fleet(broker_url) as fleet:
        tasks = [asyncio.create_task(follow(fleet)) for _ in range(2)]
        await followed.count(Snapshot, 2)
    done, _ = await asyncio.wait(tasks, timeout=5)
    assert [task.exception() for task in done] == [None, None]
    assert {"keep_linked"} & {task.get_coro().__name__ for task in asyncio.all_tasks()} == set()
    assert host.asked == 2


@pytest.mark.parametrize(
    "odd",
    [
        {"sequence": "0000000001-000000000000001"},
        {"sequence": "1-1", "objects": [], "unknown": []},
        {"sequence": "0000000001-000000000000001", "objects": [1], "unknown": []},
        ["nothing"],
    ],
)
async def test_a_host_that_answers_something_else_is_followed_without_and_asked_again(
    broker_url: str, host: HandMadeHost, odd: object
) -> None:
    host.odd_answer = odd
    async with following(broker_url, hosts=["m1"]) as followed:
        await eventually(lambda: host.asked)
        host.change(A, active=True)
        await followed.count(Event, 1)
        host.odd_answer = None

        async def known() -> bool:
            host.beat()
            return bool(followed.of(Snapshot))

        await eventually(known)
        assert followed.table == {"m1": host.states}


async def test_an_event_with_a_number_that_is_none_stops_nothing(broker_url: str, host: HandMadeHost) -> None:
    async with following(broker_url, hosts=["m1"]) as followed:
        await followed.count(Snapshot, 1)
        body = host.change(A, active=True)
        host.publish(f"m1.storage-pool.{A}.lifecycle.started", body.replace(host.sequence.encode(), b"unnumbered"))
        host.change(A, active=False)
        await followed.count(Event, 2)
        assert followed.table == {"m1": host.states}


@pytest.mark.parametrize("limit", [0, -1])
def test_a_subscription_without_room_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="limit"):
        Fleet().events(limit=limit)


async def test_a_queue_of_ones_own_is_read_with_a_limit_that_no_prefetch_can_have(
    broker_url: str, host: HandMadeHost
) -> None:
    await declare(broker_url, "large", "m1.#")
    async with following(broker_url, hosts=["m1"], queue="large", limit=100_000) as followed:
        host.change(A, active=True)
        await followed.count(Event, 1)


@pytest.mark.parametrize("queue", [None, "behind"])
async def test_a_false_event_of_a_later_epoch_does_not_silence_its_host(
    broker_url: str, host: HandMadeHost, queue: str | None
) -> None:
    if queue is not None:
        await declare(broker_url, queue, "m1.#")
    host.change(A, active=True)
    async with following(broker_url, hosts=["m1"], queue=queue) as followed:
        await eventually(lambda: host.asked)
        host.change(B, active=True)
        true, host.epoch, host.number = (host.epoch, host.number), 9, 0
        host.news("started", former=None)
        host.epoch, host.number = true
        await eventually(lambda: "agent.started" in [event.type for event in followed.of(Event)])
        host.change(A, active=False)

        async def known() -> bool:
            host.beat()
            return followed.table.get("m1") == host.states

        await eventually(known, 20)
        host.change(B, active=False)
        await eventually(known)
        assert "restart" in [missed.reason for missed in followed.of(Missed)]


async def test_a_reader_that_is_behind_is_told_and_ends_with_the_truth(broker_url: str, host: HandMadeHost) -> None:
    async with Fleet(broker_url) as fleet:
        items = fleet.events(hosts=["m1"], limit=10)
        followed = Followed([await anext(items)])
        for number in range(1000):
            host.change(A, active=number % 2 == 0)
        while followed.table["m1"].get(A) is not False or not followed.of(Missed):
            followed.append(await asyncio.wait_for(anext(items), 10))
            host.beat()
        assert {m.reason for m in followed.of(Missed)} == {"slow"}
        assert len(followed.of(Event)) + sum(m.count for m in followed.of(Missed)) <= 1000
        assert followed.table == {"m1": host.states}


async def test_after_a_cut_connection_nothing_is_told_if_nothing_is_missing(
    broker_url: str, host: HandMadeHost
) -> None:
    async with Line(broker_url) as line, following(line.url, hosts=["m1"]) as followed:
        await followed.count(Snapshot, 1)
        host.change(A, active=True)
        await followed.count(Event, 1)
        cut(line)
        await eventually(lambda: host.asked == 2)
        host.change(A, active=False)
        await followed.count(Event, 2)
        assert followed.of(Missed) == []
        assert len(followed.of(Snapshot)) == 1


async def test_what_was_missed_while_the_connection_was_cut_is_told_with_numbers_and_times(
    broker_url: str, host: HandMadeHost
) -> None:
    async with Line(broker_url) as line, following(line.url, hosts=["m1"]) as followed:
        await followed.count(Snapshot, 1)
        host.change(A, active=True)
        await followed.count(Event, 1)
        cut(line)
        host.change(A, active=False)
        host.change(B, active=True)
        await eventually(lambda: host.asked == 2)
        host.beat()
        await followed.count(Snapshot, 2)
        [missed] = followed.of(Missed)
        assert (missed.reason, missed.count) == ("outage", 2)
        assert missed.since < missed.until
        assert followed.table == {"m1": host.states}


@pytest.mark.feature("a queue of one's own keeps what comes while nobody reads")
async def test_a_queue_of_ones_own_keeps_what_comes_while_nobody_reads(broker_url: str, host: HandMadeHost) -> None:
    await declare(broker_url, "audit", "m1.#")
    async with following(broker_url, hosts=["m1"], queue="audit") as followed:
        host.change(A, active=True)
        await followed.count(Event, 1)
    host.change(A, active=False)
    host.change(B, active=True)
    async with following(broker_url, hosts=["m1"], queue="audit") as followed:
        await followed.count(Event, 2)
        assert followed.happened("m1")[-2:] == ["stopped", "started"]

        async def known() -> bool:
            host.beat()
            return bool(followed.of(Snapshot))

        await eventually(known, 20)
        assert followed.table == {"m1": host.states}
        assert followed.of(Missed) == []


async def test_an_event_that_was_not_read_to_its_end_comes_again(broker_url: str, host: HandMadeHost) -> None:
    await declare(broker_url, "ledger", "m1.#")
    host.has_snapshots = False
    for active in (True, False, True):
        host.change(A, active=active)
    async with Fleet(broker_url) as fleet:
        items = fleet.events(queue="ledger")
        first = [await anext(items), await anext(items)]
    async with Fleet(broker_url) as fleet:
        items = fleet.events(queue="ledger")
        again = [await anext(items), await anext(items)]
    assert first[1] == again[0]
    assert isinstance(again[1], Event)
    assert again[1].happened == "started"


@pytest.mark.feature("a cut connection to a queue of one's own neither loses nor repeats")
async def test_a_cut_connection_to_a_queue_of_ones_own_neither_loses_nor_repeats(
    broker_url: str, host: HandMadeHost
) -> None:
    await declare(broker_url, "kept", "m1.#")
    async with Line(broker_url) as line, following(line.url, hosts=["m1"], queue="kept") as followed:
        await eventually(lambda: host.asked)
        for number in range(200):
            host.change(A, active=number % 2 == 0)
            if number in {50, 150}:
                await followed.count(Event, number // 2)
                cut(line)
        await followed.count(Event, 200)
        assert [e.sequence for e in followed.of(Event)] == [f"0000000001-{n:015}" for n in range(1, 201)]
        assert followed.of(Missed) == []


async def test_the_program_in_the_documentation_runs(broker_url: str, host: HandMadeHost, tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "subscribing.md").read_text()
    program = tmp_path / "program.py"
    program.write_text(text.split("```python\n")[1].split("```")[0].replace(DEFAULT_URL, broker_url))
    process = await asyncio.create_subprocess_exec(sys.executable, program, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        told = asyncio.ensure_future(process.stdout.readline())

        async def first_line() -> bool:
            host.beat()
            return told.done()

        await eventually(first_line)
        assert told.result() == b"m1 has []\n"
        host.change(A, active=True)
        assert await process.stdout.readline() == f"m1 storage-pool.lifecycle {A} started\n".encode()
    finally:
        process.kill()
        await process.wait()
