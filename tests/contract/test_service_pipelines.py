"""Every service: what runs after something else, and what runs at times."""

from __future__ import annotations

import pytest

from himalia.core.errors import Conflict, InvalidInput, NotFound
from himalia.core.model import ScheduleDraft, SchedulePatch, Status, Trigger, WorkloadPatch
from himalia.core.service import RunQuery, ScheduleQuery
from himalia.core.spec import Condition, Dependency, Spec

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_what_depends_on_a_job_runs_after_it_or_is_skipped(alice):
    first = await alice.create(alice.notebook("a.ipynb", "1"), run=False)
    after = await alice.create(
        alice.notebook("b.ipynb", "1"), run=False, after=(Dependency(workload_id=first.id),)
    )
    mourner = await alice.create(
        alice.notebook("c.ipynb", "1"),
        run=False,
        after=(Dependency(workload_id=first.id, on=Condition.FAILURE),),
    )
    run = await alice.start(first)
    runs = {}
    for workload in (after, mourner):
        page = await alice.service.runs.list(alice.caller, RunQuery(workload_id=workload.id))
        (runs[workload.id],) = page.items
        assert page.items[0].flow_id == run.id
        assert page.items[0].trigger is Trigger.DEPENDENCY
    assert (await alice.ended(runs[after.id])).status is Status.SUCCEEDED
    skipped = await alice.ended(runs[mourner.id])
    assert skipped.status is Status.SKIPPED
    assert skipped.reason is not None
    assert skipped.reason.code == "upstream_not_met"


async def test_a_job_made_while_what_it_follows_runs_waits_for_it(alice):
    first = await alice.create(alice.notebook("a.ipynb", "import time; time.sleep(600)"))
    after = await alice.create(
        alice.notebook("b.ipynb", "1"), after=(Dependency(workload_id=first.id, on=Condition.END),)
    )
    assert first.last_run is not None
    assert after.last_run is not None
    assert after.last_run.status is Status.WAITING
    await alice.service.runs.stop(alice.caller, first.last_run.id)
    assert (await alice.ended(after.last_run)).status is Status.SUCCEEDED


async def test_a_graph_shows_the_whole_pipeline_from_any_of_its_jobs(alice):
    first = await alice.idle()
    second = await alice.idle(after=(Dependency(workload_id=first.id),))
    third = await alice.idle(after=(Dependency(workload_id=second.id, on=Condition.END),))
    await alice.idle()
    graphs = [
        await alice.service.workloads.graph(alice.caller, "job", workload.id)
        for workload in (first, second, third)
    ]
    assert graphs[0] == graphs[1] == graphs[2]
    assert {node.workload_id for node in graphs[0].nodes} == {first.id, second.id, third.id}
    assert {(edge.upstream, edge.downstream, edge.on) for edge in graphs[0].edges} == {
        (first.id, second.id, Condition.SUCCESS),
        (second.id, third.id, Condition.END),
    }


async def test_a_cycle_is_refused(alice):
    first = await alice.idle()
    second = await alice.idle(after=(Dependency(workload_id=first.id),))
    spec = first.spec.model_copy(update={"after": (Dependency(workload_id=second.id),)})
    with pytest.raises(InvalidInput) as caught:
        await alice.service.workloads.update(
            alice.caller, "job", first.id, WorkloadPatch[Spec](spec=spec)
        )
    assert alice.fields(caught) == {"spec.after.0.workload_id"}


async def test_what_others_depend_on_is_not_deleted(alice):
    first = await alice.idle()
    await alice.idle(after=(Dependency(workload_id=first.id),))
    with pytest.raises(Conflict):
        await alice.service.workloads.delete(alice.caller, "job", first.id)


