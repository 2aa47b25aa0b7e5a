"""No question costs more because the store holds more: each is answered from an index."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from himalia.core.administration import EveryRunQuery, EveryWorkloadQuery, PersonQuery
from himalia.core.model import Run, Status, Workload
from himalia.core.names import new_id
from himalia.core.service import RunQuery, ScheduleQuery, WorkloadQuery
from himalia.core.spec import Spec
from himalia.core.team import Person, Quota
from himalia.store.base import Change
from himalia.store.sql import SqlStore

pytestmark = pytest.mark.asyncio

NOW = datetime(2026, 3, 1, tzinfo=UTC)
ID = new_id("wkl")


@contextmanager
def _watched(store: SqlStore, path: Path) -> Iterator[list[str]]:
    """Collect the plans of all statements."""
    plans: list[str] = []
    statements: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if re.match(r"SELECT|UPDATE|DELETE|WITH", statement):
            statements.append((statement, parameters))

    engine = store._database._engine
    event.listen(engine, "before_cursor_execute", note)
    yield plans
    event.remove(engine, "before_cursor_execute", note)
    assert statements
    with sqlite3.connect(path) as connection:
        for statement, parameters in statements:
            steps = connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            plans += [f"{step[3]}  <-  {statement}" for step in steps]
    connection.close()


def _costly(plans: list[str], *, allow_sort: bool = False) -> list[str]:
    tables = "runs|workloads|schedules|messages|dependencies|run_tags|workload_tags|other"
    # The two small indexes that hold nothing but what is asked for may be read as a whole.
    is_costly = rf"^SCAN ({tables})\b(?! USING INDEX workloads_with_)|AUTOMATIC"
    if not allow_sort:
        is_costly += "|TEMP B-TREE"
    return [plan for plan in plans if re.search(is_costly, plan)]


async def _cursor(listing: Callable[..., Awaitable[Any]], query: Any) -> str | None:
    cursor: str | None = (await listing("ann", query)).next_cursor
    return cursor


SORTS = ["created_at", "-created_at", "ended_at", "-ended_at"]
FILTERS: list[dict[str, Any]] = [
    {},
    {"statuses": (Status.FAILED,)},
    {"workload_id": ID},
    {"workload_id": ID, "statuses": (Status.FAILED, Status.SUCCEEDED)},
    {"search": "x"},
    {"kind": "job"},
]


@pytest.mark.parametrize(("sort", "fields"), list(product(SORTS, FILTERS)))
async def test_pages_of_runs_are_read_in_the_order_of_an_index(
    store: SqlStore,
    path: Path,
    workload: Workload[Spec],
    make_run: Callable[..., Run],
    sort: str,
    fields: dict[str, Any],
) -> None:
    await store.workloads.insert(workload, [make_run() for _ in range(3)])
    first = RunQuery(sort=sort, limit=1)
    cursor = await _cursor(store.runs.list, first)
    with _watched(store, path) as plans:
        await store.runs.list("ann", RunQuery(sort=sort, **fields))
        await store.runs.list("ann", RunQuery(sort=sort, cursor=cursor))
    assert _costly(plans) == []


@pytest.mark.parametrize(
    ("fields", "index"),
    [
        ({}, "runs_by_created"),
        ({"sort": "-ended_at"}, "runs_by_ended"),
        ({"statuses": (Status.FAILED,)}, "runs_by_status"),
        ({"statuses": (Status.FAILED,), "sort": "-ended_at"}, "runs_by_status_ended"),
        ({"workload_id": ID}, "runs_by_workload"),
        ({"workload_id": ID, "statuses": (Status.FAILED,)}, "runs_by_workload"),
        (
            {"workload_id": ID, "statuses": (Status.FAILED,), "sort": "-ended_at"},
            "runs_by_workload_ended",
        ),
        ({"schedule_id": ID}, "runs_by_schedule"),
        ({"tag": "t"}, "run_tags_by_created"),
        ({"tag": "t", "statuses": (Status.FAILED,)}, "run_tags_by_created"),
    ],
)
async def test_each_filter_has_the_index_made_for_it(
    store: SqlStore, path: Path, fields: dict[str, Any], index: str
) -> None:
    with _watched(store, path) as plans:
        await store.runs.list("ann", RunQuery(**fields))
    assert _costly(plans) == []
    assert re.search(rf"INDEX {index} \(", plans[0])


@pytest.mark.parametrize("sort", SORTS)
async def test_several_statuses_are_read_one_by_one_and_merged(
    store: SqlStore, path: Path, sort: str
) -> None:
    statuses = (Status.QUEUED, Status.RUNNING, Status.FAILED)
    with _watched(store, path) as plans:
        await store.runs.list("ann", RunQuery(sort=sort, statuses=statuses))
    assert _costly(plans, allow_sort=True) == []
    assert sum("INDEX runs_by_status" in plan.split("<-")[0] for plan in plans) == 3
    # What is sorted is the three short pages, to merge them.
    assert sum("TEMP B-TREE" in plan for plan in plans) == 3


@pytest.mark.parametrize("sort", ["created_at", "-updated_at", "name", "-name"])
@pytest.mark.parametrize("fields", [{}, {"search": "x"}])
async def test_pages_of_workloads_are_read_in_the_order_of_an_index(
    store: SqlStore, path: Path, sort: str, fields: dict[str, Any]
) -> None:
    with _watched(store, path) as plans:
        await store.workloads.list("ann", WorkloadQuery(kind="job", sort=sort, **fields))
        await store.workloads.list("ann", WorkloadQuery(kind="job", tag="t"))
    assert _costly(plans) == []


@pytest.mark.parametrize("sort", ["created_at", "-next_tick_at"])
async def test_pages_of_schedules_are_read_in_the_order_of_an_index(
    store: SqlStore, path: Path, sort: str
) -> None:
    with _watched(store, path) as plans:
        await store.schedules.list("ann", ScheduleQuery(sort=sort))
    assert _costly(plans) == []


async def test_what_the_reconciler_asks_again_and_again_reads_unended_runs_only(
    store: SqlStore, path: Path, workload: Workload[Spec], make_run: Callable[..., Run]
) -> None:
    await store.workloads.insert(workload, [make_run(), make_run()])
    with _watched(store, path) as plans:
        held = await store.holds.claim("h", now=datetime.now(UTC), lease_until=NOW, limit=1)
        await store.holds.take_over("h", now=NOW, lease_until=NOW)
        await store.holds.renew("h", [(held[0].run.id, 1)], NOW)
        await store.holds.stopping("h")
        await store.runs.counts()
        await store.runs.counts(workload.owner)
        await store.holds.change(held[0].run.id, 1, Change(status=Status.RUNNING))
        await store.runs.waiting()
        await store.runs.expired(NOW, 9)
        await store.schedules.unended(ID)
        await store.schedules.due(NOW, 9)
        await store.schedules.next_tick_at()
        await store.schedules.count()
        await store.messages.due(NOW, 9)
    # Waiting runs are sorted by flow: those of the flows that wait.
    assert _costly(plans, allow_sort=True) == []


async def test_one_object_is_found_by_its_id(
    store: SqlStore, path: Path, workload: Workload[Spec], make_run: Callable[..., Run]
) -> None:
    run = make_run()
    await store.workloads.insert(workload, [run])
    with _watched(store, path) as plans:
        await store.workloads.get("ann", "job", workload.id)
        await store.workloads.find("ann", [workload.id])
        await store.runs.get("ann", run.id)
        await store.runs.known([run.id])
        await store.runs.request_stop("ann", run.id, NOW)
        await store.workloads.delete("ann", "job", workload.id)
    # The owners' turns are counted in the queue alone.
    assert _costly(plans, allow_sort=True) == []


@pytest.mark.parametrize(
    ("query", "owners", "index"),
    [
        (EveryRunQuery(), None, "runs_of_everybody"),
        (EveryRunQuery(sort="created_at"), None, "runs_of_everybody"),
        (EveryRunQuery(search="x"), None, "runs_of_everybody"),
        (EveryRunQuery(kind="job"), None, "runs_of_everybody"),
        (EveryRunQuery(statuses=(Status.FAILED,)), None, "runs_of_everybody_by_status"),
        (EveryRunQuery(owner="ann"), None, "runs_by_created"),
        (EveryRunQuery(owner="ann", statuses=(Status.FAILED,)), None, "runs_by_status"),
        (EveryRunQuery(), frozenset(map(str, range(99))), "runs_of_everybody"),
    ],
)
async def test_everybodys_runs_are_read_in_the_order_of_an_index(
    store: SqlStore,
    path: Path,
    workload: Workload[Spec],
    make_run: Callable[..., Run],
    query: EveryRunQuery,
    owners: frozenset[str] | None,
    index: str,
) -> None:
    await store.workloads.insert(workload, [make_run() for _ in range(3)])
    cursor = (await store.team.lists.runs(replace(query, limit=1), owners)).next_cursor
    with _watched(store, path) as plans:
        await store.team.lists.runs(query, owners)
        if cursor is not None:
            await store.team.lists.runs(replace(query, cursor=cursor), owners)
    steps = [plan.split("  <-  ")[0] for plan in plans]
    of_runs = [step for step in steps if re.match(r"(SCAN|SEARCH) runs\b", step)]
    assert of_runs
    # …and those that are queued once more, for their places.
    expected = (f"INDEX {index} ", "INDEX runs_live (live=?")
    assert all(any(one in f"{step} " for one in expected) for step in of_runs), of_runs
    assert expected[0] in f"{of_runs[0]} "
    # No list of identifiers apart is sorted: those of owners are a set to look into.
    assert not [step for step in steps if "ORDER BY" in step], steps


async def test_what_a_team_asks_again_and_again_is_found_by_an_index(
    store: SqlStore, path: Path, workload: Workload[Spec], make_run: Callable[..., Run]
) -> None:
    await store.workloads.insert(workload, [make_run() for _ in range(3)])
    team = store.team
    at = datetime.now(UTC)
    ann = Person(owner="ann", name="ann", groups=("red",), first_seen_at=at, last_seen_at=at)
    await team.people.seen([ann])
    await team.quotas.put(Quota(scope="everyone", running=1, run_hours=9))
    await team.quotas.put(Quota(scope="group", subject="red", running=9, run_hours=9))
    with _watched(store, path) as plans:
        await store.holds.claim("h", now=at, lease_until=at, limit=9)
        await team.quotas.standings("ann", at)
        await team.lists.people(PersonQuery(), None)
        await team.lists.workloads(EveryWorkloadQuery(), None)
        await team.lists.counts(None, at)
        await team.lists.adrift(at)
        await team.lists.owner_of(workload.id)
        await team.lists.revision()
        await team.usage.open_sessions()
        await team.usage.entries({"ann"}, NOW, at, limit=9)
        await team.grants.find("x", at)
        await team.people.unsettled()
    for table in ("runs", "workloads", "ledger", "ledger_groups", "people", "grants"):
        bare = rf"^SCAN {table}\b(?! USING)"
        assert not [plan for plan in plans if re.match(bare, plan)], table
    # The ledger is never read through: it is the table that only grows.
    is_read = r"SCAN ledger\w*\b(?! USING (COVERING )?INDEX ledger_open\b)"
    assert not [plan for plan in plans if re.match(is_read, plan)]
