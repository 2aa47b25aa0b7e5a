"""What every implementation of a contract is tested with: one parameter each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from himalia.core.local import LocalService, LocalSettings
from himalia.core.model import (
    Inputs,
    Missed,
    Overlap,
    Run,
    Schedule,
    Status,
    Trigger,
    Workload,
)
from himalia.core.names import new_id
from himalia.core.places import Places
from himalia.core.service import Caller, WorkloadService
from himalia.core.spec import Spec
from himalia.kinds.job import JobSpec
from himalia.kinds.registry import load_kinds
from himalia.store import schema
from himalia.store.base import Held, Store
from himalia.store.database import store_url
from himalia.store.sql import SqlStore
from himalia.store.team import TeamStore
from tests.contract.asker import Asker
from tests.contract.compositions import ON_PODS, SERVICES
from tests.servers.postgres import Postgres

# A store is a fixture that gives the address of an empty one.
STORES = ("sqlite", "postgres")


@pytest.fixture
def sqlite_address(tmp_path: Path) -> str:
    """A file that is not there yet."""
    return str(tmp_path / "store.db")


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    """A database with the schema in it, to be copied: that is faster than making it anew."""
    database = postgres.create()
    schema.prepare(store_url(postgres.url(database)))
    return database


@pytest.fixture
def postgres_address(postgres: Postgres, postgres_template: str) -> Iterator[str]:
    """A database of the test's own."""
    database = postgres.create(template=postgres_template)
    yield postgres.url(database)
    postgres.drop(database)


@pytest.fixture(params=STORES)
def store_address(request: pytest.FixtureRequest) -> str:
    """The address of an empty store, for tests that open it more than once."""
    address: str = request.getfixturevalue(f"{request.param}_address")
    return address


@pytest.fixture
def open_store(store_address: str) -> Callable[[], Store]:
    """Make one more store, as another process would, on the same address."""

    def decode(kind: str, stored: object) -> Spec:
        assert kind == "job"
        return JobSpec.model_validate(stored)

    return lambda: SqlStore(store_address, decode)


@pytest_asyncio.fixture
async def store(open_store: Callable[[], Store]) -> AsyncIterator[Store]:
    """An empty, open store."""
    opened = open_store()
    await opened.open()
    yield opened
    await opened.close()


@dataclass(kw_only=True)
class Maker:
    """Makes rows for a store; each is a second younger than the one before."""

    now: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def later(self, seconds: float) -> datetime:
        return self.now + timedelta(seconds=seconds)

    def workload(self, *, owner: str = "ann", name: str = "sums", **spec: Any) -> Workload[Spec]:
        at = self.tick()
        return Workload[Spec](
            id=new_id("wkl"),
            kind="job",
            owner=owner,
            name=name,
            spec=JobSpec(notebook="sums.ipynb", **spec),
            root="/home/ann",
            created_at=at,
            updated_at=at,
        )

    def run(self, workload: Workload[Spec], **fields: Any) -> Run:
        run_id = new_id("run")
        ended = Status(fields.get("status", Status.QUEUED)).is_terminal
        usual: dict[str, Any] = {
            "id": run_id,
            "workload_id": workload.id,
            "workload_name": workload.name,
            "kind": workload.kind,
            "owner": workload.owner,
            "trigger": Trigger.USER,
            "status": Status.QUEUED,
            "tags": workload.spec.tags,
            "flow_id": run_id,
            "created_at": self.tick(),
            "ended_at": self.later(10) if ended else None,
        }
        return Run(**(usual | fields))

    def schedule(self, workload: Workload[Spec], **fields: Any) -> Schedule:
        at = self.tick()
        usual: dict[str, Any] = {
            "id": new_id("sch"),
            "workload_id": workload.id,
            "workload_name": workload.name,
            "kind": workload.kind,
            "owner": workload.owner,
            "cron": "0 * * * *",
            "time_zone": "UTC",
            "overlap": Overlap.SKIP,
            "missed": Missed.RUN_ONCE,
            "inputs": Inputs.PINNED,
            "paused": False,
            "next_tick_at": self.later(60),
            "created_at": at,
            "updated_at": at,
        }
        return Schedule(**(usual | fields))

    async def stored(self, store: Store, **fields: Any) -> Workload[Spec]:
        """Store a workload without runs."""
        return await store.workloads.insert(self.workload(**fields))

    async def queued(self, store: Store, workload: Workload[Spec], **fields: Any) -> Run:
        """Store a run."""
        return await store.runs.insert([self.run(workload, **fields)])

    async def claimed(self, store: Store, holder: str = "h1", limit: int = 100) -> tuple[Held, ...]:
        """Claim runs for a minute."""
        now = self.tick()
        return await store.holds.claim(
            holder, now=now, lease_until=now + timedelta(seconds=60), limit=limit
        )

    async def held(self, store: Store, workload: Workload[Spec], **fields: Any) -> Held:
        """Store a run and claim it, by itself."""
        run = await self.queued(store, workload, **fields)
        (held,) = await self.claimed(store, limit=1)
        assert held.run.id == run.id
        return held


@pytest.fixture
def make() -> Maker:
    """Makes rows for a store."""
    return Maker()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out of the tests of services on pods what would be the same without."""
    left = [
        item
        for item in items
        if isinstance(item, pytest.Function)
        and hasattr(item, "callspec")
        and item.callspec.params.get("composed") == "kubernetes"
        and item.path.name not in ON_PODS
    ]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


@dataclass(frozen=True, kw_only=True)
class Composed:
    """A service, what is behind it, and who may ask it."""

    local: LocalService
    service: WorkloadService
    caller: Callable[[str], Caller]


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=sorted(SERVICES))
async def composed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Composed]:
    """An open service with a state folder of its own, kept for all of its tests, and what is
    behind it.
    """
    composition = SERVICES[request.param]
    places = Places(home=tmp_path_factory.mktemp("home")).prepare()
    kinds = load_kinds()
    files = await composition.files(places, kinds, request)
    local = LocalService(
        store=SqlStore(places.store, kinds.decode_spec),
        backend=files.backend,
        premises=files.premises,
        kinds=kinds,
        places=places,
        settings=LocalSettings(max_running=2),
    )
    await local.open()
    try:
        async with composition.over(local) as opened:
            yield Composed(local=local, service=opened, caller=files.caller)
    finally:
        await local.close()


@pytest.fixture(scope="session")
def service(composed: Composed) -> WorkloadService:
    """An open service."""
    return composed.service


@pytest.fixture(scope="session")
def team(composed: Composed) -> TeamStore:
    """What the service's team keeps, as an admin changes it."""
    return composed.local.parts.store.team


@pytest.fixture
def alice(composed: Composed) -> Asker:
    """A caller nobody heard of before, but on pods."""
    return Asker(service=composed.service, caller=composed.caller("alice"))


@pytest.fixture
def bob(composed: Composed) -> Asker:
    """Another one, on the same service."""
    return Asker(service=composed.service, caller=composed.caller("bob"))
