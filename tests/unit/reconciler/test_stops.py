"""Stops: whatever moment they come at, a run that should stop does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from himalia.core.model import Reason, Status
from himalia.core.names import attempt_name
from himalia.core.spec import Retries
from himalia.store.base import Change

pytestmark = pytest.mark.asyncio

BROKEN = Reason(code="cell_failed", message="Cell 3 raised ZeroDivisionError.")


async def test_stopping_a_running_run(world: Any) -> None:
    run = await world.submit()
    reconciler = world.reconciler()
    await world.until_status(run, Status.RUNNING)
    await world.store.runs.request_stop(world.owner, run.id, world.clock())
    reconciler.wake()
    ended = await world.until_status(run, Status.STOPPED)
    assert ended.reason.code == "stopped_by_user"
    assert world.cluster.stops == [attempt_name(run.id, 1)]


async def test_a_stop_that_comes_while_the_attempt_is_being_started(world: Any) -> None:
    run = await world.submit()
    may_go_on = asyncio.Event()
    world.backend.before["start"] = lambda _: may_go_on.wait()
    reconciler = world.reconciler()
    await world.until_status(run, Status.STARTING)
    await world.store.runs.request_stop(world.owner, run.id, world.clock())
    reconciler.wake()
    may_go_on.set()
    await world.until_status(run, Status.STOPPED)


async def test_a_stop_before_the_start_prevents_it(world: Any) -> None:
    run = await world.submit()
    first = world.reconciler()
    world.backend.before["start"] = lambda _: asyncio.sleep(3600)
    await world.until_status(run, Status.STARTING)
    await world.kill(first)
    await world.store.runs.request_stop(world.owner, run.id, world.clock())
    world.reconciler(backend=world.another_backend())
    await world.until_status(run, Status.STOPPED)
    assert world.cluster.executions == []


async def test_a_stop_that_meets_a_failure_costs_no_further_attempt(world: Any) -> None:
    run = await world.submit(retries=Retries(count=3, delay_seconds=0))
    reconciler = world.reconciler()
    await world.until_status(run, Status.RUNNING)
    name = attempt_name(run.id, 1)
    world.backend.before["stop"] = lambda _: world.cluster.end(name, Status.FAILED, BROKEN)
    await world.store.runs.request_stop(world.owner, run.id, world.clock())
    reconciler.wake()
    await world.until_status(run, Status.FAILED, Status.STOPPED)
    assert world.cluster.executions == [name]


async def test_a_stop_that_comes_while_a_retry_is_written_is_not_forgotten(world: Any) -> None:
    run = await world.submit(retries=Retries(count=3, delay_seconds=0))
    change = world.store.holds.change

    async def stopped_meanwhile(run_id: str, token: int, new: Any) -> Any:
        if new.status is Status.QUEUED:
            await world.store.runs.request_stop(world.owner, run_id, world.clock())
        return await change(run_id, token, new)

    world.store.holds.change = stopped_meanwhile
    world.reconciler()
    await world.until_attempt(attempt_name(run.id, 1))
    world.cluster.end(attempt_name(run.id, 1), Status.FAILED, BROKEN)
    await world.until_status(run, Status.STOPPED)
    assert len(world.cluster.executions) == 1


async def test_a_run_that_was_queued_again_to_be_stopped_is_stopped(world: Any) -> None:
    run = await world.submit()
    now = world.clock()
    (held,) = await world.store.holds.claim("t", now=now, lease_until=now, limit=1)
    await world.store.runs.request_stop(world.owner, run.id, now)
    # As after a crash right between the two.
    await world.store.holds.change(run.id, held.token, Change(status=Status.QUEUED))
    world.reconciler()
    await world.until_status(run, Status.STOPPED)
    assert world.cluster.executions == []
