"""Admins' lists over everybody's things: ``python benchmarks/everybody.py [STORE] [RUNS]``.

`STORE` is the URL of an empty PostgreSQL database, or the path of an SQLite file that is not there.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, insert
from table import clock, median

from himalia.core.administration import EveryRunQuery, EveryWorkloadQuery, PersonQuery
from himalia.core.flows import new_run
from himalia.core.model import Run, Status, Trigger, Workload
from himalia.core.names import new_id
from himalia.core.spec import Spec
from himalia.core.team import By, Person
from himalia.kinds.job import JobSpec
from himalia.kinds.registry import load_kinds
from himalia.store.database import make_engine, store_url, transact
from himalia.store.rows import encode_run, encode_workload, to_micros
from himalia.store.sql import SqlStore
from himalia.store.tables import FOREVER, runs, workloads
from himalia.store.team_tables import ledger

PEOPLE, EACH, RUNS, TRIES, BATCH = 2_000, 5, 100_000, 20, 5_000
NOW = datetime.now(UTC)
MIX = {Status.SUCCEEDED: 90, Status.FAILED: 8, Status.QUEUED: 1, Status.RUNNING: 1}


def _people() -> list[Person]:
    return [
        Person(
            owner=f"user-{number:04}",
            name=f"User {number:04}",
            groups=(f"group-{number % 20}",),
            first_seen_at=NOW,
            last_seen_at=NOW - timedelta(seconds=number),
        )
        for number in range(PEOPLE)
    ]


def _workloads() -> list[Workload[Spec]]:
    return [
        Workload(
            id=new_id("job"),
            kind="job",
            owner=f"user-{number // EACH:04}",
            name=f"notebook {number}",
            spec=JobSpec(notebook="a.ipynb"),
            root="/",
            created_at=NOW - timedelta(minutes=number),
            updated_at=NOW,
        )
        for number in range(PEOPLE * EACH)
    ]


def _fill(connection: Connection, size: int) -> None:
    chance = random.Random(1)
    defined = _workloads()
    connection.execute(insert(workloads), [encode_workload(one) for one in defined])
    statuses = chance.choices(list(MIX), list(MIX.values()), k=size)
    for start in range(0, size, BATCH):
        made = []
        for number in range(start, min(start + BATCH, size)):
            run = new_run(chance.choice(defined), trigger=Trigger.USER)
            at = NOW - timedelta(seconds=20 * number)
            end = at + timedelta(minutes=10) if statuses[number].is_terminal else None
            new = {"status": statuses[number], "created_at": at, "ended_at": end, "attempt": 1}
            made.append(run.model_copy(update=new))
        connection.execute(insert(runs), [encode_run(run) for run in made])
        connection.execute(insert(ledger), [_entry(run) for run in made])


def _entry(run: Run) -> dict[str, Any]:
    return {
        "id": f"{run.id}-1",
        "kind": "job",
        "owner": run.owner,
        "name": "",
        "project": "",
        "object_id": run.id,
        "title": run.workload_name,
        "started_at": to_micros(run.created_at),
        "ended_at": FOREVER if run.ended_at is None else to_micros(run.ended_at),
        "cpu_seconds": 1.0,
        "peak_memory_bytes": 1,
    }


def _questions(store: SqlStore) -> dict[str, Callable[[], Awaitable[Any]]]:
    lists, some = store.team.lists, frozenset(f"user-{number:04}" for number in range(30))
    most = frozenset(f"user-{number:04}" for number in range(1_500))
    failed = (Status.FAILED,)
    day, month = NOW - timedelta(days=1), NOW - timedelta(days=30)
    return {
        "people": lambda: lists.people(PersonQuery(), None),
        "people, 200 by last seen": lambda: lists.people(
            PersonQuery(limit=200, sort="-last_seen_at"), None
        ),
        "runs": lambda: lists.runs(EveryRunQuery(), None),
        "runs, 200": lambda: lists.runs(EveryRunQuery(limit=200), None),
        "runs that failed": lambda: lists.runs(EveryRunQuery(statuses=failed), None),
        "runs, search in vain": lambda: lists.runs(EveryRunQuery(search="zzz"), None),
        "runs of one group": lambda: lists.runs(EveryRunQuery(group="group-3"), None),
        "runs within 30 owners": lambda: lists.runs(EveryRunQuery(), some),
        "runs within 1,500 owners": lambda: lists.runs(EveryRunQuery(), most),
        "workloads": lambda: lists.workloads(EveryWorkloadQuery(), None),
        "numbers above the page": lambda: lists.counts(None, day),
        "revision": lists.revision,
        "ledger, a page": lambda: store.team.usage.entries(None, day, NOW, limit=100),
        "ledger, a month by user": lambda: store.team.usage.totals(None, By.OWNER, month, NOW),
    }


async def measure(address: str, size: int) -> None:
    """Fill the store, and say how long each question takes."""
    store = SqlStore(address, load_kinds().decode_spec)
    await store.open()
    await store.team.people.seen(_people())
    engine = make_engine(store_url(address), is_patient=True)
    await asyncio.to_thread(transact, engine, True, _fill, (size,))
    engine.dispose()
    for name, ask in _questions(store).items():
        taken = []
        for _ in range(TRIES):
            with clock() as seconds:
                await ask()
                taken.append(seconds())
        print(f"{name:28} {1e3 * median(taken):8.1f} ms, at most {1e3 * max(taken):8.1f} ms")
    await store.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        chosen = sys.argv[1] if len(sys.argv) > 1 else str(Path(folder) / "store.db")
        asyncio.run(measure(chosen, int(sys.argv[2]) if len(sys.argv) > 2 else RUNS))
