"""Parts of control over a store of their own and a hub's interface that tests can bend."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from himalia.core.model import Run, Status, Trigger, Workload
from himalia.core.names import new_id
from himalia.core.spec import Spec
from himalia.kinds.job import JobSpec
from himalia.kinds.registry import load_kinds
from himalia.store import schema
from himalia.store.database import store_url
from himalia.store.sql import SqlStore
from himalia_hub.control.hub_api import HubApi
from tests.servers.hub_api import HubApiServer


@pytest_asyncio.fixture
async def hub_server() -> AsyncIterator[HubApiServer]:
    """What a hub answers."""
    server = HubApiServer().start()
    yield server
    await server.close()


@pytest_asyncio.fixture
async def hub_api(hub_server: HubApiServer) -> AsyncIterator[HubApi]:
    """Control's way to ask it."""
    api = HubApi(hub_server.url, hub_server.service_token)
    yield api
    await api.close()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store to be copied: that is faster than making one anew."""
    path = tmp_path_factory.mktemp("empty") / "store.db"
    schema.prepare(store_url(path))
    return path


@pytest_asyncio.fixture
async def store(tmp_path: Path, empty_store: Path) -> AsyncIterator[SqlStore]:
    """An empty store."""
    shutil.copy(empty_store, tmp_path / "store.db")
    made = SqlStore(tmp_path / "store.db", load_kinds().decode_spec)
    await made.open()
    yield made
    await made.close()


async def queued_run(store: SqlStore, owner: str) -> Run:
    """Store a workload of somebody's with a run that waits."""
    at = datetime.now(UTC)
    workload = Workload[Spec](
        id=new_id("wkl"),
        kind="job",
        owner=owner,
        name="sums",
        spec=JobSpec(notebook="sums.ipynb"),
        root="/home",
        created_at=at,
        updated_at=at,
    )
    await store.workloads.insert(workload)
    run_id = new_id("run")
    run = Run(
        id=run_id,
        workload_id=workload.id,
        workload_name=workload.name,
        kind="job",
        owner=owner,
        trigger=Trigger.USER,
        status=Status.QUEUED,
        flow_id=run_id,
        created_at=at,
    )
    return await store.runs.insert([run])
