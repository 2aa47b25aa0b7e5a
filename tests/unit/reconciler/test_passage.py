"""The passage of flows: what waits runs or is skipped, whatever is killed in between."""

from __future__ import annotations

from typing import Any

import pytest

from himalia.core.model import Reason, Status
from himalia.core.names import attempt_name
from himalia.core.spec import Condition, Dependency

pytestmark = pytest.mark.asyncio

BROKEN = Reason(code="cell_failed", message="Cell 3 raised ZeroDivisionError.")


async def test_a_dependent_runs_when_what_it_waits_for_has_succeeded(world: Any) -> None:
    first = await world.workload()
    after = (Dependency(workload_id=first.id, on=Condition.SUCCESS),)
    second = await world.workload(world.spec(after=after))
    run = await world.submit(first)
    world.reconciler()
    (dependent,) = await world.runs(workload_id=second.id)
    assert dependent.status is Status.WAITING
    await world.until_attempt(attempt_name(run.id, 1))
    world.cluster.end(attempt_name(run.id, 1))
    await world.until_attempt(attempt_name(dependent.id, 1))
    world.cluster.end(attempt_name(dependent.id, 1))
    await world.until_status(dependent, Status.SUCCEEDED)


async def test_a_failure_skips_the_whole_line_of_dependents(world: Any) -> None:
    line = [await world.workload()]
    for _ in range(3):
        after = (Dependency(workload_id=line[-1].id, on=Condition.SUCCESS),)
        line.append(await world.workload(world.spec(after=after)))
    run = await world.submit(line[0])
    world.reconciler()
    await world.until_attempt(attempt_name(run.id, 1))
    world.cluster.end(attempt_name(run.id, 1), Status.FAILED, BROKEN)
    for workload in line[1:]:
        (dependent,) = await world.runs(workload_id=workload.id)
        skipped = await world.until_status(dependent, Status.SKIPPED)
        assert skipped.reason.code == "upstream_not_met"
    assert world.cluster.executions == [attempt_name(run.id, 1)]


async def test_a_dependent_is_judged_after_a_crash_between_the_end_and_the_judgement(
    world: Any,
) -> None:
    first = await world.workload()
    after = (Dependency(workload_id=first.id, on=Condition.END),)
    second = await world.workload(world.spec(after=after))
    run = await world.submit(first)
    (held,) = await world.store.holds.claim(
        "gone", now=world.clock(), lease_until=world.clock(), limit=1
    )
    assert held.run.id == run.id
    world.cluster.end(attempt_name(run.id, 1))
    world.reconciler()
    (dependent,) = await world.runs(workload_id=second.id)
    await world.until_attempt(attempt_name(dependent.id, 1))
