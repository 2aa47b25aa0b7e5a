"""Every store gives admins everybody's things, by pages that neither miss nor repeat a row."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
import pytest_asyncio

from himalia.core.administration import EveryRunQuery, EveryWorkloadQuery
from himalia.core.errors import InvalidInput, NotFound
from himalia.core.model import Status
from himalia.core.names import new_id
from himalia.core.team import Notice, Person
from himalia.store.base import Change, Store

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def everybody(store: Store, make: Any) -> dict[str, list[str]]:
    """Three owners' runs, the youngest last; one owner was never seen at the hub."""
    at = make.now
    await store.team.people.seen(
        Person(owner=owner, name=name, groups=groups, first_seen_at=at, last_seen_at=at)
        for owner, name, groups in (("o1", "Ann", ("red",)), ("o2", "bob", ("red", "blue")))
    )
    made: dict[str, list[str]] = {"o1": [], "o2": [], "o3": []}
    workloads = [await make.stored(store, owner=owner, name=f"of {owner}") for owner in made]
    for _ in range(3):
        for workload in workloads:
            for status in (Status.SUCCEEDED, Status.FAILED, Status.QUEUED):
                run = await make.queued(store, workload, status=status)
                made[workload.owner].append(run.id)
    return made


async def _all(ask: Callable[[str | None], Awaitable[Any]]) -> list[Any]:
    items, cursor = [], None
    while True:
        page = await ask(cursor)
        items += page.items
        cursor = page.next_cursor
        if cursor is None:
            return items


FILTERS: list[tuple[frozenset[str] | None, dict[str, str], set[str]]] = [
    (None, {}, {"o1", "o2", "o3"}),
    (None, {"owner": "o2"}, {"o2"}),
    (None, {"group": "red"}, {"o1", "o2"}),
    (None, {"search": "ANN"}, {"o1"}),
    (None, {"search": "OF O3"}, {"o3"}),
    (None, {"kind": "job"}, {"o1", "o2", "o3"}),
    (None, {"kind": "app"}, set()),
    (frozenset({"o1", "o3"}), {}, {"o1", "o3"}),
    (frozenset({"o1", "o3"}), {"group": "red"}, {"o1"}),
    (frozenset({"o1"}), {"owner": "o2"}, set()),
    (frozenset(), {}, set()),
    (frozenset({"o1", *map(str, range(50))}), {}, {"o1"}),
]
STATUSES = [(), (Status.FAILED,), (Status.FAILED, Status.SUCCEEDED)]


async def test_pages_of_runs_put_together_are_the_filtered_list(
    store: Store, everybody: dict[str, list[str]]
) -> None:
    names = {"o1": "Ann", "o2": "bob", "o3": ""}
    for (owners, filters, wanted), statuses, sort in product(
        FILTERS, STATUSES, ["-created_at", "created_at"]
    ):
        fields = {"sort": sort, "statuses": statuses, "limit": 4, **filters}
        rows = await _all(
            lambda cursor, fields=fields, owners=owners: store.team.lists.runs(
                EveryRunQuery(cursor=cursor, **fields), owners
            )
        )
        assert all(row.name == names[row.run.owner] for row in rows)
        chosen = statuses or (Status.SUCCEEDED, Status.FAILED, Status.QUEUED)
        assert {row.run.status for row in rows} <= set(chosen)
        expected = [run for owner in wanted for run in everybody[owner]]
        ids = [row.run.id for row in rows]
        assert len(ids) == len(set(ids)) == len(expected) * len(chosen) // 3, fields
        assert set(ids) <= set(expected)
        moments = [row.run.created_at for row in rows]
        assert moments == sorted(moments, reverse=sort.startswith("-"))


async def test_queued_runs_in_a_page_tell_the_place_that_they_tell_alone(
    store: Store, everybody: dict[str, list[str]], make: Any
) -> None:
    another = await make.stored(store, owner="o1", name="another")
    for _ in range(4):
        await make.queued(store, another)
    rows = await _all(
        lambda cursor: store.team.lists.runs(EveryRunQuery(cursor=cursor, limit=5), None)
    )
    assert len(rows) == sum(map(len, everybody.values())) + 4
    places = {row.run.id: row.run.position for row in rows if row.run.status is Status.QUEUED}
    assert len(places) == 13
    for row in rows:
        alone = await store.runs.get(row.run.owner, row.run.id)
        assert row.run.position == alone.position == places.get(row.run.id)
    # Three owners take turns, and whoever has more comes last, alone.
    own = [places[row.run.id] for row in rows[::-1] if row.run.id in places]
    assert sorted(place for place in own if place is not None) == [
        1, 1, 1, 4, 4, 4, 7, 7, 7, 10, 11, 12, 13,
    ]  # fmt: skip


