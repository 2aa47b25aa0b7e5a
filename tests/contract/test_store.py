"""Every store keeps workloads, runs and idempotency keys as its contract says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from himalia.core.errors import Conflict, InvalidInput, NotFound
from himalia.core.model import (
    GraphEdge,
    Progress,
    Reason,
    ResourceUse,
    Snapshot,
    Status,
    Target,
    Versions,
)
from himalia.core.names import new_id
from himalia.core.service import RunQuery
from himalia.core.spec import Condition, Dependency, Retention
from himalia.store.base import Change, Key, Store

pytestmark = pytest.mark.asyncio


def _key(digest: str = "d1", owner: str = "ann") -> Key:
    return Key(owner=owner, key="k1", digest=digest)


async def test_a_workload_comes_back_as_it_went_in(store: Store, make: Any) -> None:
    workload = make.workload(
        name="Größe \U0001f4c8",
        tags=("a", "b"),
        env={"X": "1\n2"},
        parameters={"n": 2**70, "text": 'q"\\\x00\u2028', "deep": [{"a": None}, 1.5]},
        notify=[{"webhook": "https://example.org/x", "secret": "not-to-be-lost"}],
        retention=Retention(keep_runs=3, keep_days=0.5),
    ).model_copy(
        update={
            "snapshot": Snapshot(
                digest="sha256:00", taken_at=make.now, files=1, size_bytes=2, skipped=("x: link",)
            )
        }
    )
    await store.workloads.insert(workload)
    assert await store.workloads.get("ann", "job", workload.id) == workload


async def test_a_run_comes_back_as_it_went_in(store: Store, make: Any) -> None:
    workload = await make.stored(store)
    run = make.run(
        workload,
        status=Status.FAILED,
        reason=Reason(code="cell_failed", message="é\x00", next_step="Look."),
        attempt=2,
        lost_attempts=1,
        progress=Progress(done=1, total=3, current=4),
        parameters={"a": [1, None, "x"]},
        tags=("t",),
        snapshot_digest="sha256:11",
        rerun_of=new_id("run"),
        from_failed_cell=True,
        schedule_id=new_id("sch"),
        tick_at=make.now,
        not_before=make.now + timedelta(microseconds=1),
        started_at=make.now,
        use=ResourceUse(cpu_seconds=1.25, peak_memory_bytes=2**40, wall_seconds=2),
        versions=Versions(kernel="k", interpreter="i", packages_digest="p", himalia="h"),
    )
    await store.runs.insert([run])
    assert await store.runs.get("ann", run.id) == run


async def test_a_workload_shows_its_latest_run(store: Store, make: Any) -> None:
    workload = make.workload()
    first = make.run(workload)
    made = await store.workloads.insert(workload, [first])
    assert made.last_run == first
    second = await make.queued(store, workload)
    assert (await store.workloads.get("ann", "job", workload.id)).last_run == second


async def test_rows_of_others_are_as_absent(store: Store, make: Any) -> None:
    workload = make.workload()
    run = make.run(workload)
    await store.workloads.insert(workload, [run])
    schedule = await store.schedules.insert(make.schedule(workload))
    absent = new_id("wkl")
    for owner, suffix in (("bob", workload.id), ("ann", absent), ("ann", "../x\x00\ud800")):
        for call in (store.workloads.get, store.workloads.delete):
            with pytest.raises(NotFound, match=r"^There is no such workload\.$"):
                await call(owner, "job", suffix)
    for call in (store.runs.get, store.runs.delete):
        with pytest.raises(NotFound, match=r"^There is no such run\.$"):
            await call("bob", run.id)
    with pytest.raises(NotFound):
        await store.runs.request_stop("bob", run.id, make.now)
    for call in (store.schedules.get, store.schedules.delete):
        with pytest.raises(NotFound, match=r"^There is no such schedule\.$"):
            await call("bob", schedule.id)
    with pytest.raises(NotFound):
        await store.workloads.get("ann", "model", workload.id)
    with pytest.raises(NotFound):
        await store.workloads.replace(workload.model_copy(update={"owner": "bob"}))
    with pytest.raises(NotFound):
        await store.schedules.replace(schedule.model_copy(update={"owner": "bob"}))
    with pytest.raises(NotFound):
        await store.schedules.insert(make.schedule(workload, owner="bob"))
    assert await store.workloads.find("bob", [workload.id]) == ()


async def test_find_keeps_the_order_it_was_asked_in(store: Store, make: Any) -> None:
    one, two = [await make.stored(store) for _ in range(2)]
    found = await store.workloads.find("ann", [two.id, new_id("wkl"), one.id, two.id])
    assert found == (two, one)


async def test_known_tells_runs_of_anyone(store: Store, make: Any) -> None:
    runs = [await make.queued(store, await make.stored(store, owner=owner)) for owner in "ab"]
    asked = [run.id for run in runs]
    assert await store.runs.known([*asked, new_id("run"), "not an id"]) == set(asked)
    many = [new_id("run") for _ in range(2500)]
    assert await store.runs.known([*many, asked[0]]) == {asked[0]}


async def test_a_replaced_workload_is_changed_and_keeps_its_runs(store: Store, make: Any) -> None:
    workload = make.workload(tags=("old",))
    await store.workloads.insert(workload, [make.run(workload)])
    other = make.workload(name="new", tags=("new",))
    changed = workload.model_copy(
        update={"name": other.name, "spec": other.spec, "updated_at": make.tick()}
    )
    await store.workloads.replace(changed)
    got = await store.workloads.get("ann", "job", workload.id)
    assert got.model_copy(update={"last_run": None}) == changed
    assert got.last_run is not None


async def test_a_key_used_again_returns_what_it_made(store: Store, make: Any) -> None:
    workload = make.workload()
    made = await store.workloads.insert(workload, [make.run(workload)], key=_key())
    assert await store.workloads.insert(make.workload(), key=_key()) == made
    with pytest.raises(Conflict):
        await store.workloads.insert(make.workload(), key=_key("d2"))
    bob = await store.workloads.insert(make.workload(owner="bob"), key=_key("d2", "bob"))
    assert bob.owner == "bob"
    with pytest.raises(Conflict):
        await store.runs.insert([make.run(workload)], key=_key())


async def test_a_key_is_free_again_once_its_object_is_deleted(store: Store, make: Any) -> None:
    workload = await make.stored(store)
    run = make.run(workload, status=Status.STOPPED)
    assert await store.runs.insert([run], key=_key()) == run
    await store.runs.delete("ann", run.id)
    again = make.run(workload)
    assert await store.runs.insert([again], key=_key()) == again


async def test_the_key_of_a_deleted_workload_is_free_again(store: Store, make: Any) -> None:
    workload = await store.workloads.insert(make.workload(), key=_key())
    await store.workloads.delete("ann", "job", workload.id)
    again = make.workload()
    assert await store.workloads.insert(again, key=_key()) == again


async def test_a_failed_insert_does_not_use_the_key_up(store: Store, make: Any) -> None:
    bad = make.workload(after=[Dependency(workload_id=new_id("wkl"))])
    with pytest.raises(InvalidInput):
        await store.workloads.insert(bad, key=_key())
    good = make.workload()
    assert await store.workloads.insert(good, key=_key()) == good


async def test_racing_inserts_with_one_key_make_one_row(
    open_store: Callable[[], Store], make: Any
) -> None:
    stores = [open_store() for _ in range(4)]
    await asyncio.gather(*(one.open() for one in stores))
    drafts = [make.workload() for _ in range(12)]
    made = await asyncio.gather(
        *(
            stores[n % 4].workloads.insert(draft, [make.run(draft)], key=_key())
            for n, draft in enumerate(drafts)
        )
    )
    assert len({workload.id for workload in made}) == 1
    page = await stores[0].runs.list("ann", RunQuery())
    assert [run.workload_id for run in page.items] == [made[0].id]
    await asyncio.gather(*(one.close() for one in stores))


async def test_dependencies_are_checked_and_listed(store: Store, make: Any) -> None:
    one = await make.stored(store)
    two = await make.stored(store, after=[Dependency(workload_id=one.id, on=Condition.END)])
    assert await store.workloads.edges("ann") == (
        GraphEdge(upstream=one.id, downstream=two.id, on=Condition.END),
    )
    assert await store.workloads.edges("bob") == ()
    with pytest.raises(InvalidInput) as caught:
        await make.stored(store, owner="bob", after=[Dependency(workload_id=one.id)])
    assert caught.value.problems[0].field == "spec.after.0.workload_id"


async def test_a_change_that_would_close_a_cycle_is_refused(store: Store, make: Any) -> None:
    one = await make.stored(store)
    two = await make.stored(store, after=[Dependency(workload_id=one.id)])
    three = await make.stored(store, after=[Dependency(workload_id=two.id)])
    for upstream in (one, two, three):
        spec = one.spec.model_copy(update={"after": (Dependency(workload_id=upstream.id),)})
        with pytest.raises(InvalidInput) as caught:
            await store.workloads.replace(one.model_copy(update={"spec": spec}))
        assert caught.value.problems[0].field == "spec.after.0.workload_id"
    assert await store.workloads.get("ann", "job", one.id) == one


async def test_a_workload_is_deleted_with_all_it_has(store: Store, make: Any) -> None:
    workload = make.workload(tags=("t",))
    runs = [make.run(workload, status=Status.SUCCEEDED, tags=("t",)) for _ in range(2)]
    await store.workloads.insert(workload, runs)
    schedule = await store.schedules.insert(make.schedule(workload))
    gone = await store.workloads.delete("ann", "job", workload.id)
    assert {run.id for run in gone} == {run.id for run in runs}
    with pytest.raises(NotFound):
        await store.schedules.get("ann", schedule.id)
    assert (await store.runs.list("ann", RunQuery())).items == ()


async def test_a_workload_that_runs_or_is_needed_stays(store: Store, make: Any) -> None:
    one = await make.stored(store)
    two = await make.stored(store, name="second", after=[Dependency(workload_id=one.id)])
    with pytest.raises(Conflict, match="'second'"):
        await store.workloads.delete("ann", "job", one.id)
    run = await make.queued(store, two)
    with pytest.raises(Conflict, match="has not ended"):
        await store.workloads.delete("ann", "job", two.id)
    with pytest.raises(Conflict, match="has not ended"):
        await store.runs.delete("ann", run.id)
    await store.runs.request_stop("ann", run.id, make.now)
    await store.workloads.delete("ann", "job", two.id)
    await store.workloads.delete("ann", "job", one.id)


async def test_a_run_of_a_workload_that_is_gone_is_refused(store: Store, make: Any) -> None:
    workload = await make.stored(store)
    await store.workloads.delete("ann", "job", workload.id)
    with pytest.raises(NotFound):
        await make.queued(store, workload)


async def test_snapshots_are_needed_by_workloads_and_by_runs(store: Store, make: Any) -> None:
    workload = make.workload().model_copy(
        update={"snapshot": Snapshot(digest="new", taken_at=make.now, files=0, size_bytes=0)}
    )
    await store.workloads.insert(workload)
    run = await make.queued(store, workload, status=Status.STOPPED, snapshot_digest="old")
    assert await store.workloads.snapshots() == {"new", "old"}
    await store.runs.delete("ann", run.id)
    assert await store.workloads.snapshots() == {"new"}


@pytest.mark.parametrize("status", [Status.WAITING, Status.QUEUED])
async def test_a_run_that_nobody_holds_is_stopped_at_once(
    store: Store, make: Any, status: Status
) -> None:
    run = await make.queued(store, await make.stored(store), status=status)
    now = make.tick()
    stopped = await store.runs.request_stop("ann", run.id, now)
    assert (stopped.status, stopped.target, stopped.ended_at) == (
        Status.STOPPED,
        Target.STOP,
        now,
    )
    assert stopped.reason is not None
    assert stopped.reason.code == "stopped_by_user"
    assert await store.runs.request_stop("ann", run.id, make.tick()) == stopped
    assert await make.claimed(store) == ()


async def test_a_held_run_is_only_asked_to_stop(store: Store, make: Any) -> None:
    held = await make.held(store, await make.stored(store))
    why = Reason(code="replaced", message="Replaced.")
    asked = await store.runs.request_stop("ann", held.run.id, make.now, reason=why)
    assert (asked.status, asked.target, asked.reason) == (Status.STARTING, Target.STOP, why)
    assert await store.holds.stopping("h1") == (asked,)
    assert await store.holds.stopping("h2") == ()
    await store.holds.change(held.run.id, held.token, Change(status=Status.STOPPED))
    assert await store.holds.stopping("h1") == ()


async def test_waiting_runs_come_with_their_flow_and_settle_once(store: Store, make: Any) -> None:
    workload = await make.stored(store)
    first = await make.queued(store, workload, status=Status.SUCCEEDED)
    waits = await make.queued(store, workload, status=Status.WAITING, flow_id=first.id)
    await make.queued(store, workload)
    assert await store.runs.waiting() == ((first, waits),)
    why = Reason(code="upstream_not_met", message="No.")
    settled = await store.runs.settle(waits.id, Status.SKIPPED, why)
    assert settled is not None
    assert (settled.status, settled.reason, settled.revision) == (Status.SKIPPED, why, 1)
    assert settled.ended_at is not None
    assert await store.runs.settle(waits.id, Status.QUEUED, None) is None
    assert await store.runs.waiting() == ()


async def test_retention_tells_the_oldest_ended_runs(store: Store, make: Any) -> None:
    few = await make.stored(store, retention=Retention(keep_runs=2))
    brief = await make.stored(store, retention=Retention(keep_days=1))
    all_kept = await make.stored(store)
    runs = {
        workload.id: [await make.queued(store, workload, status=Status.SUCCEEDED) for _ in range(4)]
        for workload in (few, brief, all_kept)
    }
    await make.queued(store, few)
    soon = await store.runs.expired(make.later(60), 100)
    assert soon == tuple(runs[few.id][:2])
    later = await store.runs.expired(make.later(2 * 86_400), 100)
    assert later == (*runs[few.id][:2], *runs[brief.id])
    assert await store.runs.expired(make.later(2 * 86_400), 3) == later[:3]


async def test_retention_keeps_what_unended_runs_need(store: Store, make: Any) -> None:
    workload = await make.stored(store, retention=Retention(keep_runs=1))
    first = await make.queued(store, workload, status=Status.SUCCEEDED)
    second = await make.queued(store, workload, status=Status.FAILED)
    await make.queued(store, workload, status=Status.SUCCEEDED)
    waits = await make.queued(store, workload, status=Status.WAITING, flow_id=first.id)
    again = await make.queued(store, workload, rerun_of=second.id)
    assert await store.runs.expired(make.now, 10) == ()
    for run in (waits, again):
        await store.runs.request_stop("ann", run.id, make.tick())
    expired = await store.runs.expired(make.now, 10)
    assert {first.id, second.id} <= {run.id for run in expired}
