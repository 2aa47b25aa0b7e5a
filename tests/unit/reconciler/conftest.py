"""A real store, a backend whose attempts the tests script, and a kind with nothing in it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytest_asyncio
from typing_extensions import override

from himalia.backends.base import AttemptRef, Backend, LogPart, Observation, Outcome, Phase
from himalia.core.flows import begin, new_run
from himalia.core.local_premises import LocalPremises
from himalia.core.model import (
    CellEvent,
    Environment,
    Output,
    PoolStatus,
    Progress,
    Reason,
    ResourceUse,
    Run,
    Schedule,
    Status,
    Trigger,
    Versions,
    Workload,
)
from himalia.core.names import new_id
from himalia.core.places import Places
from himalia.core.reconciler import Reconciler, ReconcilerSettings
from himalia.core.service import RunQuery
from himalia.core.spec import Spec
from himalia.kinds.base import Kind, Pin, RunPlan
from himalia.kinds.registry import Kinds
from himalia.store.base import Store
from himalia.store.sql import SqlStore
from tests.servers.patience import PATIENCE_SECONDS

OWNER = "alice"


class ToySpec(Spec):
    """Nothing but what every workload has."""


class ToyKind(Kind[ToySpec]):
    """Plans nothing much; `check` and `plan` can be made to fail."""

    name: ClassVar[str] = "toy"
    collection: ClassVar[str] = "toys"
    spec_type = ToySpec
    example = ToySpec()

    def __init__(self) -> None:
        self.plan_error: Exception | None = None
        self.check_error: Exception | None = None
        self.pin: Pin | None = None

    @override
    def title(self, spec: ToySpec) -> str:
        return "toy"

    @override
    def check(self, spec: ToySpec, root: Path) -> Pin | None:
        if self.check_error is not None:
            raise self.check_error
        return self.pin

    @override
    def plan(self, workload: Workload[Spec], run: Run, resume: Path | None) -> RunPlan:
        if self.plan_error is not None:
            raise self.plan_error
        return RunPlan(
            runner="toy",
            task={},
            environment="",
            env={},
            resources=workload.spec.resources,
            snapshot_digest=run.snapshot_digest,
            timeout_seconds=workload.spec.timeout_seconds,
            grace_seconds=0.0,
        )


class Cluster:
    """Where scripted attempts live: they outlive the backends that show them."""

    def __init__(self) -> None:
        self.attempts: dict[str, Observation] = {}
        self.executions: list[str] = []
        self.stops: list[str] = []
        self.barred: set[str] = set()
        self.removed: list[str] = []
        self.ends_at_once = False
        self.news: list[asyncio.Event] = []

    def execute(self, name: str) -> None:
        if name in self.barred or name in self.attempts:
            return
        self.executions.append(name)
        self.show(name, Observation(phase=Phase.RUNNING, started_at=datetime.now(UTC)))
        if self.ends_at_once:
            self.end(name)

    def show(self, name: str, seen: Observation) -> None:
        self.attempts[name] = seen
        for event in self.news:
            event.set()

    def progress(self, name: str, done: int, total: int) -> None:
        self.show(name, replace(self.attempts[name], progress=Progress(done=done, total=total)))

    def lose(self, name: str) -> None:
        self.show(name, Observation(phase=Phase.LOST))

    def end(
        self, name: str, status: Status = Status.SUCCEEDED, reason: Reason | None = None
    ) -> None:
        outcome = Outcome(
            status=status,
            reason=reason,
            use=ResourceUse(cpu_seconds=1.0),
            versions=Versions(kernel="toy"),
        )
        now = datetime.now(UTC)
        before = self.attempts.get(name, Observation(phase=Phase.RUNNING, started_at=now))
        self.show(name, replace(before, phase=Phase.ENDED, ended_at=now, outcome=outcome))


class ScriptedBackend(Backend):
    """Shows a cluster; `faults` may raise before or after an operation has had its effect."""

    name = "scripted"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.before: dict[str, Callable[[str], Any]] = {}
        self.after: dict[str, Callable[[str], Any]] = {}
        self.silent = ""  # Why nobody can be asked, while nobody can.
        self._news = asyncio.Event()
        cluster.news.append(self._news)

    async def _hook(
        self, hooks: dict[str, Callable[[str], Any]], operation: str, name: str
    ) -> None:
        hook = hooks.get(operation)
        if hook is not None:
            result = hook(name)
            if inspect.isawaitable(result):
                await result

    @override
    async def open(self) -> None:
        pass

    @override
    async def start(self, ref: AttemptRef, plan: RunPlan) -> None:
        await self._hook(self.before, "start", ref.name)
        self.cluster.execute(ref.name)
        await self._hook(self.after, "start", ref.name)

    @override
    async def observe(self, refs: Sequence[AttemptRef]) -> dict[AttemptRef, Observation]:
        for ref in refs:
            await self._hook(self.before, "observe", ref.name)
        seen, absent = self.cluster.attempts, Observation(phase=Phase.ABSENT)
        return {ref: seen.get(ref.name, absent) for ref in refs if not self.silent}

    @override
    def silence(self, owner: str) -> str:
        return self.silent

    @override
    async def changes(self) -> None:
        await self._news.wait()
        self._news.clear()

    @override
    async def stop(self, ref: AttemptRef) -> None:
        await self._hook(self.before, "stop", ref.name)
        self.cluster.stops.append(ref.name)
        seen = self.cluster.attempts.get(ref.name)
        if seen is None:
            self.cluster.barred.add(ref.name)
        elif seen.phase in {Phase.STARTING, Phase.RUNNING}:
            self.cluster.end(ref.name, Status.STOPPED)

    @override
    async def remove(self, ref: AttemptRef) -> None:
        self.cluster.attempts.pop(ref.name, None)
        self.cluster.removed.append(ref.name)

    @override
    async def log(self, ref: AttemptRef, *, offset: int, limit: int) -> LogPart:
        return LogPart(data=b"", offset=0, next_offset=0)

    @override
    async def events(self, ref: AttemptRef, *, after: int) -> tuple[tuple[CellEvent, ...], int]:
        return (), after

    @override
    async def outputs(self, ref: AttemptRef) -> tuple[Output, ...]:
        return ()

    @override
    async def read_output(self, ref: AttemptRef, name: str) -> AsyncIterator[bytes]:
        for chunk in (b"",):
            yield chunk

    @override
    async def running(self, owner: str) -> tuple[AttemptRef, ...]:
        return ()

    @override
    async def environments(self, owner: str) -> tuple[Environment, ...]:
        return ()

    @override
    async def pool(self, owner: str) -> PoolStatus | None:
        return None

    @override
    async def close(self) -> None:
        pass


class World:
    """What the tests of this folder play with."""

    owner = OWNER

    def __init__(self, store: Store, kind: ToyKind, places: Places) -> None:
        self.store = store
        self.kind = kind
        self.kinds = Kinds((kind,))
        self.places = places
        self.premises = LocalPremises(places, self.kinds)
        self.cluster = Cluster()
        self.backend = ScriptedBackend(self.cluster)
        self.now_offset = timedelta()
        self._running: list[tuple[Reconciler, asyncio.Task[None]]] = []

    def clock(self) -> datetime:
        return datetime.now(UTC) + self.now_offset

    def another_backend(self) -> ScriptedBackend:
        return ScriptedBackend(self.cluster)

    def reconciler(self, **changes: Any) -> Reconciler:
        """Make and start a reconciler; `store` and `backend` may be given, the rest is settings."""
        store = changes.pop("store", self.store)
        backend = changes.pop("backend", self.backend)
        usual = {
            "holder": "control",
            "max_running": 4,
            "ballast": self.places.home / "ballast",
            "clock": self.clock,
        }
        settings = ReconcilerSettings(**{**usual, **changes})
        reconciler = Reconciler(
            store=store,
            backend=backend,
            premises=self.premises,
            kinds=self.kinds,
            settings=settings,
        )
        self._running.append((reconciler, asyncio.create_task(reconciler.run())))
        return reconciler

    async def kill(self, reconciler: Reconciler) -> None:
        """End a reconciler as a killed process ends: nothing is put in order."""
        for known, task in self._running:
            if known is reconciler:
                # All its tasks end at once, wherever they are.
                for loop in known._loops():
                    if loop._task is not None:
                        loop._task.cancel()
                for start in known._tasks:
                    start.cancel()
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def close(self) -> None:
        for reconciler, task in self._running:
            await reconciler.stop()
            if not task.done():
                await task

    async def workload(self, spec: ToySpec | None = None, **changes: Any) -> Workload[Spec]:
        now = datetime.now(UTC)
        workload: Workload[Spec] = Workload(
            **{
                "id": new_id("wkl"),
                "kind": "toy",
                "owner": OWNER,
                "name": "toy",
                "spec": spec or ToySpec(),
                "root": "/",
                "created_at": now,
                "updated_at": now,
                **changes,
            }
        )
        await self.store.workloads.insert(workload)
        return workload

    def spec(self, **fields: Any) -> ToySpec:
        return ToySpec(**fields)

    async def submit(self, workload: Workload[Spec] | None = None, **fields: Any) -> Run:
        workload = workload or await self.workload(ToySpec(**fields))
        first = new_run(workload, trigger=Trigger.USER)
        return await self.store.runs.insert(await begin(self.store, workload, first))

    async def schedule(self, workload: Workload[Spec] | None = None, **changes: Any) -> Schedule:
        workload = workload or await self.workload()
        now = self.clock()
        schedule = Schedule(
            **{
                "id": new_id("sch"),
                "workload_id": workload.id,
                "workload_name": workload.name,
                "kind": workload.kind,
                "owner": OWNER,
                "cron": "* * * * *",
                "time_zone": "UTC",
                "overlap": "queue",
                "missed": "run_once",
                "inputs": "pinned",
                "paused": False,
                "next_tick_at": now,
                "created_at": now,
                "updated_at": now,
                **changes,
            }
        )
        return await self.store.schedules.insert(schedule)

    async def run(self, run_id: str) -> Run:
        return await self.store.runs.get(OWNER, run_id)

    async def runs(self, **query: Any) -> tuple[Run, ...]:
        page = await self.store.runs.list(OWNER, RunQuery(limit=200, sort="created_at", **query))
        return page.items

    async def until(self, condition: Callable[[], Any | Awaitable[Any]]) -> Any:
        """Wait until `condition` gives something true, and return it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                result = condition()
                if inspect.isawaitable(result):
                    result = await result
                if result:
                    return result
                await asyncio.sleep(0.005)

    async def until_status(self, run: Run, *statuses: Status) -> Run:
        async def reached() -> Run | None:
            now = await self.run(run.id)
            return now if now.status in statuses else None

        found: Run = await self.until(reached)
        return found

    async def until_attempt(self, name: str) -> None:
        await self.until(lambda: name in self.cluster.attempts)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(home=tmp_path / "home").prepare()


@pytest.fixture
def kind() -> ToyKind:
    return ToyKind()


@pytest_asyncio.fixture
async def store(places: Places, kind: ToyKind) -> AsyncIterator[Store]:
    store = SqlStore(places.store, Kinds((kind,)).decode_spec)
    await store.open()
    yield store
    await store.close()


@pytest_asyncio.fixture
async def world(store: Store, kind: ToyKind, places: Places) -> AsyncIterator[World]:
    world = World(store, kind, places)
    yield world
    await world.close()