async def test_pages_of_workloads_carry_their_latest_run(
    store: Store, everybody: dict[str, list[str]]
) -> None:
    async def found(owners: frozenset[str] | None = None, **query: Any) -> list[Any]:
        return await _all(
            lambda cursor: store.team.lists.workloads(
                EveryWorkloadQuery(limit=2, cursor=cursor, **query), owners
            )
        )

    rows = await found()
    assert [row.workload.owner for row in rows] == ["o3", "o2", "o1"]
    assert [row.name for row in rows] == ["", "bob", "Ann"]
    assert [row.workload.last_run.id for row in rows] == [
        everybody[owner][-1] for owner in ("o3", "o2", "o1")
    ]
    for owners, query, wanted in (
        (None, {"search": "bo"}, ["o2"]),
        (None, {"group": "red"}, ["o2", "o1"]),
        (frozenset({"o1"}), {}, ["o1"]),
        (None, {"owner": "o3", "kind": "job"}, ["o3"]),
        (None, {"kind": "app"}, []),
    ):
        assert [row.workload.owner for row in await found(owners, **query)] == wanted


async def test_a_cursor_of_another_list_is_refused(
    store: Store, everybody: dict[str, list[str]]
) -> None:
    lists = store.team.lists
    cursor = (await lists.runs(EveryRunQuery(limit=1), None)).next_cursor
    for query in (
        EveryRunQuery(cursor=cursor, owner="o1"),
        EveryRunQuery(cursor="x"),
        EveryRunQuery(sort="name"),
    ):
        with pytest.raises(InvalidInput):
            await lists.runs(query, None)


async def test_an_object_names_its_owner(
    store: Store, make: Any, everybody: dict[str, list[str]]
) -> None:
    workload = await make.stored(store, owner="o9")
    assert await store.team.lists.owner_of(everybody["o2"][0]) == "o2"
    assert await store.team.lists.owner_of(workload.id) == "o9"
    for absent in (new_id("run"), "x", "\0"):
        with pytest.raises(NotFound):
            await store.team.lists.owner_of(absent)


async def test_the_numbers_above_the_page(
    store: Store, make: Any, everybody: dict[str, list[str]]
) -> None:
    workload = await make.stored(store, owner="o1")
    await store.schedules.insert(make.schedule(workload))
    await make.claimed(store, limit=2)
    counts = store.team.lists.counts
    long_ago = make.now - timedelta(days=1)
    assert await counts(None, long_ago) == {
        "people": 2,
        "running": 2,
        "queued": 7,
        "schedules": 1,
        "failed": 9,
    }
    assert (await counts({"o2"}, long_ago))["failed"] == 3
    assert (await counts(None, make.later(3600)))["failed"] == 0
    assert set((await counts(frozenset(), long_ago)).values()) == {0}


async def test_runs_that_nobody_holds_any_more_are_adrift(store: Store, make: Any) -> None:
    workload = await make.stored(store)
    held = await make.held(store, workload)
    await make.queued(store, workload)
    lists = store.team.lists
    assert await lists.adrift(make.now) == ()
    assert [run.id for run in await lists.adrift(make.later(61))] == [held.run.id]


async def test_the_revision_grows_with_every_change_that_a_page_shows(
    store: Store, open_store: Callable[[], Store], make: Any
) -> None:
    other = open_store()
    await other.open()
    numbers = [await store.team.lists.revision()]

    async def changed() -> bool:
        numbers.append(await other.team.lists.revision())
        return numbers[-1] > numbers[-2]

    workload = await make.stored(store)
    assert await changed()
    await make.queued(store, workload)
    assert await changed()
    (held,) = await make.claimed(store)
    assert await changed()
    await store.holds.renew("h1", [(held.run.id, held.token)], make.later(90))
    assert not await changed()
    await store.holds.change(held.run.id, held.token, Change(status=Status.FAILED))
    assert await changed()
    ann = Person(owner="o1", name="ann", first_seen_at=make.now, last_seen_at=make.now)
    await store.team.people.seen([ann])
    assert await changed()
    await store.team.people.seen([ann.model_copy(update={"last_seen_at": make.tick()})])
    assert not await changed()
    await store.team.notices.put(Notice(banner="x"))
    assert await changed()
    await store.runs.delete("ann", held.run.id)
    assert await changed()
    await other.close()
