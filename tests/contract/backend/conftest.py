"""Every backend, over places of its own."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from typing_extensions import override

from himalia.agents.account import Account
from himalia.agents.backend import AgentBackend
from himalia.agents.fleet import Agents
from himalia.backends.base import AttemptRef, Backend, Observation, Phase
from himalia.backends.local.backend import LocalBackend
from himalia.core.names import new_id
from himalia.core.places import Places
from himalia.core.spec import Resources
from himalia.kinds.base import RunPlan
from himalia.runners.task import RUNNER, NotebookTask
from tests.servers.cluster import Estate, found
from tests.servers.notebooks import pinned
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.people import People, quick

_ENDS = (Phase.ENDED, Phase.LOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a backend under test does its work, and for whom."""

    owner: str
    work: Path
    """A folder that the runs of the owner can write to, by this name."""
    places: Places


class Local:
    """Backends of this machine, as this account."""

    def __init__(self, pool_size: int, folder: Path) -> None:
        self._pool_size = pool_size
        places = Places(home=folder / "home" / ".himalia" / PERSON).prepare_files()
        self.site = Site(owner=PERSON, work=folder, places=places)

    async def make(self) -> Backend:
        return LocalBackend(self.site.places, pool_size=self._pool_size)

    def runner(self, ref: AttemptRef) -> int:
        file = self.site.places.runs / ref.run_id / str(ref.attempt) / "started.json"
        return int(json.loads(file.read_text())["pid"])

    def is_alive(self, _ref: AttemptRef, pid: int) -> bool:
        return _is_alive(pid)


class ByAgents(Local):
    """Backends that agents of other accounts are behind."""

    def __init__(self, people: People) -> None:
        super().__init__(0, people.root(PERSON))
        self._account = people.account(PERSON)
        people.give(PERSON, self.site.work / "home")

    @override
    async def make(self) -> Backend:
        return AgentBackend(Agents(self._of, quick(look_seconds=10.0)))

    async def _of(self, owner: str) -> Account:
        # The owner's things lie where these tests look for them.
        assert self.site.places.home.parts[-2:] == (".himalia", owner)
        return replace(self._account, home=self.site.places.home.parents[1])


class InCluster:
    """Backends of a cluster one of whose nodes this machine is."""

    def __init__(self, estate: Estate) -> None:
        self._estate = estate
        owner = estate.owner(PERSON)
        self._home = home = estate.home(owner)
        self.site = Site(
            owner=owner,
            work=estate.folder(owner, f"work/{new_id('dir')}"),
            places=Places(home=home / ".himalia" / owner),
        )
        for name in ("runs", "snapshots"):
            estate.folder(owner, f".himalia/{owner}/{name}")

    async def make(self) -> Backend:
        # Pods have the home at the same path as this machine: tests and runs mean the same files.
        from tests.servers.pods import pod_backend  # noqa: PLC0415 - a large library behind it

        return (await pod_backend(self._estate, home=str(self._home)))[0]

    def runner(self, ref: AttemptRef) -> int:
        return next(pid for pid in _processes() if _words(pid)[-1:] == [self._folder(ref)])

    def _folder(self, ref: AttemptRef) -> str:
        return str(self.site.places.runs / ref.run_id / str(ref.attempt))

    def is_alive(self, ref: AttemptRef, pid: int) -> bool:
        """Tell by the number that it has in its pod."""
        return any(
            _number_inside(one) == pid and _is_alive(one)
            for one in _processes()
            if f"HIMALIA_ATTEMPT={ref.name}" in _environment(one)
        )


PERSON = "me"
BACKENDS = ["agents", "local-cold", "local-warm", *(["kubernetes"] if found() else [])]


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _read(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:
        return ""


def _words(pid: int) -> list[str]:
    return _read(pid, "cmdline").rstrip("\0").split("\0")


def _environment(pid: int) -> list[str]:
    return _read(pid, "environ").split("\0")


def _number_inside(pid: int) -> int:
    lines = [line.split() for line in _read(pid, "status").splitlines()]
    return next((int(line[-1]) for line in lines if line[:1] == ["NSpid:"]), 0)


def _is_alive(pid: int) -> bool:
    told = _read(pid, "stat").rpartition(")")[2].split()
    return bool(told) and told[0] != "Z"


@dataclass
class Bench:
    """A backend under test, with what it is tested on."""

    where: Local | InCluster
    backend: Backend
    refs: list[AttemptRef] = field(default_factory=list)

    @property
    def places(self) -> Places:
        return self.where.site.places

    @property
    def owner(self) -> str:
        return self.where.site.owner

    def signal(self, ref: AttemptRef, number: int) -> None:
        """Do something to the process of an attempt's runner, wherever it is."""
        os.kill(self.where.runner(ref), number)

    async def until_dead(self, ref: AttemptRef, pid: int) -> None:
        """Wait for the end of a process that knew itself by this number."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.where.is_alive(ref, pid):  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.05)

    def ref(self, attempt: int = 1) -> AttemptRef:
        ref = AttemptRef(owner=self.owner, run_id=new_id("run"), attempt=attempt)
        self.refs.append(ref)
        return ref

    def plan(self, *cells: str, **task: Any) -> RunPlan:
        """Plan a run of these cells."""
        digest = pinned(self.places, *cells)
        return RunPlan(
            runner=RUNNER,
            task=NotebookTask(notebook="n.ipynb", **task).to_json(),
            environment="python3",
            env={"HIMALIA_TEST": "given"},
            resources=Resources(),
            snapshot_digest=digest,
            timeout_seconds=None,
            grace_seconds=4,
        )

    async def look(self, ref: AttemptRef) -> Observation:
        """Observe one attempt, once it can be asked."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while ref not in (  # noqa: ASYNC110 - somebody is not to be asked just now
                seen := await self.backend.observe([ref])
            ):
                await asyncio.sleep(0.2)
            return seen[ref]

    async def until(self, ref: AttemptRef, is_so: Callable[[Observation], bool]) -> Observation:
        """Observe at every change until it is so."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not is_so(seen := await self.look(ref)):
                await self.backend.changes()
            return seen

    async def until_ended(self, ref: AttemptRef) -> Observation:
        return await self.until(ref, lambda seen: seen.phase in _ENDS)

    async def until_cell(self, ref: AttemptRef, index: int) -> Observation:
        return await self.until(ref, lambda seen: seen.progress.current == index)

    async def renew(self) -> None:
        """Go on with another backend object, as after a crash of control."""
        await self.backend.close()
        self.backend = await self.where.make()
        await self.backend.open()


@pytest.fixture(params=sorted(BACKENDS))
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Local | InCluster:
    """Which backend is tested, and where its files lie."""
    match request.param:
        case "kubernetes":
            return InCluster(request.getfixturevalue("cluster_estate"))
        case "agents":
            return ByAgents(request.getfixturevalue("people"))
        case name:
            return Local(int(name == "local-warm"), tmp_path)


@pytest.fixture
def work(where: Local | InCluster) -> Path:
    """A folder that the runs of the backend can write to."""
    return where.site.work


@pytest_asyncio.fixture
async def bench(where: Local | InCluster) -> AsyncIterator[Bench]:
    """A bench that leaves nothing running."""
    bench = Bench(where=where, backend=await where.make())
    await bench.backend.open()
    if isinstance(bench.backend, LocalBackend):
        await bench.backend.warm_up()
    yield bench
    for ref in bench.refs:
        if (await bench.look(ref)).phase in (Phase.STARTING, Phase.RUNNING):
            await bench.backend.stop(ref)
            await bench.until_ended(ref)
    await bench.backend.close()
