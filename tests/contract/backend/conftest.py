"""Every backend, over places of its own."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from himalia.agents import Account, AgentBackend, Agents
from himalia.backends.base import AttemptRef, Backend, Observation, Phase
from himalia.backends.local.backend import LocalBackend
from himalia.core.names import new_id
from himalia.core.places import Places
from himalia.core.spec import Resources
from himalia.kinds.base import RunPlan
from himalia.runners.task import RUNNER, NotebookTask
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.people import People, quick

_ENDS = (Phase.ENDED, Phase.LOST)


def _local_warm(places: Places, _people: People) -> Backend:
    return LocalBackend(places, pool_size=1)


def _local_cold(places: Places, _people: People) -> Backend:
    return LocalBackend(places, pool_size=0)


def _agents(places: Places, people: People) -> Backend:
    async def account(owner: str) -> Account:
        # The owner's things lie where these tests look for them.
        assert places.home.parts[-2:] == (".himalia", owner)
        return replace(people.account(PERSON), home=places.home.parents[1])

    return AgentBackend(Agents(account, quick(look_seconds=10.0)))


# A backend is a function that makes one over these places; another one finds what it left.
BACKENDS: dict[str, Callable[[Places, People], Backend]] = {
    "local-warm": _local_warm,
    "local-cold": _local_cold,
    "agents": _agents,
}
PERSON = "me"


@dataclass
class Bench:
    """A backend under test, with what it is tested on."""

    make: Callable[[], Backend]
    places: Places
    backend: Backend
    refs: list[AttemptRef] = field(default_factory=list)

    def ref(self, attempt: int = 1) -> AttemptRef:
        ref = AttemptRef(owner=PERSON, run_id=new_id("run"), attempt=attempt)
        self.refs.append(ref)
        return ref

    def plan(self, *cells: str, **task: Any) -> RunPlan:
        """Plan a run of these cells."""
        notebook = {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {},
            "cells": [
                {
                    "cell_type": "code",
                    "id": f"c{number}",
                    "metadata": {},
                    "outputs": [],
                    "execution_count": None,
                    "source": source,
                }
                for number, source in enumerate(cells)
            ],
        }
        data = json.dumps(notebook).encode()
        digest = hashlib.sha256(data).hexdigest()
        folder = self.places.snapshots / digest / "files"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "n.ipynb").write_bytes(data)
        return RunPlan(
            runner=RUNNER,
            task=NotebookTask(notebook="n.ipynb", **task).to_json(),
            environment="python3",
            env={"HIMALIA_TEST": "given"},
            resources=Resources(),
            snapshot_digest=f"sha256:{digest}",
            timeout_seconds=None,
            grace_seconds=4,
        )

    async def look(self, ref: AttemptRef) -> Observation:
        return (await self.backend.observe([ref]))[ref]

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
        self.backend = self.make()
        await self.backend.open()


@pytest.fixture(params=sorted(BACKENDS))
def backend_name(request: pytest.FixtureRequest) -> str:
    """Which backend is tested."""
    return str(request.param)


@pytest.fixture
def tmp_path(backend_name: str, people: People, tmp_path: Path) -> Path:
    """A folder that the runs of the backend can write to."""
    return people.root(PERSON) if backend_name == "agents" else tmp_path


@pytest_asyncio.fixture
async def bench(backend_name: str, people: People, tmp_path: Path) -> AsyncIterator[Bench]:
    """A bench that leaves nothing running."""
    places = Places(home=tmp_path / "home" / ".himalia" / PERSON).prepare_files()
    make = partial(BACKENDS[backend_name], places, people)
    if backend_name == "agents":
        people.give(PERSON, tmp_path / "home")
    bench = Bench(make=make, places=places, backend=make())
    await bench.backend.open()
    if isinstance(bench.backend, LocalBackend):
        await bench.backend.warm_up()
    yield bench
    for ref in bench.refs:
        if (await bench.look(ref)).phase in (Phase.STARTING, Phase.RUNNING):
            await bench.backend.stop(ref)
            await bench.until_ended(ref)
    await bench.backend.close()