async def test_a_schedule_is_made_read_changed_paused_and_deleted(alice):
    workload = await alice.idle()
    schedules = alice.service.schedules
    made = await alice.schedule(workload)
    assert made.next_tick_at is not None
    assert made.workload_name == workload.name
    assert await schedules.get(alice.caller, made.id) == made
    changed = await schedules.update(alice.caller, made.id, SchedulePatch(cron="0 4 2 2 *"))
    assert changed.next_tick_at is not None
    assert (changed.next_tick_at.month, changed.next_tick_at.day) == (2, 2)
    paused = await schedules.update(alice.caller, made.id, SchedulePatch(paused=True))
    assert paused.next_tick_at is None
    resumed = await schedules.update(alice.caller, made.id, SchedulePatch(paused=False))
    assert resumed.next_tick_at == changed.next_tick_at
    await schedules.delete(alice.caller, made.id)
    with pytest.raises(NotFound):
        await schedules.get(alice.caller, made.id)


async def test_schedules_are_listed_by_workload_and_pause(alice):
    workload = await alice.idle()
    on, off = await alice.schedule(workload), await alice.schedule(workload, paused=True)
    query = ScheduleQuery(workload_id=workload.id)
    page = await alice.service.schedules.list(alice.caller, query)
    assert {item.id for item in page.items} == {on.id, off.id}
    query = ScheduleQuery(workload_id=workload.id, paused=True)
    page = await alice.service.schedules.list(alice.caller, query)
    assert [item.id for item in page.items] == [off.id]


async def test_a_wrong_line_or_zone_of_a_schedule_is_named(alice):
    workload = await alice.idle()
    with pytest.raises(InvalidInput) as caught:
        await alice.schedule(workload, cron="0 0 30 2 *", time_zone="Mars/Olympus")
    assert alice.fields(caught) == {"cron", "time_zone"}
    made = await alice.schedule(workload)
    with pytest.raises(InvalidInput) as caught:
        await alice.service.schedules.update(alice.caller, made.id, SchedulePatch(cron="nope"))
    assert alice.fields(caught) == {"cron"}
    await alice.service.schedules.delete(alice.caller, made.id)


async def test_the_parameters_of_a_schedule_are_checked_when_it_is_made_and_changed(alice):
    notebook = alice.notebook("nb.ipynb", "a", parameters="a = 1")
    workload = await alice.create(notebook, run=False)
    with pytest.raises(InvalidInput) as caught:
        await alice.schedule(workload, parameters={"nope": 1})
    assert alice.fields(caught) == {"parameters.nope"}
    made = await alice.schedule(workload, parameters={"a": 2})
    schedules = alice.service.schedules
    with pytest.raises(InvalidInput) as caught:
        await schedules.update(alice.caller, made.id, SchedulePatch(parameters={"nope": 1}))
    assert alice.fields(caught) == {"parameters.nope"}
    changed = await schedules.update(alice.caller, made.id, SchedulePatch(parameters={}))
    assert (changed.parameters, changed.next_tick_at) == ({}, made.next_tick_at)


@pytest.mark.parametrize("count", [0, 101])
async def test_a_preview_shows_from_one_to_a_hundred_ticks(alice, count):
    with pytest.raises(InvalidInput) as caught:
        await alice.service.schedules.preview(alice.caller, "* * * * *", "UTC", count)
    assert alice.fields(caught) == {"count"}


async def test_the_same_key_makes_one_schedule(alice):
    workload = await alice.idle()
    draft = ScheduleDraft(workload_id=workload.id, cron="0 3 1 1 *")
    made = [
        await alice.service.schedules.create(alice.caller, draft, idempotency_key="key")
        for _ in range(2)
    ]
    assert made[0] == made[1]


async def test_a_preview_shows_the_next_ticks_and_the_line_in_words(alice):
    ticks = await alice.service.schedules.preview(alice.caller, "0 6 * * 1-5", "Europe/Paris")
    assert len(ticks.ticks) == 10
    assert list(ticks.ticks) == sorted(ticks.ticks)
    assert ticks.words == "At 06:00 on Monday through Friday"
    with pytest.raises(InvalidInput) as caught:
        await alice.service.schedules.preview(alice.caller, "x", "UTC")
    assert alice.fields(caught) == {"cron"}
