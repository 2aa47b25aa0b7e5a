"""An SQLite store, for what the contract does not say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from himalia.core.model import Run, Status, Trigger, Workload
from himalia.core.names import new_id
from himalia.core.spec import Spec
from himalia.kinds.job import JobSpec
from himalia.store.sql import SqlStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the store lies."""
    return tmp_path / "home" / "store.db"


@pytest.fixture
def new_store(path: Path) -> Callable[[], SqlStore]:
    """Make one more store, as another process would, on the same file."""
    return lambda: SqlStore(path, lambda _, stored: JobSpec.model_validate(stored))


@pytest_asyncio.fixture
async def store(new_store: Callable[[], SqlStore]) -> AsyncIterator[SqlStore]:
    """An empty, open store."""
    opened = new_store()
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def workload() -> Workload[Spec]:
    """A workload that is not stored yet."""
    now = datetime.now(UTC)
    return Workload[Spec](
        id=new_id("wkl"),
        kind="job",
        owner="ann",
        name="sums",
        spec=JobSpec(notebook="sums.ipynb"),
        root="/home/ann",
        created_at=now,
        updated_at=now,
    )


@pytest.fixture
def make_run(workload: Workload[Spec]) -> Callable[..., Run]:
    """Make a queued run of the workload."""

    def make(**fields: Any) -> Run:
        run_id = new_id("run")
        usual: dict[str, Any] = {
            "id": run_id,
            "workload_id": workload.id,
            "workload_name": workload.name,
            "kind": "job",
            "owner": workload.owner,
            "trigger": Trigger.USER,
            "status": Status.QUEUED,
            "flow_id": run_id,
            "created_at": datetime.now(UTC),
        }
        return Run(**(usual | fields))

    return make
