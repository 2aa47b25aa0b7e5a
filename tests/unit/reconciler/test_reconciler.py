"""The reconciler: what is queued runs once, ends once, and is found again."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest

from himalia.backends.base import Observation, Phase
from himalia.core import execution
from himalia.core.errors import InvalidInput, Unavailable
from himalia.core.model import Reason, Status
from himalia.core.names import attempt_name
from himalia.core.spec import Retries
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio

BROKEN = Reason(code="cell_failed", message="Cell 3 raised ZeroDivisionError.")


async def test_a_queued_run_starts_runs_and_succeeds(world: Any) -> None:
    run = await world.submit()
    world.reconciler()
    running = await world.until_status(run, Status.RUNNING)
    assert running.attempt == 1
    assert running.started_at is not None
    world.cluster.end(attempt_name(run.id, 1))
    ended = await world.until_status(run, Status.SUCCEEDED)
    assert ended.reason is None
    assert ended.ended_at is not None
    assert ended.use is not None
    assert ended.use.cpu_seconds == 1.0
    assert ended.versions is not None
    assert ended.versions.kernel == "toy"


async def test_waking_it_starts_a_run_without_waiting_for_a_sweep(world: Any) -> None:
    world.cluster.ends_at_once = True
    reconciler = world.reconciler()
    await world.until_status(await world.submit(), Status.QUEUED)
    await asyncio.sleep(0.3)
    seconds = []
    for _ in range(3):
        run = await world.submit()
        began = time.monotonic()
        with reconciler.listen(run.id) as changed:
            reconciler.wake()
            while not (await world.run(run.id)).status.is_terminal:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await changed.wait()
                changed.clear()
        seconds.append(time.monotonic() - began)
    # Sweeps are 5 s apart; the best of three does not depend on how busy the machine is.
    assert min(seconds) < 1.0


async def test_no_more_runs_start_than_there_are_slots(world: Any) -> None:
    runs = [await world.submit() for _ in range(5)]
    world.reconciler(max_running=2)
    await world.until(lambda: len(world.cluster.executions) == 2)
    for done in range(1, 5):
        name = world.cluster.executions[done - 1]
        world.cluster.end(name)
        await world.until(lambda: len(world.cluster.executions) >= min(done + 2, 5))  # noqa: B023
        assert len(world.cluster.executions) <= done + 2
    world.cluster.end(world.cluster.executions[4])
    for run in runs:
        await world.until_status(run, Status.SUCCEEDED)


async def test_a_failed_run_fails_with_its_reason(world: Any) -> None:
    run = await world.submit()
    world.reconciler()
    await world.until_attempt(attempt_name(run.id, 1))
    world.cluster.end(attempt_name(run.id, 1), Status.FAILED, BROKEN)
    assert (await world.until_status(run, Status.FAILED)).reason == BROKEN


async def test_a_retry_says_which_attempt_failed_and_a_later_success_forgets_it(
    world: Any,
) -> None:
    run = await world.submit(retries=Retries(count=2, delay_seconds=0.2))
    world.reconciler()
    await world.until_attempt(attempt_name(run.id, 1))
    world.cluster.end(attempt_name(run.id, 1), Status.FAILED, BROKEN)
    queued = await world.until_status(run, Status.QUEUED)
    assert queued.reason.code == "cell_failed"
    assert queued.reason.message == "Attempt 1 of 3 failed: Cell 3 raised ZeroDivisionError."
    assert queued.not_before is not None
    await world.until_attempt(attempt_name(run.id, 2))
    world.cluster.end(attempt_name(run.id, 2))
    ended = await world.until_status(run, Status.SUCCEEDED)
    assert (ended.attempt, ended.reason) == (2, None)


async def test_why_an_attempt_waits_is_said_until_that_is_over(world: Any) -> None:
    run = await world.submit()
    world.cluster.barred.add(name := attempt_name(run.id, 1))
    world.reconciler()
    full, empty = (Reason(code=code, message=code) for code in ("full", "empty"))
    for seen in (
        Observation(phase=Phase.STARTING, reason=full),
        Observation(phase=Phase.STARTING, reason=empty),
        Observation(phase=Phase.STARTING),
        Observation(phase=Phase.STARTING, reason=full),
        Observation(phase=Phase.RUNNING),
        Observation(phase=Phase.RUNNING, reason=empty),
        Observation(phase=Phase.RUNNING),
    ):
        world.cluster.show(name, seen)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await world.run(run.id)).reason != seen.reason:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    world.cluster.end(name)
    assert (await world.until_status(run, Status.SUCCEEDED)).reason is None


async def test_a_run_that_nobody_can_see_says_why_and_goes_on(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "_UNSEEN_SECONDS", 0.3)
    run = await world.submit()
    world.reconciler(observe_seconds=0.05)
    await world.until_status(run, Status.RUNNING)
    world.backend.silent = "The lights are out."
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (now := await world.run(run.id)).reason is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert (now.status, now.reason.code) == (Status.RUNNING, "out_of_sight")
    assert "The lights are out." in now.reason.message
    assert now.reason.next_step
    world.backend.silent = "It is dark."
    await asyncio.sleep(0.3)
    # What is said is not said anew at each look.
    assert await world.run(run.id) == now
    world.backend.silent = ""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (now := await world.run(run.id)).reason is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert now.status is Status.RUNNING
    world.cluster.end(attempt_name(run.id, 1))
    assert (await world.until_status(run, Status.SUCCEEDED)).lost_attempts == 0


async def test_retries_are_counted(world: Any) -> None:
    run = await world.submit(retries=Retries(count=1, delay_seconds=0))
    world.reconciler()
    for attempt in (1, 2):
        await world.until_attempt(attempt_name(run.id, attempt))
        world.cluster.end(attempt_name(run.id, attempt), Status.FAILED, BROKEN)
    assert (await world.until_status(run, Status.FAILED)).attempt == 2


async def test_a_lost_attempt_is_replaced_without_costing_a_retry(world: Any) -> None:
    run = await world.submit()
    world.reconciler()
    await world.until_attempt(attempt_name(run.id, 1))
    world.cluster.lose(attempt_name(run.id, 1))
    await world.until_attempt(attempt_name(run.id, 2))
    world.cluster.end(attempt_name(run.id, 2))
    ended = await world.until_status(run, Status.SUCCEEDED)
    assert (ended.attempt, ended.lost_attempts) == (2, 1)


async def test_a_run_whose_attempts_keep_vanishing_fails(world: Any) -> None:
    run = await world.submit(retries=Retries(count=5))
    world.reconciler()
    for attempt in (1, 2, 3, 4):
        await world.until_attempt(attempt_name(run.id, attempt))
        world.cluster.lose(attempt_name(run.id, attempt))
    ended = await world.until_status(run, Status.FAILED)
    assert ended.reason.code == "attempts_lost"
    assert len(world.cluster.executions) == 4


async def test_a_late_result_of_a_lost_attempt_is_never_the_runs(world: Any) -> None:
    run = await world.submit()
    world.reconciler()
    await world.until_attempt(attempt_name(run.id, 1))
    world.cluster.lose(attempt_name(run.id, 1))
    await world.until_attempt(attempt_name(run.id, 2))
    world.cluster.end(attempt_name(run.id, 1), Status.SUCCEEDED)
    world.cluster.end(attempt_name(run.id, 2), Status.FAILED, BROKEN)
    assert (await world.until_status(run, Status.FAILED)).attempt == 2
    assert attempt_name(run.id, 1) in world.cluster.attempts


async def test_a_backend_that_cannot_start_just_now_is_asked_again(world: Any) -> None:
    run = await world.submit()
    refusals = iter([Unavailable("There is no disk space left."), None])

    def refuse(_: str) -> None:
        error = next(refusals)
        if error is not None:
            raise error

    world.backend.before["start"] = refuse
    world.reconciler()
    put_off = await world.until_status(run, Status.QUEUED, Status.RUNNING)
    await world.until_attempt(attempt_name(run.id, 1))
    world.cluster.end(attempt_name(run.id, 1))
    ended = await world.until_status(run, Status.SUCCEEDED)
    assert (ended.attempt, ended.lost_attempts) == (1, 0)
    assert put_off.status is not Status.QUEUED or put_off.created_at == run.created_at


async def test_a_start_that_took_effect_but_seemed_to_fail_is_found_again(world: Any) -> None:
    run = await world.submit()

    def time_out(_: str) -> None:
        world.backend.after.clear()
        raise TimeoutError

    world.backend.after["start"] = time_out
    world.reconciler()
    await world.until_status(run, Status.RUNNING)
    world.cluster.end(attempt_name(run.id, 1))
    assert (await world.until_status(run, Status.SUCCEEDED)).attempt == 1
    assert world.cluster.executions == [attempt_name(run.id, 1)]


async def test_a_plan_that_cannot_be_made_fails_the_run_at_once(world: Any) -> None:
    world.kind.plan_error = InvalidInput.of("environment", "there is no kernel called x")
    run = await world.submit()
    world.reconciler()
    ended = await world.until_status(run, Status.FAILED)
    assert ended.reason.code == "environment_missing"
    assert ended.reason.next_step


async def test_one_bad_run_does_not_stop_the_others(world: Any) -> None:
    bad = await world.submit()
    good = await world.submit()
    bad_name = attempt_name(bad.id, 1)

    def explode(name: str) -> None:
        if name == bad_name:
            raise RuntimeError("a bug")

    world.backend.before["observe"] = explode
    world.reconciler()
    await world.until_attempt(attempt_name(good.id, 1))
    world.cluster.end(attempt_name(good.id, 1))
    await world.until_status(good, Status.SUCCEEDED)
    ended = await world.until_status(bad, Status.FAILED)
    assert ended.reason.code == "internal"
    assert bad_name in world.cluster.stops


async def test_a_new_process_takes_over_what_runs(world: Any) -> None:
    run = await world.submit()
    first = world.reconciler()
    await world.until_status(run, Status.RUNNING)
    await world.kill(first)
    world.cluster.end(attempt_name(run.id, 1))
    world.reconciler(backend=world.another_backend())
    assert (await world.until_status(run, Status.SUCCEEDED)).attempt == 1
    assert len(world.cluster.executions) == 1


async def test_an_attempt_that_was_claimed_but_never_started_starts_after_a_crash(
    world: Any,
) -> None:
    run = await world.submit()
    world.backend.before["start"] = lambda _: asyncio.sleep(3600)
    first = world.reconciler()
    await world.until_status(run, Status.STARTING)
    await world.kill(first)
    world.reconciler(backend=world.another_backend())
    await world.until_attempt(attempt_name(run.id, 1))
    assert (await world.until_status(run, Status.RUNNING)).attempt == 1


async def test_a_reconciler_whose_lease_was_taken_lets_go(world: Any) -> None:
    run = await world.submit()
    stale = world.reconciler(holder="one", lease_seconds=2)
    await world.until_status(run, Status.RUNNING)
    later = world.clock() + timedelta(seconds=60)
    (held,) = await world.store.holds.take_over(
        "two", now=later, lease_until=later + timedelta(seconds=60)
    )
    world.cluster.end(attempt_name(run.id, 1))
    await world.until(lambda: stale.running == 0)
    assert (await world.run(run.id)).status is Status.RUNNING
    assert held.run.id == run.id


async def test_of_two_reconcilers_one_starts_and_one_ends_each_run(world: Any) -> None:
    world.cluster.ends_at_once = True
    runs = [await world.submit() for _ in range(30)]
    pair = [
        world.reconciler(holder=holder, backend=world.another_backend(), max_running=5)
        for holder in ("one", "two")
    ]
    for reconciler in pair:
        reconciler.wake()
    for run in runs:
        ended = await world.until_status(run, Status.SUCCEEDED)
        assert ended.attempt == 1
    assert sorted(world.cluster.executions) == sorted(attempt_name(run.id, 1) for run in runs)


async def test_when_one_of_two_dies_the_other_takes_its_runs_after_the_lease(world: Any) -> None:
    run = await world.submit()
    first = world.reconciler(holder="one", lease_seconds=1)
    await world.until_status(run, Status.RUNNING)
    await world.kill(first)
    world.reconciler(
        holder="two", lease_seconds=1, sweep_seconds=0.2, backend=world.another_backend()
    )
    world.cluster.end(attempt_name(run.id, 1))
    assert (await world.until_status(run, Status.SUCCEEDED)).attempt == 1


async def test_leaders_that_come_and_go_never_run_an_attempt_twice(world: Any) -> None:
    runs = [await world.submit() for _ in range(10)]
    reconciler = world.reconciler(holder="0", lease_seconds=0.5, max_running=10)
    for turn in range(1, 8):
        await asyncio.sleep(0.05)
        await world.kill(reconciler)
        reconciler = world.reconciler(
            holder=str(turn % 2),
            lease_seconds=0.5,
            sweep_seconds=0.2,
            max_running=10,
            backend=world.another_backend(),
        )
    await world.until(lambda: len(world.cluster.executions) == 10)
    for name in tuple(world.cluster.executions):
        world.cluster.end(name)
    for run in runs:
        assert (await world.until_status(run, Status.SUCCEEDED)).lost_attempts == 0
    assert len(world.cluster.executions) == 10


async def test_progress_reaches_the_store(world: Any) -> None:
    run = await world.submit()
    world.reconciler()
    await world.until_status(run, Status.RUNNING)
    world.cluster.progress(attempt_name(run.id, 1), 3, 7)

    async def told() -> bool:
        progress = (await world.run(run.id)).progress
        return (progress.done, progress.total) == (3, 7)

    await world.until(told)


async def test_a_runner_that_ignores_its_timeout_is_ended_from_outside(world: Any) -> None:
    run = await world.submit(timeout_seconds=5)
    world.reconciler(lease_seconds=10_000)
    await world.until_status(run, Status.RUNNING)
    world.now_offset = timedelta(seconds=120)
    ended = await world.until_status(run, Status.FAILED)
    assert ended.reason.code == "timed_out"


async def test_a_store_that_is_away_for_a_while_costs_nothing(world: Any) -> None:
    run = await world.submit()
    reconciler = world.reconciler()
    await world.until_status(run, Status.RUNNING)
    change, is_away = world.store.holds.change, True

    async def away(*args: Any) -> Any:
        if is_away:
            raise Unavailable("The disk is full.")
        return await change(*args)

    world.store.holds.change = away
    world.cluster.end(attempt_name(run.id, 1))
    await asyncio.sleep(0.5)
    assert reconciler.running == 1
    is_away = False
    assert (await world.until_status(run, Status.SUCCEEDED)).attempt == 1
    assert world.cluster.stops == []
