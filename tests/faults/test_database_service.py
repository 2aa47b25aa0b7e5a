"""Threat 94: services whose PostgreSQL goes away answer plainly, and are back by themselves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from himalia.backends.local.backend import LocalBackend
from himalia.core.errors import Unavailable
from himalia.core.local import LocalService, LocalSettings
from himalia.core.local_premises import LocalPremises
from himalia.core.model import Run, RunEvent, Status, WorkloadDraft
from himalia.core.places import Places
from himalia.core.service import Caller
from himalia.core.spec import Spec
from himalia.kinds.job import JobSpec
from himalia.kinds.registry import load_kinds
from himalia.store.sql import SqlStore
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.postgres import Postgres
from tests.servers.stalls import allowed
from tests.servers.tcp import TcpProxy

pytestmark = pytest.mark.asyncio

BACK_SECONDS = 10.0


@pytest_asyncio.fixture
async def proxy(postgres: Postgres) -> AsyncIterator[TcpProxy]:
    """A network to the database, to be broken."""
    async with TcpProxy("127.0.0.1", postgres.port) as opened:
        yield opened


@asynccontextmanager
async def _control(
    address: str, home: Path, holder: str, running: int
) -> AsyncIterator[LocalService]:
    places, kinds = Places(home=home).prepare(), load_kinds()
    service = LocalService(
        store=SqlStore(address, kinds.decode_spec),
        backend=LocalBackend(places),
        premises=LocalPremises(places, kinds),
        kinds=kinds,
        places=places,
        settings=LocalSettings(max_running=running, holder=holder),
    )
    await service.open()
    try:
        yield service
    finally:
        await service.close()


@pytest_asyncio.fixture
async def controls(
    postgres: Postgres, postgres_url: str, proxy: TcpProxy, tmp_path: Path
) -> AsyncIterator[tuple[LocalService, LocalService]]:
    """Two on one database, behind the proxy; the second starts no runs."""
    database = postgres_url.rpartition("/")[2]
    address = postgres.url(database, port=proxy.port)
    async with AsyncExitStack() as stack:
        yield (
            await stack.enter_async_context(_control(address, tmp_path / "home", "one", 2)),
            await stack.enter_async_context(_control(address, tmp_path / "home", "two", 0)),
        )


async def _submit(service: LocalService, caller: Caller) -> Run:
    draft = WorkloadDraft[Spec](spec=JobSpec(notebook="tally.ipynb"))
    workload = await service.workloads.create(caller, "job", draft)
    assert workload.last_run is not None
    return workload.last_run


async def _until(service: LocalService, caller: Caller, run_id: str, *wanted: Status) -> Run:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with suppress(Unavailable):
                run = await service.runs.get(caller, run_id)
                if run.status in wanted:
                    return run
                assert not run.status.is_terminal, run
            await asyncio.sleep(0.05)


async def test_094_a_run_that_is_on_while_the_database_is_gone_ends_as_it_should(
    controls: tuple[LocalService, LocalService], proxy: TcpProxy, tally: Any
) -> None:
    service, _ = controls
    tally.write_notebook(between="import time; time.sleep(4)")
    caller = Caller(owner="ann", root=tally.folder)
    run = await _submit(service, caller)
    await _until(service, caller, run.id, Status.RUNNING)
    await proxy.vanish()
    # Longer than the run: it ends while nobody can write that down.
    for _ in range(5):
        with pytest.raises(Unavailable, match="cannot be reached"):
            await service.runs.get(caller, run.id)
        with pytest.raises(Unavailable):
            await _submit(service, caller)
        await asyncio.sleep(1)
    await proxy.heal()
    healed_mono = time.monotonic()
    ended = await _until(service, caller, run.id, Status.SUCCEEDED)
    assert time.monotonic() - healed_mono < allowed(BACK_SECONDS, healed_mono)
    assert ended.attempt == 1
    assert tally.of("begin") == tally.of("end") == [f"{run.id}-1"]
    # And it takes up new work.
    again = await _submit(service, caller)
    assert (await _until(service, caller, again.id, Status.SUCCEEDED)).attempt == 1


async def test_093_a_run_is_followed_through_a_control_that_does_not_hold_it(
    controls: tuple[LocalService, LocalService], tally: Any
) -> None:
    holding, other = controls
    tally.write_notebook(between="print('héllo')")
    caller = Caller(owner="ann", root=tally.folder)
    # Submitted where nothing starts: the other one finds it by itself.
    run = await _submit(other, caller)
    events: list[RunEvent] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for event in other.runs.events(caller, run.id):
            events.append(event)  # noqa: PERF401 - what came is looked at where it ends too late
    seen = [event.run.status for event in events if event.run is not None]
    assert seen[0] is Status.QUEUED
    assert seen[-1] is Status.SUCCEEDED
    assert events[-1].type == "end"
    assert "héllo" in "".join(event.log or "" for event in events)
    assert (await holding.runs.get(caller, run.id)).status is Status.SUCCEEDED
    # A stop that is asked of one is done by the other.
    tally.write_notebook(between="import time; time.sleep(60)")
    long = await _submit(other, caller)
    await _until(other, caller, long.id, Status.RUNNING)
    await other.runs.stop(caller, long.id)
    asked_mono = time.monotonic()
    await _until(other, caller, long.id, Status.STOPPED)
    assert time.monotonic() - asked_mono < allowed(BACK_SECONDS, asked_mono)
