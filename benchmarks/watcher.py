"""Control without its web server, in a process of its own: ``python watcher.py`` on a JSON plan.

Store, reconciler, ticker, keeper, the service and the Kubernetes backend are the product's. It
makes the runs that it is told of, follows them until its standard input is closed, and answers
each line that it reads with one of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp
import psutil
from fake_agents import FakeAgents
from typing_extensions import override

from himalia.agents.fleet import Agents
from himalia.agents.premises import AgentPremises
from himalia.backends.kubernetes.api import Api, Object, Query
from himalia.backends.kubernetes.backend import KubernetesBackend
from himalia.backends.kubernetes.settings import PodSettings
from himalia.core.local import LocalService, LocalSettings
from himalia.core.model import Status, WorkloadDraft
from himalia.core.places import Places
from himalia.core.service import Caller
from himalia.core.spec import Spec
from himalia.kinds.job import JobSpec
from himalia.kinds.registry import load_kinds
from himalia.store.base import Change
from himalia.store.sql import SqlStore

_AT_ONCE = 32


class CountingApi(Api):
    """Counts what is asked of the API server, by verb."""

    counts: Counter[str] = Counter()

    @override
    async def _send(
        self,
        method: str,
        path: str,
        query: Query,
        body: Object | None,
        patience: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        names = dict(query)
        is_list = path.endswith("/pods")
        verb = {"POST": "create", "DELETE": "delete"}.get(method, "list" if is_list else "get")
        self.counts["watch" if "watch" in names else verb] += 1
        return await super()._send(method, path, query, body, patience)


class Watcher:
    """Makes runs, and tells how they are."""

    def __init__(self, service: LocalService, agents: FakeAgents, plan: dict[str, Any]) -> None:
        self._service = service
        self._agents = agents
        self._plan = plan
        self._noted: dict[str, float] = {}
        self._statuses: Counter[str] = Counter()
        self._runs: dict[str, Status] = {}
        self.changes = 0
        self._note_changes()

    def _note_changes(self) -> None:
        """Note when the reconciler has written what became of a run."""
        holds = self._service.parts.store.holds
        write = holds.change

        async def noting(run_id: str, token: int, change: Change) -> Any:
            written = await write(run_id, token, change)
            self.changes += 1
            self._runs[run_id] = change.status
            if change.status is Status.QUEUED:
                # Its pod was seen to be lost: it is tried again.
                self._noted.setdefault(run_id, time.perf_counter())
            return written

        cast("Any", holds).change = noting

    async def make(self, owners: list[str]) -> dict[str, Any]:
        """Make and run the jobs of some owners; return whose pod is which run's."""
        turns = asyncio.Semaphore(_AT_ONCE)

        async def one(owner: str) -> list[str]:
            async with turns:
                caller = Caller(owner=owner, root=Path("/home/jovyan"), name=owner)
                drafts = [
                    WorkloadDraft[Spec](spec=JobSpec(notebook=f"{number}.ipynb"), run=True)
                    for number in range(self._plan["runs_each"])
                ]
                made = [
                    await self._service.workloads.create(caller, "job", draft) for draft in drafts
                ]
                return [job.last_run.id for job in made if job.last_run is not None]

        found = await asyncio.gather(*(one(owner) for owner in owners))
        return {"runs": dict(zip(owners, found, strict=True))}

    async def look(self) -> dict[str, Any]:
        """Return how many runs are on, what was asked of the API server, and the memory taken."""
        process = psutil.Process()
        times = process.cpu_times()
        return {
            "running": sum(status is Status.RUNNING for status in self._runs.values()),
            "calls": dict(CountingApi.counts),
            "agents": self._agents.asked,
            "rss": process.memory_info().rss,
            "cpu": times.user + times.system,
            "connections": len(process.net_connections("tcp")),
        }

    async def noted(self) -> dict[str, Any]:
        """Return when runs were seen to have lost their pods."""
        return {"noted": self._noted}


@asynccontextmanager
async def watching(plan: dict[str, Any], folder: Path) -> AsyncIterator[Watcher]:
    """Give a control that follows runs in namespaces with a prefix."""
    api = await CountingApi.connect(Path(plan["kubeconfig"]))
    agents = FakeAgents()
    settings = PodSettings(
        image="nothing/of-this-name:1",
        prefix=plan["prefix"],
        service_account="himalia-run",
        node_selector={"bench": plan["prefix"]},
        tolerations=({"key": "bench", "operator": "Exists"},),
        cpu=0.01,
        memory_bytes=2**20,
        overhead_bytes=0,
        is_watching_all=plan["is_watching_all"],
    )
    kinds = load_kinds()
    places = Places(home=folder).prepare()
    stand_in = cast("Agents", agents)
    service = LocalService(
        store=SqlStore(places.store, kinds.decode_spec),
        backend=KubernetesBackend(stand_in, api, settings),
        premises=AgentPremises(stand_in),
        kinds=kinds,
        places=places,
        settings=LocalSettings(max_running=plan["at_most"], max_unended=10**6),
    )
    await service.open()
    try:
        yield Watcher(service, agents, plan)
    finally:
        await service.close()


async def serve(plan: dict[str, Any]) -> None:
    """Answer line by line."""
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory(prefix="himalia-bench-") as folder:
        async with watching(plan, Path(folder)) as watcher:
            print(json.dumps({"pid": os.getpid()}), flush=True)
            while line := await loop.run_in_executor(None, sys.stdin.readline):
                do, *words = json.loads(line)
                print(json.dumps(await getattr(watcher, do)(*words)), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(json.loads(sys.stdin.readline())))
