"""A control whose files may not grow: ``python -m tests.faults.quota HOME ROOT``.

A program of the tests, in a process of its own, because the limit holds for every file in it.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from pathlib import Path
from typing import Any

from himalia.backends.local.backend import LocalBackend
from himalia.core.errors import Unavailable
from himalia.core.local import LocalService
from himalia.core.local_premises import LocalPremises
from himalia.core.model import Run, WorkloadDraft
from himalia.core.places import Places
from himalia.core.service import Caller, RunQuery
from himalia.kinds.registry import load_kinds
from himalia.store.sql import SqlStore
from tests.servers.patience import PATIENCE_SECONDS


def limit_files(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def live(home: Path, caller: Caller) -> dict[str, Any]:
    places, kinds = Places(home=home).prepare(), load_kinds()
    service = LocalService(
        store=SqlStore(places.store, kinds.decode_spec),
        backend=LocalBackend(places, pool_size=0),
        premises=LocalPremises(places, kinds),
        kinds=kinds,
        places=places,
    )
    await service.open()

    async def submit() -> Run:
        draft: Any = WorkloadDraft(spec=kinds["job"].spec_type(notebook="tally.ipynb"))
        run = (await service.workloads.create(caller, "job", draft)).last_run
        assert run is not None
        return run

    async def end_of(run: Run) -> Run:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (run := await service.runs.get(caller, run.id)).status.is_terminal:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return run

    acknowledged = [await end_of(await submit())]
    limit_files(4096)
    refusals = set()
    for _ in range(5):
        try:
            acknowledged.append(await submit())
        except Unavailable as error:
            refusals.add(error.message)
    listed = len((await service.runs.list(caller, RunQuery())).items)
    limit_files(resource.RLIM_INFINITY)
    acknowledged.append(await submit())
    ended = [await end_of(run) for run in acknowledged]
    everything = (await service.runs.list(caller, RunQuery())).items
    await service.close()
    return {
        "refusals": sorted(refusals),
        "listed": listed,
        "statuses": [run.status.value for run in ended],
        "runs": len(everything),
    }


if __name__ == "__main__":
    there = Caller(owner="alice", root=Path(sys.argv[2]))
    print(json.dumps(asyncio.run(live(Path(sys.argv[1]), there))))
