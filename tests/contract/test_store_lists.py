"""Every store gives its lists by pages that neither miss nor repeat a row."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from himalia.core.errors import InvalidInput
from himalia.core.model import Run, Status, Trigger
from himalia.core.names import new_id
from himalia.core.service import MAX_PAGE, RunQuery, ScheduleQuery, WorkloadQuery
from himalia.store.base import Change, Store

pytestmark = pytest.mark.asyncio


async def _all_runs(store: Store, owner: str, query: RunQuery) -> list[Run]:
    items: list[Run] = []
    cursor = None
    while True:
        asked = RunQuery(**{**_fields(query), "cursor": cursor})
        page = await store.runs.list(owner, asked)
        assert len(page.items) <= query.limit
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            return items


def _fields(query: RunQuery) -> dict[str, Any]:
    return {name: getattr(query, name) for name in query.__dataclass_fields__}


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 3),
            st.sampled_from([Status.QUEUED, Status.RUNNING, Status.SUCCEEDED, Status.FAILED]),
            st.integers(0, 3),
            st.sets(st.sampled_from("ab")),
        ),
        max_size=14,
    ),
    sort=st.sampled_from(["created_at", "-created_at", "ended_at", "-ended_at"]),
    statuses=st.sets(st.sampled_from([Status.RUNNING, Status.SUCCEEDED, Status.FAILED])),
    tag=st.sampled_from([None, "a"]),
    limit=st.integers(1, 5),
)
async def test_pages_put_together_are_the_filtered_sorted_list(
    store: Store,
    make: Any,
    rows: list[tuple[int, Status, int, set[str]]],
    sort: str,
    statuses: set[Status],
    tag: str | None,
    limit: int,
) -> None:
    owner = new_id("usr")
    workload = await make.stored(store, owner=owner)
    base = make.now
    runs = [
        make.run(
            workload,
            status=status,
            created_at=base + timedelta(microseconds=created),
            ended_at=base + timedelta(microseconds=ended) if status.is_terminal else None,
            tags=tuple(sorted(tags)),
        )
        for created, status, ended, tags in rows
    ]
    if runs:
        await store.runs.insert(runs)
    never = base + timedelta(days=1)
    wanted = sorted(
        (
            run
            for run in runs
            if (not statuses or run.status in statuses) and (tag is None or tag in run.tags)
        ),
        key=lambda run: (
            run.created_at if sort.endswith("created_at") else run.ended_at or never,
            run.id,
        ),
        reverse=sort.startswith("-"),
    )
    query = RunQuery(sort=sort, limit=limit, statuses=tuple(statuses), tag=tag)
    assert await _all_runs(store, owner, query) == wanted


async def test_rows_that_come_in_between_neither_repeat_nor_hide_others(
    store: Store, make: Any
) -> None:
    workload = await make.stored(store)
    old = [await make.queued(store, workload) for _ in range(6)]
    first = await store.runs.list("ann", RunQuery(limit=3))
    await make.queued(store, workload)
    await store.runs.request_stop("ann", old[3].id, make.now)
    await store.runs.delete("ann", old[3].id)
    second = await store.runs.list("ann", RunQuery(limit=3, cursor=first.next_cursor))
    assert [run.id for run in first.items] == [run.id for run in (old[5], old[4], old[3])]
    assert [run.id for run in second.items] == [run.id for run in (old[2], old[1], old[0])]
    assert second.next_cursor is None


async def test_runs_are_filtered_by_what_they_are(store: Store, make: Any) -> None:
    one = await make.stored(store, name="Größenwahn 100%")
    two = await make.stored(store, name="other_name")
    schedule = await store.schedules.insert(make.schedule(one))
    ticked = await make.queued(store, one, schedule_id=schedule.id, trigger=Trigger.SCHEDULE)
    failed = await make.queued(store, one, status=Status.FAILED)
    plain = await make.queued(store, two)
    for fields, wanted in (
        ({}, [plain, failed, ticked]),
        ({"kind": "job"}, [plain, failed, ticked]),
        ({"kind": "model"}, []),
        ({"workload_id": one.id}, [failed, ticked]),
        ({"workload_id": one.id, "statuses": (Status.FAILED,)}, [failed]),
        ({"workload_id": one.id, "statuses": (Status.FAILED,), "sort": "-ended_at"}, [failed]),
        ({"schedule_id": schedule.id}, [ticked]),
        ({"trigger": Trigger.SCHEDULE}, [ticked]),
        ({"statuses": (Status.QUEUED,)}, [plain, ticked]),
        ({"statuses": (Status.QUEUED, Status.FAILED)}, [plain, failed, ticked]),
        ({"search": "GRÖSSEN"}, [failed, ticked]),
        ({"search": "100%"}, [failed, ticked]),
        ({"search": "%"}, [failed, ticked]),
        ({"search": "r_n"}, [plain]),
        ({"search": "r.n"}, []),
        ({"search": ""}, [plain, failed, ticked]),
    ):
        page = await store.runs.list("ann", RunQuery(**fields))
        assert [run.id for run in page.items] == [run.id for run in wanted], fields


async def test_workloads_are_sorted_and_filtered(store: Store, make: Any) -> None:
    b = await make.stored(store, name="b", tags=("x", "y"))
    a = await make.stored(store, name="A", tags=("x",))
    c = await make.stored(store, name="c")
    await make.stored(store, owner="bob", tags=("x",))
    await store.workloads.replace(b.model_copy(update={"updated_at": make.tick()}))
    for fields, wanted in (
        ({}, [c, a, b]),
        ({"sort": "created_at"}, [b, a, c]),
        ({"sort": "name"}, [a, b, c]),
        ({"sort": "-name"}, [c, b, a]),
        ({"sort": "-updated_at"}, [b, c, a]),
        ({"tag": "x"}, [a, b]),
        ({"tag": "x", "sort": "-name"}, [b, a]),
        ({"tag": "z"}, []),
        ({"search": "C"}, [c]),
    ):
        page = await store.workloads.list("ann", WorkloadQuery(kind="job", **fields))
        assert [one.id for one in page.items] == [one.id for one in wanted], fields
        cursor, seen = None, []
        while True:
            page = await store.workloads.list(
                "ann", WorkloadQuery(kind="job", limit=1, cursor=cursor, **fields)
            )
            seen += [one.id for one in page.items]
            if (cursor := page.next_cursor) is None:
                break
        assert seen == [one.id for one in wanted], fields


async def test_a_list_of_workloads_has_their_latest_runs(store: Store, make: Any) -> None:
    ran, never = [await make.stored(store) for _ in range(2)]
    await make.queued(store, ran)
    held = await make.claimed(store)
    await make.queued(store, ran)
    (latest,) = await make.claimed(store)
    done = await store.holds.change(latest.run.id, latest.token, Change(status=Status.SUCCEEDED))
    page = await store.workloads.list("ann", WorkloadQuery(kind="job"))
    assert [one.last_run for one in page.items] == [None, done]
    assert (page.items[0].id, len(held)) == (never.id, 1)


async def test_schedules_are_sorted_and_filtered(store: Store, make: Any) -> None:
    one, two = [await make.stored(store, name=name, tags=(name,)) for name in ("one", "two")]
    soon = await store.schedules.insert(make.schedule(one, next_tick_at=make.later(5)))
    never = await store.schedules.insert(make.schedule(one, next_tick_at=None, paused=True))
    later = await store.schedules.insert(make.schedule(two, next_tick_at=make.later(50)))
    for fields, wanted in (
        ({}, [later, never, soon]),
        ({"sort": "next_tick_at"}, [soon, later, never]),
        ({"workload_id": one.id}, [never, soon]),
        ({"paused": True}, [never]),
        ({"paused": False}, [later, soon]),
        ({"search": "TW"}, [later]),
        ({"tag": "one"}, [never, soon]),
    ):
        page = await store.schedules.list("ann", ScheduleQuery(**fields))
        assert page.items == tuple(wanted), fields
    first = await store.schedules.list("ann", ScheduleQuery(sort="next_tick_at", limit=2))
    rest = await store.schedules.list(
        "ann", ScheduleQuery(sort="next_tick_at", limit=2, cursor=first.next_cursor)
    )
    assert rest.items == (never,)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sort", "name"),
        ("sort", "--created_at"),
        ("sort", "created_at; DROP TABLE runs"),
        ("sort", ""),
        ("limit", 0),
        ("limit", MAX_PAGE + 1),
        ("search", "x" * 201),
        ("search", "\ud800"),
        ("tag", "a\x00"),
        ("workload_id", "\ud800"),
        ("kind", "\x00"),
        ("cursor", ""),
        ("cursor", "é"),
        ("cursor", "AAAA"),
        ("cursor", "A" * 5000),
        ("cursor", base64.urlsafe_b64encode(b"[" * 1000).decode()),
        ("cursor", base64.urlsafe_b64encode(b'["x",1]').decode()),
    ],
)
async def test_what_is_wrong_with_a_query_is_named(store: Store, field: str, value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        await store.runs.list("ann", RunQuery(**{field: value}))
    assert [problem.field for problem in caught.value.problems] == [field]


@pytest.mark.parametrize(
    "other",
    [
        RunQuery(sort="created_at"),
        RunQuery(sort="-ended_at"),
        RunQuery(statuses=(Status.QUEUED,)),
        RunQuery(search="s"),
        RunQuery(kind="job"),
    ],
)
async def test_a_cursor_belongs_to_the_query_that_gave_it(
    store: Store, make: Any, other: RunQuery
) -> None:
    workload = await make.stored(store)
    for _ in range(3):
        await make.queued(store, workload)
    cursor = (await store.runs.list("ann", RunQuery(limit=1))).next_cursor
    with pytest.raises(InvalidInput) as caught:
        await store.runs.list("ann", RunQuery(**{**_fields(other), "cursor": cursor}))
    assert caught.value.problems[0].field == "cursor"
    with pytest.raises(InvalidInput):
        await store.runs.list("bob", RunQuery(cursor=cursor))
    # The length of a page may change from one to the next.
    rest = await store.runs.list("ann", RunQuery(limit=9, cursor=cursor))
    assert len(rest.items) == 2


@pytest.mark.parametrize("key", ["1", 1.5, None, True, 2**70, -(2**70), [1]])
async def test_a_forged_cursor_is_refused(store: Store, make: Any, key: Any) -> None:
    workload = await make.stored(store)
    runs = [await make.queued(store, workload) for _ in range(2)]
    cursor = (await store.runs.list("ann", RunQuery(limit=1))).next_cursor
    assert cursor is not None
    digest = json.loads(base64.urlsafe_b64decode(cursor + "==="))[0]
    text = json.dumps([digest, key, runs[0].id])
    forged = base64.urlsafe_b64encode(text.encode()).decode()
    with pytest.raises(InvalidInput) as caught:
        await store.runs.list("ann", RunQuery(limit=1, cursor=forged))
    assert caught.value.problems[0].field == "cursor"
