"""A team's store filled with people, workloads, runs and a ledger, as after some busy months."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, insert

from himalia.core.model import Reason, Run, Status, Trigger, Workload
from himalia.core.names import new_id
from himalia.core.spec import Spec
from himalia.core.team import AuditEntry, Person
from himalia.kinds.job import JobSpec
from himalia.store.database import transact
from himalia.store.ledger import month_of
from himalia.store.rows import to_micros
from himalia.store.sql import SqlStore
from himalia.store.team_tables import ledger, ledger_groups, months

GROUPS = 40
BATCH = 5_000
DAYS = 60
_ENDS = (Status.SUCCEEDED,) * 8 + (Status.FAILED, Status.STOPPED)


async def fill(store: SqlStore, engine: Engine, people: int, runs: int) -> None:
    """Make `people`, each in two groups, and `runs` of theirs with their lines of the ledger."""
    chance = random.Random(4)
    crowd = _crowd(people)
    await store.team.people.seen(crowd)
    workloads = [
        await store.workloads.insert(_workload(person, number))
        for person in crowd
        for number in range(2)
    ]
    begin = datetime.now(UTC) - timedelta(days=DAYS)
    step = timedelta(days=DAYS) / runs
    groups = {person.owner: person.groups for person in crowd}
    for start in range(0, runs, BATCH):
        some = [
            _run(chance, chance.choice(workloads), begin + index * step, is_live=runs - index < 500)
            for index in range(start, min(start + BATCH, runs))
        ]
        await store.runs.insert(some)
        ended = [run for run in some if run.ended_at is not None]
        transact(engine, True, _book, (ended, groups))
    for index in range(2_000):
        person = chance.choice(crowd)
        await store.team.notices.record(_entry(person, begin + index * timedelta(minutes=40)))


def _crowd(count: int) -> list[Person]:
    now = datetime.now(UTC)
    return [
        Person(
            owner=f"user-{index:05}-{new_id('own')[4:]}",
            name=f"user-{index:05}",
            groups=(f"group-{index % GROUPS:02}", f"course-{index % 7}"),
            first_seen_at=now - timedelta(days=DAYS),
            last_seen_at=now - timedelta(minutes=index),
        )
        for index in range(count)
    ]


def _workload(person: Person, number: int) -> Workload[Spec]:
    now = datetime.now(UTC)
    return Workload[Spec](
        id=new_id("job"),
        kind="job",
        owner=person.owner,
        name=f"report {number} of {person.name}",
        spec=JobSpec(notebook="report.ipynb", project=f"project {number}"),
        root="/",
        created_at=now,
        updated_at=now,
    )


def _run(chance: random.Random, workload: Workload[Spec], at: datetime, *, is_live: bool) -> Run:
    run_id = new_id("run")
    status = Status.QUEUED if is_live else chance.choice(_ENDS)
    reason = Reason(code="cell_failed", message="Cell 3 failed.", next_step="Read its output.")
    return Run(
        id=run_id,
        workload_id=workload.id,
        workload_name=workload.name,
        kind=workload.kind,
        owner=workload.owner,
        trigger=Trigger.USER,
        status=status,
        reason=reason if status is Status.FAILED else None,
        attempt=0 if is_live else 1,
        flow_id=run_id,
        created_at=at,
        started_at=None if is_live else at,
        ended_at=None if is_live else at + timedelta(seconds=chance.randrange(5, 7200)),
    )


def _book(connection: Connection, runs: list[Run], groups: dict[str, tuple[str, ...]]) -> None:
    """Write the lines that the runs' claims and ends would have written."""
    lines: list[dict[str, Any]] = []
    members: list[dict[str, Any]] = []
    sums: Counter[tuple[int, str, str]] = Counter()
    for run in runs:
        assert run.started_at is not None
        assert run.ended_at is not None
        begin, end = to_micros(run.started_at), to_micros(run.ended_at)
        line = {"id": f"{run.id}-1", "kind": run.kind, "owner": run.owner, "object_id": run.id}
        line |= {"name": run.owner[:10], "project": "project 0", "title": run.workload_name}
        use = {"cpu": 1.0, "memory_bytes": 2**30, "cpu_seconds": 60.0, "peak_memory_bytes": 2**28}
        lines.append({**line, **use, "started_at": begin, "ended_at": end})
        month = month_of(run.started_at)
        sums[month, "user", run.owner] += end - begin
        for group in groups[run.owner]:
            members.append({"entry_id": line["id"], "group_name": group})
            sums[month, "group", group] += end - begin
    if not lines:
        return
    connection.execute(insert(ledger), lines)
    connection.execute(insert(ledger_groups), members)
    known = {(row.month, row.scope, row.subject): row.micros for row in _months(connection)}
    connection.execute(months.delete())
    total = Counter(known) + sums
    rows = [
        {"month": month, "scope": scope, "subject": subject, "micros": micros}
        for (month, scope, subject), micros in total.items()
    ]
    connection.execute(insert(months), rows)


def _months(connection: Connection) -> list[Any]:
    return list(connection.execute(months.select()))


def _entry(person: Person, at: datetime) -> AuditEntry:
    return AuditEntry(
        id=new_id("aud"),
        at=at,
        actor="admin",
        action="run.stop",
        owner=person.owner,
        name=person.name,
        object_id=new_id("run"),
    )
