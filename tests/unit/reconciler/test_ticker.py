"""The ticker: at each tick at most one run, whatever the clock and other processes do."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from himalia.core.cron import next_tick
from himalia.core.errors import InvalidInput
from himalia.core.model import Inputs, Missed, Overlap, Status, Trigger
from himalia.core.service import ScheduleQuery
from himalia.core.spec import Condition, Dependency
from himalia.core.ticker import Ticker
from himalia.kinds.base import Pin
from himalia.store.base import Change

pytestmark = pytest.mark.asyncio


class Clock:
    def __init__(self, text: str) -> None:
        self.now = datetime.fromisoformat(text).replace(tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, **span: float) -> None:
        self.now += timedelta(**span)


@pytest.fixture
def clock(world: Any) -> Clock:
    clock = Clock("2026-05-04 10:00:00")
    world.clock = clock
    return clock


@pytest.fixture
def woken() -> list[bool]:
    return []


@pytest.fixture
def ticker(world: Any, clock: Clock, woken: list[bool]) -> Ticker:
    return Ticker(
        store=world.store,
        premises=world.premises,
        wake=lambda: woken.append(True),
        clock=clock,
    )


async def drain(ticker: Ticker) -> float:
    """Tick until nothing is due; return the pause it asks for."""
    while (pause := await ticker.tick()) == 0.0:
        pass
    return pause


async def end_all(world: Any) -> None:
    """End every unended run as if it had run."""
    now = datetime.now(UTC) + timedelta(days=36_500)
    while await world.store.schedules.unended((await world.runs())[0].schedule_id):
        for held in await world.store.holds.claim("t", now=now, lease_until=now, limit=100):
            change = Change(status=Status.SUCCEEDED, ended_at=world.clock())
            await world.store.holds.change(held.run.id, held.token, change)


async def test_a_tick_makes_one_run_with_the_schedules_parameters(
    world: Any, ticker: Ticker, clock: Clock, woken: list[bool]
) -> None:
    schedule = await world.schedule(parameters={"x": 1})
    await drain(ticker)
    (run,) = await world.runs()
    assert run.trigger is Trigger.SCHEDULE
    assert (run.schedule_id, run.tick_at) == (schedule.id, clock.now)
    assert run.parameters == {"x": 1}
    assert woken
    stored = await world.store.schedules.get(world.owner, schedule.id)
    assert stored.next_tick_at == clock.now + timedelta(minutes=1)
    assert stored.reason is None


async def test_it_sleeps_until_the_next_tick(world: Any, ticker: Ticker, clock: Clock) -> None:
    await world.schedule(next_tick_at=clock.now + timedelta(seconds=7))
    assert await drain(ticker) == pytest.approx(7, abs=0.01)
    assert await world.runs() == ()


async def test_two_tickers_make_one_run(world: Any, ticker: Ticker, clock: Clock) -> None:
    for _ in range(5):
        await world.schedule()
    twin = Ticker(
        store=world.store,
        premises=world.premises,
        wake=lambda: None,
        clock=clock,
    )
    await asyncio.gather(*(one.tick() for one in (ticker, twin, ticker, twin)))
    runs = await world.runs()
    assert len(runs) == len({run.schedule_id for run in runs}) == 5


async def test_a_paused_schedule_does_not_tick(world: Any, ticker: Ticker) -> None:
    await world.schedule(paused=True)
    await drain(ticker)
    assert await world.runs() == ()


async def test_overlapping_ticks_are_skipped_and_the_schedule_says_so(
    world: Any, ticker: Ticker, clock: Clock
) -> None:
    schedule = await world.schedule(overlap=Overlap.SKIP)
    await drain(ticker)
    clock.pass_by(minutes=1)
    await drain(ticker)
    assert len(await world.runs()) == 1
    stored = await world.store.schedules.get(world.owner, schedule.id)
    assert stored.reason is not None
    assert stored.reason.code == "overlap"
    await end_all(world)
    clock.pass_by(minutes=1)
    await drain(ticker)
    assert len(await world.runs()) == 2


async def test_overlapping_ticks_queue_and_run_one_after_the_other(
    world: Any, ticker: Ticker, clock: Clock
) -> None:
    await world.schedule(overlap=Overlap.QUEUE)
    for _ in range(3):
        await drain(ticker)
        clock.pass_by(minutes=1)
    world.now_offset = timedelta()
    first, second, third = await world.runs()
    until = clock.now + timedelta(hours=1)
    far = clock.now + timedelta(days=3650)
    claimed = await world.store.holds.claim("t", now=far, lease_until=until, limit=9)
    assert [held.run.id for held in claimed] == [first.id]
    assert {second.status, third.status} == {Status.QUEUED}


async def test_a_replacing_tick_stops_the_run_before_it(
    world: Any, ticker: Ticker, clock: Clock
) -> None:
    await world.schedule(overlap=Overlap.REPLACE)
    await drain(ticker)
    clock.pass_by(minutes=1)
    await drain(ticker)
    first, second = await world.runs()
    assert first.status is Status.STOPPED
    assert first.reason is not None
    assert first.reason.code == "replaced"
    assert second.status is Status.QUEUED


async def test_a_queue_of_ticks_is_bounded(world: Any, ticker: Ticker, clock: Clock) -> None:
    await world.schedule(overlap=Overlap.QUEUE)
    for _ in range(103):
        await drain(ticker)
        clock.pass_by(minutes=1)
    assert len(await world.runs()) == 100


async def test_missed_ticks_collapse_into_one_run(world: Any, ticker: Ticker, clock: Clock) -> None:
    await world.schedule(cron="0 * * * *", missed=Missed.RUN_ONCE)
    clock.pass_by(days=3, minutes=30)
    await drain(ticker)
    assert len(await world.runs()) == 1
    (schedule,) = await _schedules(world)
    assert schedule.next_tick_at == datetime(2026, 5, 7, 11, tzinfo=UTC)


async def test_missed_ticks_are_skipped_where_that_is_asked(
    world: Any, ticker: Ticker, clock: Clock
) -> None:
    await world.schedule(cron="0 * * * *", missed=Missed.SKIP)
    clock.pass_by(days=3, minutes=30)
    await drain(ticker)
    assert await world.runs() == ()
    (schedule,) = await _schedules(world)
    assert schedule.reason is not None
    assert schedule.reason.code == "missed"
    assert schedule.next_tick_at == datetime(2026, 5, 7, 11, tzinfo=UTC)


async def test_a_tick_in_time_runs_even_if_others_before_it_were_missed(
    world: Any, ticker: Ticker, clock: Clock
) -> None:
    await world.schedule(cron="0 * * * *", missed=Missed.SKIP)
    clock.pass_by(hours=3, seconds=2)
    await drain(ticker)
    (run,) = await world.runs()
    assert run.tick_at == datetime(2026, 5, 4, 13, tzinfo=UTC)


async def test_a_clock_set_back_does_not_repeat_ticks(
    world: Any, ticker: Ticker, clock: Clock
) -> None:
    await world.schedule()
    await drain(ticker)
    clock.pass_by(hours=-1)
    for _ in range(59):
        await drain(ticker)
        clock.pass_by(minutes=1)
    assert len(await world.runs()) == 1


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        # Berlin skips 02:00-03:00 on 29 March 2026 and repeats it on 25 October.
        ("2026-03-28 12:00:00", ["2026-03-29 01:00", "2026-03-30 00:30"]),
        ("2026-10-24 12:00:00", ["2026-10-25 00:30", "2026-10-26 01:30"]),
    ],
    ids=["gap", "fold"],
)
async def test_079_a_daily_tick_in_a_gap_or_a_fold_makes_one_run_a_day(
    world: Any, ticker: Ticker, clock: Clock, start: str, expected: list[str]
) -> None:
    clock.now = datetime.fromisoformat(start).replace(tzinfo=UTC)
    cron, zone = "30 2 * * *", "Europe/Berlin"
    await world.schedule(cron=cron, time_zone=zone, next_tick_at=next_tick(cron, zone, clock.now))
    for _ in range(48 * 4):
        await drain(ticker)
        clock.pass_by(minutes=15)
    assert [f"{run.tick_at:%Y-%m-%d %H:%M}" for run in await world.runs()] == expected


async def test_fresh_inputs_are_pinned_at_each_tick(
    world: Any, ticker: Ticker, clock: Clock, tmp_path: Path
) -> None:
    folder = tmp_path / "inputs"
    folder.mkdir()
    (folder / "a.txt").write_text("one")
    world.kind.pin = Pin(folder=folder, files=("a.txt",))
    await world.schedule(inputs=Inputs.FRESH)
    await drain(ticker)
    (folder / "a.txt").write_text("two")
    clock.pass_by(minutes=1)
    await drain(ticker)
    first, second = await world.runs()
    assert first.snapshot_digest
    assert second.snapshot_digest
    assert first.snapshot_digest != second.snapshot_digest


async def test_a_pin_that_fails_is_told_and_the_next_tick_tries_again(
    world: Any, ticker: Ticker, clock: Clock
) -> None:
    world.kind.check_error = InvalidInput.of("notebook", "there is no file a.ipynb")
    await world.schedule(inputs=Inputs.FRESH)
    await drain(ticker)
    (schedule,) = await _schedules(world)
    assert await world.runs() == ()
    assert schedule.reason is not None
    assert "a.ipynb" in schedule.reason.message
    world.kind.check_error = None
    clock.pass_by(minutes=1)
    await drain(ticker)
    (schedule,) = await _schedules(world)
    assert len(await world.runs()) == 1
    assert schedule.reason is None


async def test_a_bug_in_one_schedule_does_not_stop_the_others(
    world: Any, ticker: Ticker, clock: Clock
) -> None:
    world.kind.check_error = RuntimeError("a bug")
    await world.schedule(inputs=Inputs.FRESH)
    good = await world.schedule()
    await drain(ticker)
    assert [run.schedule_id for run in await world.runs()] == [good.id]
    reasons = [schedule.reason for schedule in await _schedules(world)]
    assert sorted(reason.code for reason in reasons if reason) == ["internal"]


async def test_a_zone_that_is_gone_ends_the_ticking_with_a_reason(
    world: Any, ticker: Ticker
) -> None:
    await world.schedule(time_zone="Mars/Olympus")
    await drain(ticker)
    (schedule,) = await _schedules(world)
    assert schedule.next_tick_at is None
    assert schedule.reason is not None


async def test_a_ticks_run_brings_those_that_depend_on_it(world: Any, ticker: Ticker) -> None:
    first = await world.workload()
    after = (Dependency(workload_id=first.id, on=Condition.SUCCESS),)
    second = await world.workload(world.spec(after=after))
    await world.schedule(first)
    await drain(ticker)
    run, dependent = await world.runs()
    assert dependent.workload_id == second.id
    assert (dependent.status, dependent.flow_id) == (Status.WAITING, run.flow_id)


async def _schedules(world: Any) -> Any:
    return (await world.store.schedules.list(world.owner, ScheduleQuery())).items
