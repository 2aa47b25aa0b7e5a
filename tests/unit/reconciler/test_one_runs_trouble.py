"""What cannot be reached for one run is no other run's trouble; duties are one control's alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from himalia.backends.base import AttemptRef, Observation, Refused
from himalia.core.errors import Unavailable
from himalia.core.local_premises import LocalPremises
from himalia.core.loop import Loop
from himalia.core.model import Reason, Run, Snapshot, Status
from himalia.core.names import attempt_name
from himalia.core.spec import Spec
from tests.servers.patience import PATIENCE_SECONDS
from tests.unit.reconciler.conftest import ScriptedBackend

pytestmark = pytest.mark.asyncio

AWAY = Unavailable("The owner's files are out of reach.")


async def running(world: Any, reconciler: Any) -> Run:
    run = await world.submit()
    reconciler.wake()
    found: Run = await world.until_status(run, Status.RUNNING)
    return found


async def stop(world: Any, reconciler: Any, run: Run) -> None:
    await world.store.runs.request_stop(run.owner, run.id, world.clock())
    reconciler.wake()


@pytest.mark.parametrize("how", ["hangs", "cannot be"])
async def test_a_stop_that_does_not_get_through_keeps_no_other_waiting(
    world: Any, how: str
) -> None:
    reconciler = world.reconciler()
    mine, other = await running(world, reconciler), await running(world, reconciler)
    through = asyncio.Event()

    async def hold(name: str) -> None:
        if name == attempt_name(mine.id, 1) and not through.is_set():
            if how == "cannot be":
                raise AWAY
            await through.wait()

    world.backend.before["stop"] = hold
    await stop(world, reconciler, mine)
    await stop(world, reconciler, other)
    await world.until_status(other, Status.STOPPED)
    another = await world.submit()
    reconciler.wake()
    await world.until_status(another, Status.RUNNING)
    assert not (await world.run(mine.id)).status.is_terminal
    through.set()
    await world.until_status(mine, Status.STOPPED)


async def test_a_run_that_cannot_be_looked_at_stays_as_it_was(world: Any) -> None:
    class Shy(ScriptedBackend):
        hidden = ""

        @override
        async def observe(self, refs: Sequence[AttemptRef]) -> dict[AttemptRef, Observation]:
            seen = await super().observe(refs)
            return {ref: found for ref, found in seen.items() if ref.run_id != self.hidden}

    backend = Shy(world.cluster)
    reconciler = world.reconciler(backend=backend, observe_seconds=0.05)
    mine, other = await running(world, reconciler), await running(world, reconciler)
    backend.hidden = mine.id
    for run in (mine, other):
        world.cluster.end(attempt_name(run.id, 1))
    await world.until_status(other, Status.SUCCEEDED)
    assert (await world.run(mine.id)).status is Status.RUNNING
    backend.hidden = ""
    await world.until_status(mine, Status.SUCCEEDED)


async def test_what_is_refused_fails_with_what_it_says(world: Any) -> None:
    reason = Reason(code="agent_failed", message="It does not work.", next_step="Tell an admin.")

    def refuse(_name: str) -> None:
        raise Refused(reason)

    world.backend.before["start"] = refuse
    world.reconciler()
    failed = await world.until_status(await world.submit(), Status.FAILED)
    assert failed.reason == reason


async def test_a_run_whose_files_are_out_of_reach_waits_and_says_so(world: Any) -> None:
    class Away(LocalPremises):
        is_away = True

        @override
        async def spec(self, owner: str, digest: str, present: Spec) -> Spec:
            if self.is_away:
                raise AWAY
            return present

    world.premises = Away(world.places, world.kinds)
    snapshot = Snapshot(digest="sha256:0", taken_at=world.clock(), files=1, size_bytes=1)
    waiting = await world.submit(await world.workload(snapshot=snapshot))
    reconciler = world.reconciler()
    await running(world, reconciler)

    async def told() -> bool:
        run = await world.run(waiting.id)
        return run.reason is not None and "out of reach" in run.reason.message

    await world.until(told)
    world.premises.is_away = False
    await world.until_status(waiting, Status.RUNNING)
    assert (await world.run(waiting.id)).attempt == 1


async def test_what_another_leads_is_left_alone_until_it_leads_no_more(tmp_path: Path) -> None:
    leads, steps = asyncio.Event(), []

    async def lead() -> bool:
        return leads.is_set()

    async def step() -> float:
        steps.append(1)
        return 60.0

    loop = Loop("work", step, lead)
    task = asyncio.create_task(loop.run())
    await asyncio.sleep(0.1)
    loop.wake()
    await asyncio.sleep(0.1)
    assert steps == []
    leads.set()
    loop.wake()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not steps:  # noqa: ASYNC110 - the loop tells nobody
            await asyncio.sleep(0.01)
    await loop.stop()
    await task
