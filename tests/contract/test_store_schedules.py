"""Every store deals with each tick of a schedule once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from himalia.core.errors import Conflict, NotFound
from himalia.core.model import Reason, Run, Schedule, Status, Trigger, Workload
from himalia.core.names import new_id
from himalia.core.service import RunQuery
from himalia.store.base import Key, Store

pytestmark = pytest.mark.asyncio


def _tick_run(make: Any, workload: Workload[Any], schedule: Schedule) -> Run:
    return make.run(
        workload,
        trigger=Trigger.SCHEDULE,
        schedule_id=schedule.id,
        tick_at=schedule.next_tick_at,
    )


async def test_a_schedule_comes_back_as_it_went_in(store: Store, make: Any) -> None:
    workload = await make.stored(store, name="sums")
    schedule = make.schedule(
        workload,
        parameters={"n": [1]},
        reason=Reason(code="overlap", message="Busy."),
        last_tick_at=make.now,
    )
    assert await store.schedules.insert(schedule) == schedule
    assert await store.schedules.get("ann", schedule.id) == schedule
    await store.workloads.replace(workload.model_copy(update={"name": "renamed"}))
    assert (await store.schedules.get("ann", schedule.id)).workload_name == "renamed"


async def test_a_key_used_again_returns_the_schedule(store: Store, make: Any) -> None:
    workload = await make.stored(store)
    key = Key(owner="ann", key="k", digest="d")
    schedule = await store.schedules.insert(make.schedule(workload), key=key)
    assert await store.schedules.insert(make.schedule(workload), key=key) == schedule
    other = Key(owner="ann", key="k", digest="e")
    with pytest.raises(Conflict):
        await store.schedules.insert(make.schedule(workload), key=other)
    await store.schedules.delete("ann", schedule.id)
    again = make.schedule(workload)
    assert await store.schedules.insert(again, key=key) == again


async def test_a_schedule_needs_a_workload_of_its_owner(store: Store, make: Any) -> None:
    absent = make.workload()
    with pytest.raises(NotFound):
        await store.schedules.insert(make.schedule(absent))


async def test_due_schedules_come_with_their_workloads(store: Store, make: Any) -> None:
    workload = await make.stored(store)
    soon = await store.schedules.insert(make.schedule(workload, next_tick_at=make.later(5)))
    await store.schedules.insert(make.schedule(workload, next_tick_at=make.later(1), paused=True))
    await store.schedules.insert(make.schedule(workload, next_tick_at=None))
    await store.schedules.insert(make.schedule(workload, next_tick_at=make.later(500)))
    assert await store.schedules.next_tick_at() == soon.next_tick_at
    assert await store.schedules.count() == 3
    assert await store.schedules.count(workload.owner) == 3
    assert await store.schedules.count("somebody-else") == 0
    assert await store.schedules.due(make.now, 10) == ()
    assert await store.schedules.due(make.later(5), 10) == ((soon, workload),)


async def test_nothing_is_due_where_there_is_no_schedule(store: Store, make: Any) -> None:
    assert await store.schedules.next_tick_at() is None
    await store.schedules.insert(make.schedule(await make.stored(store), next_tick_at=None))
    assert await store.schedules.next_tick_at() is None


async def test_a_tick_moves_the_schedule_on_and_stores_its_runs(store: Store, make: Any) -> None:
    workload = await make.stored(store)
    schedule = await store.schedules.insert(make.schedule(workload))
    run = _tick_run(make, workload, schedule)
    following = make.later(3600)
    assert await store.schedules.tick(schedule, [run], next_tick_at=following, reason=None)
    moved = await store.schedules.get("ann", schedule.id)
    assert (moved.next_tick_at, moved.last_tick_at) == (following, schedule.next_tick_at)
    assert await store.schedules.unended(schedule.id) == (run,)
    again = _tick_run(make, workload, schedule)
    assert not await store.schedules.tick(schedule, [again], next_tick_at=None, reason=None)
    assert await store.schedules.get("ann", schedule.id) == moved
    assert await store.schedules.unended(schedule.id) == (run,)


async def test_a_tick_without_a_run_says_why(store: Store, make: Any) -> None:
    schedule = await store.schedules.insert(make.schedule(await make.stored(store)))
    why = Reason(code="overlap", message="The run before it had not ended.")
    assert await store.schedules.tick(schedule, (), next_tick_at=make.later(60), reason=why)
    assert (await store.schedules.get("ann", schedule.id)).reason == why


async def test_racing_ticks_make_one_run(open_store: Callable[[], Store], make: Any) -> None:
    stores = [open_store() for _ in range(4)]
    await asyncio.gather(*(one.open() for one in stores))
    workload = await make.stored(stores[0])
    schedule = await stores[0].schedules.insert(make.schedule(workload))
    following = make.later(3600)
    done = await asyncio.gather(
        *(
            one.schedules.tick(
                schedule,
                [_tick_run(make, workload, schedule)],
                next_tick_at=following,
                reason=None,
            )
            for one in stores
        )
    )
    assert sorted(done) == [False, False, False, True]
    page = await stores[0].runs.list("ann", RunQuery(schedule_id=schedule.id))
    assert len(page.items) == 1
    await asyncio.gather(*(one.close() for one in stores))


async def test_a_tick_that_comes_again_after_a_change_makes_no_second_run(
    store: Store, make: Any
) -> None:
    workload = await make.stored(store)
    schedule = await store.schedules.insert(make.schedule(workload))
    run = _tick_run(make, workload, schedule)
    await store.schedules.tick(schedule, [run], next_tick_at=make.later(3600), reason=None)
    await store.schedules.replace(schedule)
    again = _tick_run(make, workload, schedule)
    following = make.later(7200)
    assert not await store.schedules.tick(schedule, [again], next_tick_at=following, reason=None)
    assert await store.schedules.unended(schedule.id) == (run,)
    # It is not due for ever.
    assert await store.schedules.next_tick_at() == following


async def test_a_paused_schedule_does_not_tick(store: Store, make: Any) -> None:
    workload = await make.stored(store)
    schedule = await store.schedules.insert(make.schedule(workload))
    await store.schedules.replace(schedule.model_copy(update={"paused": True}))
    run = _tick_run(make, workload, schedule)
    assert not await store.schedules.tick(schedule, [run], next_tick_at=None, reason=None)
    assert await store.schedules.unended(schedule.id) == ()


async def test_a_change_of_a_schedule_keeps_what_its_ticks_told(store: Store, make: Any) -> None:
    schedule = await store.schedules.insert(make.schedule(await make.stored(store)))
    why = Reason(code="overlap", message="Busy.")
    await store.schedules.tick(schedule, (), next_tick_at=make.later(60), reason=why)
    await store.schedules.replace(schedule.model_copy(update={"cron": "5 * * * *"}))
    changed = await store.schedules.get("ann", schedule.id)
    assert (changed.cron, changed.reason) == ("5 * * * *", why)
    assert changed.last_tick_at == schedule.next_tick_at


async def test_a_deleted_schedule_leaves_its_runs(store: Store, make: Any) -> None:
    workload = await make.stored(store)
    schedule = await store.schedules.insert(make.schedule(workload))
    run = await make.queued(store, workload, schedule_id=schedule.id)
    await store.schedules.delete("ann", schedule.id)
    assert (await store.runs.get("ann", run.id)).schedule_id == schedule.id
    with pytest.raises(NotFound):
        await store.schedules.delete("ann", schedule.id)


async def test_ended_runs_of_a_schedule_are_not_unended(store: Store, make: Any) -> None:
    workload = await make.stored(store)
    schedule_id = new_id("sch")
    await make.queued(store, workload, schedule_id=schedule_id, status=Status.FAILED)
    live = await make.queued(store, workload, schedule_id=schedule_id)
    assert await store.schedules.unended(schedule_id) == (live,)
