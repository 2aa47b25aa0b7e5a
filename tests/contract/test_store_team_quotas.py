"""Every store starts no run beyond a quota, however many processes claim at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from himalia.core.errors import NotFound
from himalia.core.model import Run, Status, Workload
from himalia.core.spec import Spec
from himalia.core.team import Person, Quota, UsageEntry
from himalia.store.base import Change, Held, Store

pytestmark = pytest.mark.asyncio

GIB = 2**30


async def _people(store: Store, make: Any, **groups: tuple[str, ...]) -> None:
    at = make.now
    await store.team.people.seen(
        Person(owner=name, name=name, groups=of, first_seen_at=at, last_seen_at=at)
        for name, of in groups.items()
    )


async def _quota(store: Store, scope: str, subject: str = "", **limits: Any) -> Quota:
    quota = Quota.model_validate({"scope": scope, "subject": subject, **limits})
    await store.team.quotas.put(quota)
    return quota


async def _end(store: Store, held: Held) -> None:
    assert await store.holds.change(held.run.id, held.token, Change(status=Status.SUCCEEDED))


def _ids(held: tuple[Held, ...]) -> list[str]:
    return [one.run.id for one in held]


async def _reason(store: Store, run: Run) -> str | None:
    found = await store.runs.get(run.owner, run.id)
    assert found.status is Status.QUEUED
    return None if found.reason is None else found.reason.code


async def test_quotas_are_kept_by_scope_and_subject(store: Store) -> None:
    quotas = store.team.quotas
    everyone = await _quota(store, "everyone", running=1)
    red = await _quota(store, "group", "red", cpu=2.5, memory_bytes=GIB, run_hours=10)
    await _quota(store, "user", "ann", running=1)
    ann = await _quota(store, "user", "ann", running=5)
    assert await quotas.all() == (everyone, red, ann)
    await quotas.remove("group", "red")
    assert await quotas.all() == (everyone, ann)
    with pytest.raises(NotFound):
        await quotas.remove("group", "red")


async def test_runs_beyond_a_quota_wait_and_say_why(store: Store, make: Any) -> None:
    await _quota(store, "everyone", running=2)
    workload = await make.stored(store)
    runs = [await make.queued(store, workload) for _ in range(4)]
    first, second = await make.claimed(store)
    waiting = await store.runs.get("ann", runs[2].id)
    assert waiting.reason is not None
    assert waiting.reason.code == "quota"
    assert "2 runs at once" in waiting.reason.message
    assert "by itself" in waiting.reason.next_step
    assert waiting.position == 1
    assert (await store.runs.get("ann", runs[3].id)).position == 2
    assert await make.claimed(store) == ()
    assert (await store.runs.get("ann", runs[2].id)).revision == waiting.revision
    await _end(store, first)
    (third,) = await make.claimed(store)
    assert third.run.id == runs[2].id
    assert third.run.reason is None
    assert await _reason(store, runs[3]) == "quota"
    await store.team.quotas.remove("everyone", "")
    (fourth,) = await make.claimed(store)
    assert fourth.run.reason is None
    assert {second.run.id, fourth.run.id} == {runs[1].id, runs[3].id}


async def test_a_reason_goes_with_the_quota_while_others_run(store: Store, make: Any) -> None:
    await _quota(store, "user", "ann", running=0)
    await _people(store, make, ann=(), bob=())
    kept = [await make.queued(store, await make.stored(store)) for _ in range(2)]
    for run in kept:
        assert await make.claimed(store) == ()
        assert await _reason(store, run) == "quota"
    await store.team.quotas.remove("user", "ann")
    assert _ids(await make.claimed(store, limit=1)) == [kept[0].id]


@pytest.mark.parametrize(
    ("limits", "resources", "starts"),
    [
        ({"cpu": 4}, {"cpu": 1.5}, 2),
        ({"cpu": 0.3}, {"cpu": 0.1}, 3),
        ({"cpu": 2}, {}, 2),
        ({"memory_bytes": 5 * GIB}, {"memory_bytes": 2 * GIB}, 2),
        ({"memory_bytes": 5 * GIB}, {}, 4),
        ({"running": 3, "cpu": 2, "memory_bytes": GIB}, {"memory_bytes": GIB}, 1),
        ({"running": 0}, {}, 0),
    ],
)
async def test_what_runs_ask_for_is_counted(
    store: Store, make: Any, limits: dict[str, Any], resources: dict[str, Any], starts: int
) -> None:
    await _quota(store, "everyone", **limits)
    workload = await make.stored(store, resources=resources)
    for _ in range(4):
        await make.queued(store, workload)
    assert len(await make.claimed(store)) == starts
    assert await make.claimed(store) == ()


async def test_a_run_that_asked_for_more_is_counted_as_it_was_made(store: Store, make: Any) -> None:
    await _quota(store, "everyone", cpu=4)
    workload: Workload[Spec] = await make.stored(store, resources={"cpu": 3})
    first = await make.held(store, workload)
    await _end(store, first)
    smaller = workload.spec.model_copy(
        update={"resources": workload.spec.resources.model_copy(update={"cpu": 0.5})}
    )
    await store.workloads.replace(workload.model_copy(update={"spec": smaller}))
    await make.queued(store, workload, rerun_of=first.run.id)
    await make.queued(store, workload, rerun_of=first.run.id)
    assert len(await make.claimed(store)) == 1


async def test_ones_own_quota_takes_the_place_of_everyones(store: Store, make: Any) -> None:
    await _people(store, make, ann=(), bob=())
    await _quota(store, "everyone", running=1)
    await _quota(store, "user", "ann", running=3)
    for owner in ("ann", "bob"):
        workload = await make.stored(store, owner=owner)
        for _ in range(4):
            await make.queued(store, workload)
    started = [held.run.owner for held in await make.claimed(store)]
    assert sorted(started) == ["ann", "ann", "ann", "bob"]


async def test_a_groups_quota_is_for_all_members_together(store: Store, make: Any) -> None:
    await _people(store, make, ann=("red", "blue"), bob=("red",), cy=("blue",))
    await _quota(store, "group", "red", running=3)
    await _quota(store, "group", "blue", cpu=2)
    for owner in ("ann", "bob", "cy", "dan"):
        workload = await make.stored(store, owner=owner)
        for _ in range(4):
            await make.queued(store, workload)
    started = [held.run.owner for held in await make.claimed(store)]
    # In turns: of blue's two cores ann and cy take one each, which leaves red's others to bob.
    assert sorted(started) == ["ann", "bob", "bob", "cy", *["dan"] * 4]
    (standing,) = await store.team.quotas.standings("bob", make.now)
    assert (standing.running, standing.cpu) == (3, 3)
    assert await store.team.quotas.standings("dan", make.now) == ()


async def test_who_must_wait_does_not_keep_others_from_starting(store: Store, make: Any) -> None:
    await _people(store, make, ann=(), bob=())
    await _quota(store, "user", "ann", running=0)
    for _ in range(3):
        await make.queued(store, await make.stored(store, owner="ann"))
    theirs = await make.queued(store, await make.stored(store, owner="bob"))
    # The oldest in the queue are ann's; what a quota keeps is not before bob's.
    assert _ids(await make.claimed(store, limit=0)) == []
    late = await make.queued(store, await make.stored(store, owner="bob"))
    assert _ids(await make.claimed(store, limit=1)) == [theirs.id]
    assert (await store.runs.get("bob", late.id)).position == 1


async def test_a_run_too_large_ever_to_start_is_passed_by(store: Store, make: Any) -> None:
    large = await make.queued(store, await make.stored(store, resources={"cpu": 8}))
    small = await make.queued(store, await make.stored(store, resources={"cpu": 1}))
    await _quota(store, "everyone", cpu=4)
    assert _ids(await make.claimed(store)) == [small.id]
    told = await store.runs.get("ann", large.id)
    assert told.reason is not None
    assert told.reason.code == "quota"
    assert "alone" in told.reason.message
    assert "admin" in told.reason.next_step


async def test_the_order_of_an_owners_runs_holds(store: Store, make: Any) -> None:
    await _quota(store, "everyone", cpu=4)
    await make.held(store, await make.stored(store, resources={"cpu": 2}))
    large = await make.queued(store, await make.stored(store, resources={"cpu": 3}))
    small = await make.queued(store, await make.stored(store, resources={"cpu": 1}))
    assert await make.claimed(store) == ()
    assert [await _reason(store, run) for run in (large, small)] == ["quota", "quota"]


async def test_when_a_months_hours_are_used_up_nothing_starts(store: Store, make: Any) -> None:
    make.now = datetime(2026, 3, 10, tzinfo=UTC)
    await _people(store, make, ann=("red",))
    await _quota(store, "everyone", run_hours=5)
    await _quota(store, "group", "red", run_hours=1000)
    await store.team.usage.begin(
        UsageEntry(
            id="x-1",
            kind="job",
            owner="ann",
            name="",
            object_id="",
            started_at=make.now - timedelta(hours=5),
            ended_at=make.now - timedelta(hours=1),
        )
    )
    workload = await make.stored(store)
    run = await make.queued(store, workload)
    (held,) = await make.claimed(store)
    waits = await make.queued(store, workload)
    make.now += timedelta(hours=1)
    assert await make.claimed(store) == ()
    told = (await store.runs.get("ann", waits.id)).reason
    assert told is not None
    assert "5 run hours" in told.message
    assert "2026-04-01" in told.next_step
    assert held.run.id == run.id
    make.now = datetime(2026, 4, 1, tzinfo=UTC)
    assert _ids(await make.claimed(store)) == [waits.id]


async def test_standings_tell_what_is_taken(store: Store, make: Any) -> None:
    await _people(store, make, ann=("red",), bob=("red",))
    own = await _quota(store, "user", "ann", running=9)
    red = await _quota(store, "group", "red", cpu=9)
    await _quota(store, "user", "bob", running=1)
    await _quota(store, "group", "blue", running=1)
    spec = {"resources": {"cpu": 2, "memory_bytes": GIB}}
    await make.held(store, await make.stored(store, owner="ann", **spec))
    await make.held(store, await make.stored(store, owner="bob"))
    of_ann, of_red = await store.team.quotas.standings("ann", make.later(3600))
    assert (of_ann.quota, of_red.quota) == (own, red)
    assert (of_ann.running, of_ann.cpu, of_ann.memory_bytes) == (1, 2, GIB)
    assert (of_red.running, of_red.cpu, of_red.memory_bytes) == (2, 3, GIB)
    assert of_ann.run_hours == pytest.approx(1, abs=0.01)
    # The group's hours are of those who were in it when they ran, all kinds of quota told.
    assert of_red.run_hours == pytest.approx(2, abs=0.01)


class Rush:
    """Many that submit, claim and end at once, over several stores on one database."""

    def __init__(self, make: Any, owners: Collection[str], runs: Sequence[Run]) -> None:
        self.make = make
        self.owners = owners
        self.size = len(runs)
        self.left = iter(runs)
        self.ended: list[str] = []

    async def submit(self, store: Store) -> None:
        for run in self.left:
            await store.runs.insert([run])

    async def work(self, store: Store, holder: str) -> None:
        while len(self.ended) < self.size:
            claimed = await self.make.claimed(store, holder, limit=7)
            # Whoever was last to claim too much sees it here, since nobody ends before a look.
            await self._look(store)
            for held in claimed:
                await _end(store, held)
                self.ended.append(held.run.id)

    async def _look(self, store: Store) -> None:
        for owner in self.owners:
            for standing in await store.team.quotas.standings(owner, self.make.now):
                quota = standing.quota
                assert standing.running <= (quota.running or 99)
                assert standing.cpu <= (quota.cpu or 99)
                assert standing.memory_bytes <= (quota.memory_bytes or 99 * GIB)


@pytest.mark.timeout(900)  # Some thousand commits, each of which waits for the disk.
async def test_036_submits_and_claims_at_once_never_exceed_a_quota(
    open_store: Callable[[], Store], make: Any
) -> None:
    stores = [open_store() for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    first = stores[0]
    owners = {"ann": ("red",), "bob": ("red",), "cy": ()}
    await _people(first, make, **owners)
    await _quota(first, "everyone", running=3)
    await _quota(first, "group", "red", cpu=6, memory_bytes=4 * GIB)
    workloads = [
        await make.stored(first, owner=owner, resources={"cpu": cpu, "memory_bytes": GIB})
        for owner in owners
        for cpu in (1, 2)
    ]
    rush = Rush(make, owners, [make.run(workloads[number % 6]) for number in range(200)])
    await asyncio.gather(
        *(rush.submit(store) for store in stores),
        *(rush.work(store, f"h{number}") for number, store in enumerate(stores)),
    )
    assert len(set(rush.ended)) == len(rush.ended) == 200
    booked: list[str] = []
    begin, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2090, 1, 1, tzinfo=UTC)
    for owner in owners:
        page = await first.team.usage.entries({owner}, begin, end, limit=200)
        booked += [entry.object_id for entry in page.items]
    assert sorted(booked) == sorted(rush.ended)
    await asyncio.gather(*(store.close() for store in stores))
