"""The keeper: what nobody needs goes, what somebody needs stays."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from himalia.backends.base import Observation, Phase
from himalia.core.errors import NotFound
from himalia.core.keeper import Keeper
from himalia.core.model import Status
from himalia.core.names import attempt_name, new_id
from himalia.core.snapshots import Snapshots
from himalia.core.spec import Retention
from himalia.kinds.base import Pin
from himalia.store.base import Change

pytestmark = pytest.mark.asyncio


@pytest.fixture
def keeper(world: Any) -> Keeper:
    return Keeper(
        store=world.store,
        backend=world.backend,
        premises=world.premises,
        clock=world.clock,
    )


async def ended_run(world: Any, workload: Any, attempts: int = 1) -> Any:
    run = await world.submit(workload)
    now = world.clock()
    for attempt in range(1, attempts + 1):
        (held,) = await world.store.holds.claim("t", now=now, lease_until=now, limit=1)
        last = attempt == attempts
        change = Change(
            status=Status.SUCCEEDED if last else Status.QUEUED, ended_at=now if last else None
        )
        await world.store.holds.change(run.id, held.token, change)
        (world.places.runs / run.id / str(attempt)).mkdir(parents=True)
        world.cluster.end(attempt_name(run.id, attempt))
    return run


async def is_there(world: Any, run: Any) -> bool:
    try:
        await world.run(run.id)
    except NotFound:
        return False
    return True


async def test_runs_beyond_the_number_to_keep_go_with_their_files(
    world: Any, keeper: Keeper
) -> None:
    workload = await world.workload(world.spec(retention=Retention(keep_runs=2)))
    runs = [await ended_run(world, workload, attempts=2) for _ in range(4)]
    await keeper.tidy()
    assert [await is_there(world, run) for run in runs] == [False, False, True, True]
    gone = {attempt_name(run.id, attempt) for run in runs[:2] for attempt in (1, 2)}
    assert set(world.cluster.removed) == gone


async def test_old_runs_go_after_their_days(world: Any, keeper: Keeper) -> None:
    workload = await world.workload(world.spec(retention=Retention(keep_days=7)))
    run = await ended_run(world, workload)
    await keeper.tidy()
    assert await is_there(world, run)
    world.now_offset = timedelta(days=8)
    await keeper.tidy()
    assert not await is_there(world, run)


async def test_a_run_that_has_not_ended_is_never_deleted(world: Any, keeper: Keeper) -> None:
    run = await world.submit(retention=Retention(keep_days=1))
    world.now_offset = timedelta(days=800)
    await keeper.tidy()
    assert await is_there(world, run)


async def test_without_retention_everything_stays(world: Any, keeper: Keeper) -> None:
    workload = await world.workload()
    runs = [await ended_run(world, workload, attempts=3) for _ in range(3)]
    world.now_offset = timedelta(days=800)
    await keeper.tidy()
    assert all([await is_there(world, run) for run in runs])
    assert world.cluster.removed == []


async def test_folders_of_runs_that_are_gone_are_collected(world: Any, keeper: Keeper) -> None:
    orphan = world.places.runs / new_id("run")
    (orphan / "1").mkdir(parents=True)
    (orphan / "12").mkdir()
    await keeper.tidy()
    assert set(world.cluster.removed) == {f"{orphan.name}-1", f"{orphan.name}-12"}


async def test_an_orphan_that_still_runs_is_stopped_before_it_is_removed(
    world: Any, keeper: Keeper
) -> None:
    orphan = world.places.runs / new_id("run")
    (orphan / "1").mkdir(parents=True)
    name = f"{orphan.name}-1"
    world.cluster.show(name, Observation(phase=Phase.RUNNING))
    await keeper.tidy()
    assert (world.cluster.stops, world.cluster.removed) == ([name], [])
    await keeper.tidy()
    assert world.cluster.removed == [name]


async def test_what_is_not_a_runs_folder_is_left_alone(world: Any, keeper: Keeper) -> None:
    other = world.places.runs / "notes"
    (other / "1").mkdir(parents=True)
    await keeper.tidy()
    assert other.is_dir()
    assert world.cluster.removed == []


async def test_snapshots_that_nothing_needs_are_collected_after_a_while(
    world: Any, keeper: Keeper, tmp_path: Path
) -> None:
    snapshots = Snapshots(world.places.snapshots)
    pinned = []
    for text in ("needed", "unused", "new"):
        folder = tmp_path / text
        folder.mkdir()
        (folder / "a.txt").write_text(text)
        pinned.append(await snapshots.pin(Pin(folder=folder, files=("a.txt",))))
    needed, unused, new = pinned
    await world.workload(snapshot=needed)
    long_ago = time.time() - 7200
    for snapshot in (needed, unused):
        os.utime(snapshots.path(snapshot.digest).parent, (long_ago, long_ago))
    await keeper.tidy()
    kept = [snapshots.path(snapshot.digest).is_dir() for snapshot in (needed, unused, new)]
    assert kept == [True, False, True]
