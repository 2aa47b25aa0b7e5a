"""Machines that are closed, lost, or never heard of again, and the runs on them."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from himalia.backends.kubernetes import states
from himalia.core.model import Run, Status
from himalia.core.names import new_id
from himalia.core.places import Places
from himalia.runners.attempt import AttemptFolder
from tests.kubernetes.conftest import Tenant, serving
from tests.servers.cluster import UID, Estate
from tests.servers.ghost import Ghost
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.pod_count import PodCount
from tests.servers.pods import pod_backend
from tests.servers.stalls import allowed

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.kubernetes]


@pytest.fixture
def ghost(cluster_estate: Estate) -> Any:
    """A node that nobody runs, and that takes no pods yet."""
    name = f"{cluster_estate.prefix}-{new_id('node')[-6:]}"
    with Ghost(cluster_estate.cluster, name, is_cordoned=True) as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def drifter(cluster_estate: Estate, ghost: Ghost, tmp_path: Path) -> AsyncIterator[Tenant]:
    """Somebody whose runs go to that node."""
    runs = {"node_selector": ghost.selector, "tolerations": ghost.tolerations}
    parts = await pod_backend(cluster_estate, runs=runs)
    async with serving(parts, tmp_path) as service:
        yield Tenant(cluster_estate, service, "drifter")


def begin(tenant: Tenant, run: Run) -> None:
    """Leave in an attempt's folder what its runner does when it begins."""
    places = Places(home=tenant.home / ".himalia" / tenant.owner)
    folder = AttemptFolder(places.runs / run.id / str(run.attempt))
    folder.begun.touch()
    folder.started.write_text(json.dumps({**json.loads(folder.started.read_text()), "pid": 7}))
    os.chown(folder.begun, UID, UID)


async def until_told(tenant: Tenant, run: Run, code: str | None) -> Run:
    """Wait until a run has a reason of this code, or none."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            now = await tenant.service.runs.get(tenant.caller, run.id)
            if (now.reason.code if now.reason is not None else None) == code:
                return now
            assert not now.status.is_terminal, now
            await asyncio.sleep(0.2)


async def test_a_run_waits_for_a_cordoned_machine_and_is_tried_again_when_that_is_lost(
    drifter: Tenant, ghost: Ghost, tmp_path: Path
) -> None:
    cluster, space = drifter.estate.cluster, drifter.space
    count = PodCount(cluster, tmp_path / "pods", drifter.estate.prefix)
    job = await drifter.job("import os\nopen(os.path.expanduser('~/ran'), 'a').write('x')")
    assert job.last_run is not None
    waiting = await until_told(drifter, job.last_run, "unschedulable")
    assert waiting.reason is not None
    assert "unschedulable" in waiting.reason.message
    first = f"{waiting.id}-1"
    await asyncio.to_thread(ghost.uncordon)
    await asyncio.to_thread(ghost.until_bound, space, first)
    await until_told(drifter, waiting, None)
    await asyncio.to_thread(ghost.run, space, first)
    begin(drifter, waiting)
    await drifter.until(waiting, Status.RUNNING)

    (agent,) = drifter.pods("agent")
    await asyncio.to_thread(ghost.let_in, agent["spec"]["nodeName"])
    lost = time.monotonic()
    await asyncio.to_thread(ghost.lose)
    told = await until_told(drifter, waiting, "node_gone")
    assert told.reason is not None
    assert told.reason.next_step
    assert time.monotonic() - lost < allowed(60, lost)
    ended = await drifter.ended(waiting)
    assert (ended.status, ended.attempt, ended.lost_attempts) == (Status.SUCCEEDED, 2, 1), ended
    assert (drifter.home / "ran").read_text() == "x"
    async with asyncio.timeout(PATIENCE_SECONDS):
        while drifter.pods():  # noqa: ASYNC110 - of another system nothing else tells
            await asyncio.sleep(0.5)
    assert count.of([]) == {first: 1, f"{waiting.id}-2": 1}
    count.close()


async def test_a_run_whose_machine_never_says_that_it_ended_is_not_waited_for_for_ever(
    drifter: Tenant, ghost: Ghost, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A minute and a half, where nobody tests.
    monkeypatch.setattr(states, "_STALE_SECONDS", 3.0)
    cluster, space = drifter.estate.cluster, drifter.space
    job = await drifter.job("1", run=False)
    run = await drifter.start(job)
    await asyncio.to_thread(ghost.uncordon)
    await asyncio.to_thread(ghost.until_bound, space, f"{run.id}-1")
    await asyncio.to_thread(ghost.run, space, f"{run.id}-1")
    begin(drifter, await drifter.until(run, Status.STARTING))
    await drifter.until(run, Status.RUNNING)
    await asyncio.to_thread(ghost.drive_out)
    told = await until_told(drifter, run, "node_gone")
    assert told.status is Status.RUNNING
    pod = cluster.get("pod", f"{run.id}-1", "--namespace", space)
    assert pod["metadata"]["deletionTimestamp"]
    again = await until_told(drifter, run, "unschedulable")
    assert (again.attempt, again.lost_attempts) == (2, 1)
    # The one that nobody confirms is gone from the cluster too.
    assert [pod["metadata"]["name"] for pod in drifter.pods()] == [f"{run.id}-2"]
    await drifter.service.runs.stop(drifter.caller, run.id)
    assert (await drifter.ended(run)).status is Status.STOPPED
