"""Every store keeps one ledger, written with the runs themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from himalia.core.errors import InvalidInput
from himalia.core.model import ResourceUse, Run, Status
from himalia.core.team import By, Person, Quota, UsageEntry
from himalia.store.base import Change, Held, Spell, Store

pytestmark = pytest.mark.asyncio

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
FAR = datetime(2090, 1, 1, tzinfo=UTC)
GIB = 2**30


async def _entries(store: Store, **fields: Any) -> tuple[UsageEntry, ...]:
    asked: dict[str, Any] = {"owners": None, "since": LONG_AGO, "until": FAR, "limit": 100}
    return (await store.team.usage.entries(**(asked | fields))).items


async def _end(store: Store, held: Held, status: Status, at: datetime, **use: Any) -> Run | None:
    spell = Spell(until=at, use=ResourceUse(**use))
    return await store.holds.change(held.run.id, held.token, Change(status=status, spell=spell))


async def _ann(store: Store, make: Any, *groups: str) -> None:
    await store.team.people.seen(
        [
            Person(
                owner="ann",
                name="Ann",
                groups=groups,
                first_seen_at=make.now,
                last_seen_at=make.now,
            )
        ]
    )


async def test_an_attempt_is_booked_from_its_claim_to_its_end(store: Store, make: Any) -> None:
    await _ann(store, make, "red", "blue")
    workload = await make.stored(
        store, project="p1", resources={"cpu": 2.5, "memory_bytes": 3 * GIB}
    )
    held = await make.held(store, workload)
    claimed_at = make.now
    (entry,) = await _entries(store)
    assert entry == UsageEntry(
        id=f"{held.run.id}-1",
        kind="job",
        owner="ann",
        name="Ann",
        groups=("blue", "red"),
        project="p1",
        object_id=held.run.id,
        title="sums",
        cpu=2.5,
        memory_bytes=3 * GIB,
        started_at=claimed_at,
    )
    # Said by the attempt itself, and so not booked.
    running = Change(status=Status.RUNNING, started_at=make.later(9999))
    await store.holds.change(held.run.id, held.token, running)
    end = make.later(60)
    assert await _end(store, held, Status.SUCCEEDED, end, cpu_seconds=7.5, peak_memory_bytes=9)
    done = entry.model_copy(update={"ended_at": end, "cpu_seconds": 7.5, "peak_memory_bytes": 9})
    assert await _entries(store) == (done,)
    # An end that comes again under the old token changes nothing.
    assert await _end(store, held, Status.FAILED, make.later(90)) is None
    assert await _entries(store) == (done,)


async def test_each_attempt_has_an_entry_of_its_own(store: Store, make: Any) -> None:
    held = await make.held(store, await make.stored(store))
    first_end = make.later(5)
    await _end(store, held, Status.QUEUED, first_end, cpu_seconds=1)
    (again,) = await make.claimed(store)
    await _end(store, again, Status.FAILED, make.later(7), cpu_seconds=2)
    second, first = await _entries(store)
    assert (first.id, second.id) == (f"{held.run.id}-1", f"{held.run.id}-2")
    assert (first.ended_at, first.cpu_seconds, second.cpu_seconds) == (first_end, 1, 2)


async def test_an_attempt_that_was_put_off_costs_nothing(store: Store, make: Any) -> None:
    held = await make.held(store, await make.stored(store))
    put_off = Change(status=Status.QUEUED, attempt=0, not_before=make.now)
    await store.holds.change(held.run.id, held.token, put_off)
    assert await _entries(store) == ()
    (again,) = await make.claimed(store)
    assert [entry.id for entry in await _entries(store)] == [f"{again.run.id}-1"]


async def test_what_is_on_is_counted_by_owner(store: Store, make: Any) -> None:
    held = await make.held(store, await make.stored(store))
    session = UsageEntry(
        id="ses-1", kind="session", owner="bob", name="bob", object_id="", started_at=make.now
    )
    await store.team.usage.begin(session)
    assert await store.team.usage.on(None) == {"ann": 1}
    assert await store.team.usage.on(("ann", "bob")) == {"ann": 1}
    assert await store.team.usage.on(("bob",)) == {}
    await _end(store, held, Status.SUCCEEDED, make.later(1))
    assert await store.team.usage.on(None) == {}


async def test_a_takeover_neither_loses_nor_doubles(store: Store, make: Any) -> None:
    held = await make.held(store, await make.stored(store))
    (entry,) = await _entries(store)
    (taken,) = await store.holds.take_over("h2", now=make.later(99), lease_until=make.later(200))
    assert await _entries(store) == (entry,)
    assert await _end(store, held, Status.FAILED, make.later(1)) is None
    assert await _entries(store) == (entry,)
    end = make.later(100)
    assert await _end(store, taken, Status.SUCCEEDED, end)
    assert await _entries(store) == (entry.model_copy(update={"ended_at": end}),)


async def test_a_session_is_booked_by_whoever_sees_it(store: Store, make: Any) -> None:
    usage = store.team.usage
    entry = UsageEntry(
        id="ses-ann--1",
        kind="session",
        owner="ann",
        name="Ann",
        groups=("red",),
        object_id="",
        started_at=make.now,
    )
    await usage.begin_all([entry])
    await usage.begin(entry.model_copy(update={"started_at": make.later(9)}))
    await usage.begin_all([entry.model_copy(update={"title": "another"})])
    assert await usage.open_sessions() == (entry,)
    await usage.end(entry.id, make.later(60), cpu_seconds=3)
    await usage.end(entry.id, make.later(99))
    assert await usage.open_sessions() == ()
    (closed,) = await _entries(store)
    assert (closed.ended_at, closed.cpu_seconds) == (make.later(60), 3)


async def test_entries_are_those_that_were_on_in_a_time(store: Store, make: Any) -> None:
    start = make.now
    for number in range(5):
        entry = UsageEntry(
            id=f"ses-{number}",
            kind="session",
            owner="ann" if number % 2 else "bob",
            name="",
            object_id="",
            started_at=start + timedelta(minutes=number),
            ended_at=None if number == 4 else start + timedelta(minutes=number + 1),
        )
        await store.team.usage.begin(entry)

    async def ids(**fields: Any) -> list[str]:
        return [entry.id for entry in await _entries(store, **fields)]

    assert await ids() == [f"ses-{number}" for number in (4, 3, 2, 1, 0)]
    assert await ids(owners={"ann"}) == ["ses-3", "ses-1"]
    assert await ids(owners=frozenset()) == []
    since, until = start + timedelta(minutes=1), start + timedelta(minutes=2)
    assert await ids(since=since, until=until) == ["ses-1"]
    assert await ids(since=FAR - timedelta(days=1)) == ["ses-4"]
    page = await store.team.usage.entries(None, LONG_AGO, FAR, limit=2)
    assert await ids(cursor=page.next_cursor) == ["ses-2", "ses-1", "ses-0"]
    with pytest.raises(InvalidInput, match="cursor"):
        await ids(cursor="no")


async def test_sums_take_the_part_of_each_entry_that_lies_in_the_time(
    store: Store, make: Any
) -> None:
    start = make.now
    for owner, groups, project, hours in (
        ("ann", ("red", "blue"), "p", 4),
        ("bob", ("red",), "p", 2),
        ("cy", (), "", 1),
    ):
        await store.team.usage.begin(
            UsageEntry(
                id=f"ses-{owner}",
                kind="job",
                owner=owner,
                name=owner.title(),
                groups=groups,
                project=project,
                object_id="x",
                cpu=2.0,
                memory_bytes=GIB,
                started_at=start,
                ended_at=start + timedelta(hours=hours),
                cpu_seconds=3600 * hours,
            )
        )

    async def hours(by: By, since: float = 0, owners: Any = None) -> dict[str, float]:
        since_at, until = start + timedelta(hours=since), start + timedelta(hours=9)
        totals = await store.team.usage.totals(owners, by, since_at, until)
        assert [one.hours for one in totals] == sorted((one.hours for one in totals), reverse=True)
        for one in totals:
            assert one.cpu_hours == pytest.approx(one.hours)
            assert one.asked_cpu_hours == pytest.approx(2 * one.hours)
            assert one.asked_memory_gib_hours == pytest.approx(one.hours)
        return {one.subject: pytest.approx(one.hours) for one in totals}

    assert await hours(By.OWNER) == {"ann": 4, "bob": 2, "cy": 1}
    assert await hours(By.GROUP) == {"red": 6, "blue": 4, "": 1}
    assert await hours(By.PROJECT) == {"p": 6, "": 1}
    assert await hours(By.KIND) == {"job": 7}
    assert await hours(By.OWNER, since=1.5) == {"ann": 2.5, "bob": 0.5}
    assert await hours(By.KIND, owners={"bob"}) == {"job": 2}
    totals = await store.team.usage.totals(None, By.OWNER, start, start + timedelta(hours=9))
    assert [one.name for one in totals] == ["Ann", "Bob", "Cy"]
    later = {"started_at": start + timedelta(hours=3), "ended_at": start + timedelta(hours=4)}
    more = UsageEntry(id="ses-more", kind="job", owner="bob", name="", object_id="y", **later)
    await store.team.usage.begin(more.model_copy(update={"cpu": 2.0, "memory_bytes": GIB}))
    totals = await store.team.usage.totals(None, By.KIND, start + timedelta(hours=1.5), FAR)
    # One that lies in the time as a whole, and two parts.
    assert [(one.hours, one.entries) for one in totals] == [(pytest.approx(4), 3)]


async def test_what_is_on_counts_until_now(store: Store, make: Any) -> None:
    begun = datetime.now(UTC) - timedelta(hours=2)
    await store.team.usage.begin(
        UsageEntry(id="ses-1", kind="session", owner="ann", name="", object_id="", started_at=begun)
    )
    (total,) = await store.team.usage.totals(None, By.KIND, LONG_AGO, FAR)
    assert total.hours == pytest.approx(2, abs=0.02)


async def test_the_months_hours_are_of_workloads_by_the_calendar_in_utc(
    store: Store, make: Any
) -> None:
    await _ann(store, make, "red")
    for scope, subject in (("everyone", ""), ("group", "red")):
        await store.team.quotas.put(Quota(scope=scope, subject=subject, run_hours=100))
    # Begun at 22:00 in New York on the last day of January: half a minute into February here.
    begin = datetime(2026, 1, 31, 23, 0, tzinfo=UTC)
    for kind in ("job", "session"):
        await store.team.usage.begin(
            UsageEntry(
                id=f"x-{kind}",
                kind=kind,
                owner="ann",
                name="",
                groups=("red",),
                object_id="",
                started_at=begin,
                ended_at=begin + timedelta(hours=3),
            )
        )
    make.now = datetime(2026, 2, 1, 6, tzinfo=UTC)
    held = await make.held(store, await make.stored(store))
    on_since = make.now

    async def hours(now: datetime) -> set[float]:
        standings = await store.team.quotas.standings("ann", now)
        assert len(standings) == 2
        return {round(one.run_hours, 6) for one in standings}

    assert await hours(on_since) == {2}
    assert await hours(on_since + timedelta(hours=5)) == {7}
    # Of what is on, only the part in the month counts.
    assert await hours(datetime(2026, 3, 1, 1, tzinfo=UTC)) == {1}
    await _end(store, held, Status.FAILED, datetime(2026, 3, 2, tzinfo=UTC))
    assert await hours(datetime(2026, 3, 5, tzinfo=UTC)) == {24}
    (first, _) = await store.team.quotas.standings("ann", datetime(2026, 12, 31, 23, tzinfo=UTC))
    assert first.resets_at == datetime(2027, 1, 1, tzinfo=UTC)
