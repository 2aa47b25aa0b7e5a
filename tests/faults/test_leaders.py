"""Two schedulers over one store, in processes of their own, that come and go."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from himalia.core.errors import Unavailable
from himalia.core.flows import new_run
from himalia.core.model import Run, Schedule, Status, Trigger, Workload
from himalia.core.names import new_id
from himalia.core.places import Places
from himalia.core.service import RunQuery
from himalia.core.snapshots import Snapshots
from himalia.core.spec import Spec
from himalia.kinds.base import Pin
from himalia.kinds.job import JobSpec
from himalia.kinds.registry import load_kinds
from himalia.store.base import Store
from himalia.store.sql import SqlStore
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.postgres import Postgres
from tests.servers.tcp import TcpProxy

pytestmark = pytest.mark.asyncio

OWNER = "alice"
SCHEDULES = 8


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(home=tmp_path / "home").prepare()


@pytest_asyncio.fixture
async def proxy(postgres: Postgres) -> AsyncIterator[TcpProxy]:
    """A network to the database, to be broken."""
    async with TcpProxy("127.0.0.1", postgres.port) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, places: Places) -> str:
    """Where the store is, as leaders reach it."""
    if request.param == "sqlite":
        return str(places.store)
    database = str(request.getfixturevalue("postgres_url")).rpartition("/")[2]
    server: Postgres = request.getfixturevalue("postgres")
    return server.url(database, port=request.getfixturevalue("proxy").port)


@pytest_asyncio.fixture
async def store(address: str) -> AsyncIterator[Store]:
    store = SqlStore(address, load_kinds().decode_spec)
    await store.open()
    yield store
    await store.close()


async def _leader(places: Places, holder: str, address: str) -> Process:
    program = Path(__file__).with_name("leader.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), str(places.home), holder, address, stdout=PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await process.stdout.readline() == b"leads\n"
    return process


async def _kill(process: Process) -> None:
    process.kill()
    await process.communicate()


async def _workload(store: Store, places: Places, tally: Any) -> Workload[Spec]:
    tally.write_notebook(between="import time; time.sleep(1)")
    pin = Pin(folder=tally.folder, files=("tally.ipynb",))
    now = datetime.now(UTC)
    workload: Workload[Spec] = Workload(
        id=new_id("wkl"),
        kind="job",
        owner=OWNER,
        name="tally",
        spec=JobSpec(notebook="tally.ipynb"),
        root=str(tally.folder),
        snapshot=await Snapshots(places.snapshots).pin(pin),
        created_at=now,
        updated_at=now,
    )
    return await store.workloads.insert(workload)


async def _schedule(store: Store, workload: Workload[Spec], tick_at: datetime) -> Schedule:
    return await store.schedules.insert(
        Schedule(
            id=new_id("sch"),
            workload_id=workload.id,
            workload_name=workload.name,
            kind=workload.kind,
            owner=OWNER,
            cron="0 0 1 1 *",
            time_zone="UTC",
            overlap="queue",
            missed="run_once",
            inputs="pinned",
            paused=False,
            next_tick_at=tick_at,
            created_at=tick_at,
            updated_at=tick_at,
        )
    )


async def _runs(store: Store) -> tuple[Run, ...]:
    while True:
        with suppress(Unavailable):
            return (await store.runs.list(OWNER, RunQuery(limit=200))).items


async def test_093_leaders_that_flap_tick_once_and_reap_nothing_alive(
    store: Store, address: str, places: Places, proxy: TcpProxy, tally: Any
) -> None:
    workload = await _workload(store, places, tally)
    for _ in range(4):
        await store.runs.insert([new_run(workload, trigger=Trigger.USER)])
    soon = datetime.now(UTC).replace(microsecond=0)
    for number in range(SCHEDULES):
        await _schedule(store, workload, soon + timedelta(seconds=number))
    leaders = [await _leader(places, holder, address) for holder in ("one", "two")]
    try:
        for turn in range(4):
            await asyncio.sleep(0.7)
            proxy.cut()
            await _kill(leaders[turn % 2])
            leaders[turn % 2] = await _leader(places, ("one", "two")[turn % 2], address)
        # A gap without any leader, longer than a lease.
        for leader in leaders:
            await _kill(leader)
        await asyncio.sleep(2)
        leaders = [await _leader(places, "three", address)]
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(runs := await _runs(store)) < 4 + SCHEDULES or not all(  # noqa: ASYNC110
                run.status.is_terminal for run in runs
            ):
                await asyncio.sleep(0.1)
    finally:
        for leader in leaders:
            if leader.returncode is None:
                await _kill(leader)
    ticks = Counter((run.schedule_id, run.tick_at) for run in runs if run.schedule_id)
    assert len(ticks) == SCHEDULES
    assert max(ticks.values()) == 1
    assert {run.status for run in runs} == {Status.SUCCEEDED}
    begun = Counter(tally.of("begin"))
    assert max(begun.values()) == 1
    # An attempt that executed user code was never given up for another one.
    assert set(begun) == {f"{run.id}-{run.attempt}" for run in runs}
