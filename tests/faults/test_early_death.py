"""Runners that die before they said anything, and inputs that vanish under a run."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio
from typing_extensions import override

from himalia.backends.base import AttemptRef
from himalia.backends.local.backend import LocalBackend
from himalia.core.local import LocalService
from himalia.core.local_premises import LocalPremises
from himalia.core.model import Run, Status, WorkloadDraft
from himalia.core.places import Places
from himalia.core.service import Caller
from himalia.core.spec import Spec
from himalia.kinds.base import RunPlan
from himalia.kinds.job import JobSpec
from himalia.kinds.registry import load_kinds
from himalia.store.sql import SqlStore
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio


class Backend(LocalBackend):
    """The local one, with something that happens right before or after each start."""

    before: Callable[[AttemptRef], None] = staticmethod(lambda _: None)
    after: Callable[[AttemptRef], None] = staticmethod(lambda _: None)

    @override
    async def start(self, ref: AttemptRef, plan: RunPlan) -> None:
        self.before(ref)
        await super().start(ref, plan)
        self.after(ref)


class Site:
    """The real service over that backend."""

    def __init__(self, home: Path, root: Path) -> None:
        self.places = Places(home=home).prepare()
        kinds = load_kinds()
        self.backend = Backend(self.places, pool_size=0)
        store = SqlStore(self.places.store, kinds.decode_spec)
        self.service = LocalService(
            store=store,
            backend=self.backend,
            premises=LocalPremises(self.places, kinds),
            kinds=kinds,
            places=self.places,
        )
        self.caller = Caller(owner="alice", root=root)

    async def submit(self) -> Run:
        draft: WorkloadDraft[Spec] = WorkloadDraft(spec=JobSpec(notebook="tally.ipynb"))
        made = await self.service.workloads.create(self.caller, "job", draft)
        assert made.last_run is not None
        return made.last_run

    async def end_of(self, run: Run) -> Run:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (run := await self.service.runs.get(self.caller, run.id)).status.is_terminal:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return run


@pytest_asyncio.fixture
async def site(tmp_path: Path, tally: Any) -> AsyncIterator[Site]:
    tally.write_notebook()
    site = Site(tmp_path / "home", tally.folder)
    await site.service.open()
    yield site
    await site.service.close()


def _kill_runner(places: Places, ref: AttemptRef) -> None:
    folder = str(places.runs / ref.run_id / str(ref.attempt))
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        for child in psutil.Process().children():
            # A runner of an earlier test may have ended, and still be there to be waited for.
            with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):
                if folder in child.cmdline():
                    child.send_signal(signal.SIGKILL)
                    return
        # Between fork and exec it still goes by this process's own words.
        time.sleep(0.001)
    raise AssertionError("there is no runner to kill")


async def test_092_a_runner_that_dies_before_its_first_word_is_replaced(
    site: Site, tally: Any
) -> None:
    killed: list[AttemptRef] = []

    def kill_the_first_two(ref: AttemptRef) -> None:
        if ref.attempt <= 2:
            killed.append(ref)
            _kill_runner(site.places, ref)

    site.backend.after = kill_the_first_two
    ended = await site.end_of(await site.submit())
    assert len(killed) == 2
    assert (ended.status, ended.attempt, ended.lost_attempts) == (Status.SUCCEEDED, 3, 2)
    assert tally.of("begin") == [f"{ended.id}-3"]


async def test_092_a_runner_that_always_dies_at_once_fails_the_run_with_a_reason(
    site: Site, tally: Any
) -> None:
    site.backend.after = lambda ref: _kill_runner(site.places, ref)
    ended = await site.end_of(await site.submit())
    assert ended.status is Status.FAILED
    assert ended.reason is not None
    assert ended.reason.code == "attempts_lost"
    assert ended.reason.next_step
    assert tally.of("begin") == []


async def test_048_a_snapshot_that_vanished_fails_the_run_clearly(site: Site, tally: Any) -> None:
    def lose_the_inputs(_: AttemptRef) -> None:
        for entry in site.places.snapshots.iterdir():
            entry.chmod(0o700)
            shutil.rmtree(entry, ignore_errors=True)

    site.backend.before = lose_the_inputs
    run = await site.submit()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (run := await site.service.runs.get(site.caller, run.id)).reason is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert run.status is not Status.SUCCEEDED
    assert tally.of("begin") == []
    await site.service.runs.stop(site.caller, run.id)
    await site.end_of(run)
