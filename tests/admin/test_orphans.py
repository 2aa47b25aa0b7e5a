"""What runs and nobody owns, and what is owned and gone."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from himalia.backends.base import AttemptRef, Phase
from himalia.core.administration import EveryWorkloadQuery
from himalia.core.errors import Conflict, NotFound
from himalia.core.model import Status
from himalia.core.names import new_id
from himalia.core.spec import Resources
from himalia.kinds.base import RunPlan
from himalia.kinds.job import JobSpec
from himalia.runners.task import NotebookTask
from tests.servers.estate import BOSS, CHAIR, Estate
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio


async def test_where_everything_is_as_it_should_be_there_are_none(estate: Estate) -> None:
    await estate.run(await estate.workload(await estate.person("ann")))
    assert await estate.administration.orphans.all(BOSS) == ()


async def test_processes_that_no_row_knows_are_found_and_ended(
    estate: Estate, tmp_path: Path
) -> None:
    backend = estate.service.parts.backend
    ref = AttemptRef(owner="ann", run_id=new_id("run"), attempt=1)
    await backend.open()
    try:
        await backend.start(ref, await sleeping(estate, tmp_path))
        await until(estate, ref, Phase.RUNNING)
        (orphan,) = await estate.administration.orphans.all(BOSS)
        assert (orphan.what, orphan.id) == ("attempt", ref.name)
        assert orphan.next_step
        await estate.administration.orphans.end(BOSS, orphan.id)
        await until(estate, ref, Phase.ENDED, Phase.LOST)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await estate.administration.orphans.all(BOSS):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        (entry,) = await estate.log()
        assert (entry.action, entry.object_id) == ("orphan.attempt.end", ref.name)
    finally:
        await backend.close()


async def test_a_run_that_nobody_holds_is_found_and_asked_to_stop(estate: Estate) -> None:
    ann = await estate.person("ann")
    run = await estate.run(await estate.workload(ann))
    past = datetime.now(UTC) - timedelta(minutes=10)
    (held,) = await estate.store.holds.claim(
        "a control that died", now=datetime.now(UTC), lease_until=past, limit=1
    )
    assert held.run.id == run.id
    (orphan,) = await estate.administration.orphans.all(BOSS)
    assert (orphan.what, orphan.id, orphan.owner) == ("run", run.id, ann.owner)
    await estate.administration.orphans.end(BOSS, run.id)
    assert (await estate.store.runs.get(ann.owner, run.id)).target == "stop"


async def test_what_a_gone_person_left_is_found_and_deleted(estate: Estate) -> None:
    ann = await estate.person("ann", "physics")
    workload = await estate.workload(ann)
    run = await estate.run(workload)
    await estate.store.team.people.gone(ann.owner, datetime.now(UTC))
    (orphan,) = await estate.administration.orphans.all(BOSS)
    assert (orphan.what, orphan.id, orphan.name) == ("person", ann.owner, "ann")
    assert await estate.administration.orphans.all(CHAIR) == ()
    with pytest.raises(NotFound):
        await estate.administration.orphans.end(CHAIR, orphan.id)
    await estate.administration.orphans.end(BOSS, orphan.id)
    assert await estate.store.runs.known([run.id]) == set()
    with pytest.raises(NotFound):
        await estate.administration.orphans.end(BOSS, orphan.id)


async def test_what_a_gone_person_left_can_be_transferred_instead(estate: Estate) -> None:
    ann, bob = await estate.person("ann"), await estate.person("bob")
    await estate.run(await estate.workload(ann), Status.SUCCEEDED)
    await estate.store.team.people.gone(ann.owner, datetime.now(UTC))
    assert await estate.administration.acts.transfer(BOSS, ann.owner, "bob") == 1
    assert await estate.administration.orphans.all(BOSS) == ()
    page = await estate.administration.views.workloads(BOSS, EveryWorkloadQuery())
    assert [row.name for row in page.items] == [bob.name]


async def test_nothing_is_transferred_while_a_run_is_on(estate: Estate) -> None:
    ann, _ = await estate.person("ann"), await estate.person("bob")
    run = await estate.run(await estate.workload(ann))
    with pytest.raises(Conflict):
        await estate.administration.acts.transfer(BOSS, ann.owner, "bob")
    assert (await estate.store.runs.get(ann.owner, run.id)).owner == ann.owner


async def sleeping(estate: Estate, root: Path) -> RunPlan:
    """Plan an attempt that goes on until it is stopped."""
    cell = {"cell_type": "code", "source": "import time; time.sleep(300)", "metadata": {}}
    cell |= {"outputs": [], "execution_count": None, "id": "only"}
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    document = {"cells": [cell], "metadata": {"kernelspec": kernel}}
    (root / "n.ipynb").write_text(json.dumps({**document, "nbformat": 4, "nbformat_minor": 5}))
    snapshot = await estate.service.parts.premises.pin(
        "ann", "job", JobSpec(notebook="n.ipynb"), root
    )
    assert snapshot is not None
    return RunPlan(
        runner="himalia.runners.notebook",
        task=NotebookTask(notebook="n.ipynb").to_json(),
        environment="python3",
        env={},
        resources=Resources(),
        snapshot_digest=snapshot.digest,
        timeout_seconds=None,
        grace_seconds=2,
    )


async def until(estate: Estate, ref: AttemptRef, *phases: Phase) -> None:
    """Wait until an attempt is in one of the phases."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        seen = await estate.service.parts.backend.observe([ref])
        if seen[ref].phase in phases:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(seen)
