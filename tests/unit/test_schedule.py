import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable

import pytest

from app.pollers.budget import Budget
from app.pollers.schedule import LONGEST_INTERVAL, Schedule, offset

HOSTS = [f"node{number}.example.com" for number in range(1000)]


async def run_for(schedule: Schedule, beat: Callable[[], Awaitable[None]], seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(schedule.run(beat), seconds)


def test_a_fleet_is_spread_over_the_whole_interval() -> None:
    tenths = [0] * 10
    for host in HOSTS:
        tenths[math.floor(offset(host) * 10)] += 1
    assert min(tenths) > 60


def test_two_agents_of_one_host_would_beat_at_the_same_moments() -> None:
    first, second = (Schedule("test", 10, HOSTS[0]) for _ in range(2))
    assert first.next_after(1000) == pytest.approx(second.next_after(1000), abs=0.01)


@pytest.mark.parametrize("factor", [1, 3])
def test_beats_lie_on_a_grid_that_the_host_alone_decides(factor: int) -> None:
    schedule = Schedule("test", 10, HOSTS[0])
    schedule.factor = factor
    now = time.monotonic()
    beats = [schedule.next_after(now + number * 10 * factor) for number in range(3)]
    assert beats[1] - beats[0] == pytest.approx(10 * factor)
    assert beats[2] - beats[1] == pytest.approx(10 * factor)
    since_1970 = beats[0] - time.monotonic() + time.time()
    assert since_1970 % (10 * factor) == pytest.approx(offset(HOSTS[0]) * 10 * factor, abs=0.01)


async def test_a_round_never_overlaps_the_next_and_late_beats_are_skipped_and_counted() -> None:
    schedule = Schedule("test", 0.1, HOSTS[0])
    running = 0
    most = 0

    async def beat() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.35)
        running -= 1

    await run_for(schedule, beat, 1.2)
    assert most == 1
    assert schedule.skipped >= 6


async def test_a_beat_that_is_in_time_skips_nothing() -> None:
    schedule = Schedule("test", 0.3, HOSTS[0])
    beats = 0

    async def beat() -> None:
        nonlocal beats
        beats += 1

    await run_for(schedule, beat, 1.0)
    assert beats >= 3
    assert schedule.skipped == 0


async def test_a_beat_that_fails_does_not_end_the_schedule() -> None:
    schedule = Schedule("test", 0.05, HOSTS[0])
    beats = 0

    async def beat() -> None:
        nonlocal beats
        beats += 1
        raise RuntimeError("the test says")

    await run_for(schedule, beat, 0.5)
    assert beats >= 3


def test_what_costs_too_much_stretches_by_a_whole_factor_when_two_rounds_say_so() -> None:
    budget = Budget(10, 0.01, 360)
    assert not budget.spend(0.25)
    assert budget.spend(0.25)
    assert budget.factor == 3
    assert budget.share == pytest.approx(0.25 / 30)


def test_what_costs_little_stretches_nothing() -> None:
    budget = Budget(10, 0.01, 360)
    assert not budget.spend(0.019)
    assert budget.factor == 1
    assert budget.share == pytest.approx(0.0019)


def test_it_gets_shorter_again_when_the_cost_is_well_under_the_ceiling() -> None:
    budget = Budget(10, 0.01, 360)
    budget.spend(0.25)
    for _ in range(20):
        budget.spend(0.05)
    assert budget.factor == 1


def test_a_cost_just_under_the_ceiling_does_not_make_it_waver() -> None:
    budget = Budget(10, 0.01, 360)
    for _ in range(2):
        budget.spend(0.11)
    assert budget.factor == 2
    assert not any(budget.spend(0.099) for _ in range(50))
    assert budget.factor == 2


def test_a_single_dear_round_stretches_less_than_dear_rounds_do() -> None:
    once, always = Budget(10, 0.01, 360), Budget(10, 0.01, 360)
    for cost in (0.05, 0.05, 0.5):
        once.spend(cost)
    for _ in range(20):
        always.spend(0.5)
    assert once.factor < always.factor == 5


@pytest.mark.parametrize("before", [0, 1, 2, 10])
def test_one_round_in_which_somebody_else_kept_libvirtd_busy_stretches_nothing(before: int) -> None:
    budget = Budget(1, 0.01, 3600)
    changes = [budget.spend(cost) for cost in (*[0.002] * before, 0.17, *[0.002] * 10)]
    assert not any(changes)
    assert budget.factor == 1


@pytest.mark.parametrize("before", [0, 1, 10])
def test_rounds_that_are_dear_from_now_on_stretch_within_three(before: int) -> None:
    budget = Budget(1, 0.01, 3600)
    for cost in (*[0.002] * before, *[0.17] * 3):
        budget.spend(cost)
    assert budget.factor == 17


def test_two_cheap_rounds_end_what_dear_ones_have_stretched() -> None:
    budget = Budget(1, 0.01, 3600)
    for cost in (*[0.17] * 10, *[0.002] * 2):
        budget.spend(cost)
    assert budget.factor == 1


def test_a_ceiling_that_cannot_be_kept_ends_at_an_hour() -> None:
    schedule = Schedule("test", 10, HOSTS[0])
    budget = Budget(10, 1e-9, schedule.longest_factor)
    for _ in range(2):
        budget.spend(1)
    assert budget.factor * 10 == LONGEST_INTERVAL
