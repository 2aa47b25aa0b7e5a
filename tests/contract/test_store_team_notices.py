"""Every store keeps what admins told and did, who leads, and what tokens allow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, update
from sqlalchemy.exc import DBAPIError

from himalia.core.administration import AuditQuery
from himalia.core.isolation import Checked
from himalia.core.model import Status
from himalia.core.names import new_id
from himalia.core.team import AuditEntry, IsolationFinding, IsolationReport, Notice
from himalia.store.base import Change, Store
from himalia.store.team import Grant
from himalia.store.team_tables import audit

pytestmark = pytest.mark.asyncio

NOW = datetime(2026, 3, 1, tzinfo=UTC)


async def test_the_notice_is_the_last_one(store: Store) -> None:
    notices = store.team.notices
    assert await notices.get() == Notice()
    notice = Notice(banner="Down at noon.", is_draining=True, changed_at=NOW, changed_by="ann")
    await notices.put(notice)
    assert await notices.get() == notice
    await notices.put(Notice())
    assert await notices.get() == Notice()


async def test_the_self_test_of_isolation_is_the_last_one_and_all_are_in_the_log(
    store: Store,
) -> None:
    checks = store.team.checks
    assert await checks.last() is None
    finding = IsolationFinding(name="nfs", title="the homes", is_open=True, is_right=False)
    for n, report in enumerate(
        (IsolationReport(findings=(finding,)), IsolationReport(error="No pod came up."))
    ):
        before = await store.team.lists.revision()
        checked = Checked(at=NOW + timedelta(minutes=n), report=report)
        await checks.put(checked, _entry(n, action="isolation.test"))
        assert await checks.last() == checked
        assert await store.team.lists.revision() > before
    page = await store.team.notices.audit(AuditQuery(search="isolation"), None)
    assert len(page.items) == 2
    # A line that cannot be written leaves the report before.
    with pytest.raises(Exception, match=r"(?i)unique|integrity"):
        await checks.put(Checked(at=NOW, report=IsolationReport()), page.items[0])
    assert await checks.last() == checked


async def test_while_draining_nothing_new_starts(store: Store, make: Any) -> None:
    workload = await make.stored(store)
    on = await make.held(store, workload)
    await make.queued(store, workload)
    schedule = await store.schedules.insert(make.schedule(workload))
    due = schedule.next_tick_at
    assert due is not None
    await store.team.notices.put(Notice(is_draining=True))
    assert await make.claimed(store) == ()
    assert await store.schedules.due(due, 9) == ()
    assert await store.schedules.next_tick_at() is None
    tick = make.run(workload, schedule_id=schedule.id, tick_at=due)
    assert not await store.schedules.tick(schedule, [tick], next_tick_at=None, reason=None)
    # What runs goes on.
    assert await store.holds.change(on.run.id, on.token, Change(status=Status.RUNNING))
    await store.team.notices.put(Notice())
    assert len(await make.claimed(store)) == 1
    assert [found.id for found, _ in await store.schedules.due(due, 9)] == [schedule.id]
    assert await store.schedules.next_tick_at() == due


def _entry(number: int, **fields: Any) -> AuditEntry:
    at = NOW + timedelta(minutes=number)
    usual = {"id": new_id("aud"), "at": at, "actor": "Root", "action": "run.stop"}
    return AuditEntry(**(usual | fields))


async def test_the_audit_log_is_read_in_pages_the_youngest_first(store: Store) -> None:
    notices = store.team.notices
    entries = [
        _entry(0, owner="ann-id", name="ann", details={"run": {"n": 1}}),
        _entry(1, action="drain.start"),
        _entry(2, owner="bob-id", name="bob", object_id="x"),
    ]
    for entry in entries:
        await notices.record(entry)

    async def found(owners: frozenset[str] | None = None, **query: Any) -> list[AuditEntry]:
        return list((await notices.audit(AuditQuery(**query), owners)).items)

    assert await found() == entries[::-1]
    assert await found(search="DRAIN") == [entries[1]]
    assert await found(search="ann") == [entries[0]]
    assert await found(since=entries[1].at, until=entries[2].at) == [entries[1]]
    assert await found(frozenset({"bob-id"})) == [entries[2]]
    first = await notices.audit(AuditQuery(limit=2), None)
    assert await found(limit=2, cursor=first.next_cursor) == [entries[0]]


async def test_the_audit_log_cannot_be_changed_even_by_us(store: Store) -> None:
    entry = _entry(0)
    await store.team.notices.record(entry)
    for statement in (update(audit).values(actor="Nobody"), delete(audit)):
        with pytest.raises(DBAPIError, match="only appended to"):
            await store._database.write(lambda c, what=statement: c.execute(what))  # type: ignore[attr-defined]
    assert (await store.team.notices.audit(AuditQuery(), None)).items == (entry,)


async def test_a_duty_has_one_holder_until_its_time_is_over(store: Store) -> None:
    leaders = store.team.leaders
    soon, later = NOW + timedelta(seconds=10), NOW + timedelta(seconds=20)
    assert await leaders.lead("tick", "one", NOW, soon)
    assert not await leaders.lead("tick", "two", NOW, later)
    assert await leaders.lead("tidy", "two", NOW, later)
    assert await leaders.lead("tick", "one", NOW, soon)
    assert await leaders.leaders(NOW) == {"tick": "one", "tidy": "two"}
    assert await leaders.leaders(soon) == {"tidy": "two"}
    assert await leaders.lead("tick", "two", soon, later)
    assert not await leaders.lead("tick", "one", soon, later)
    await leaders.resign("two")
    assert await leaders.leaders(NOW) == {}
    assert await leaders.lead("tick", "one", soon, later)


async def test_of_many_that_want_to_lead_at_once_one_does(open_store: Callable[[], Store]) -> None:
    stores = [open_store() for _ in range(4)]
    await asyncio.gather(*(one.open() for one in stores))
    for turn in range(5):
        now = NOW + timedelta(minutes=turn)
        until = now + timedelta(seconds=10)
        took = await asyncio.gather(
            *(one.team.leaders.lead("tick", f"h{n}", now, until) for n, one in enumerate(stores))
        )
        assert sum(took) == 1
    await asyncio.gather(*(one.close() for one in stores))


async def test_a_grant_ends_with_its_run_or_its_time(store: Store, make: Any) -> None:
    grants = store.team.grants
    workload = await make.stored(store)
    first, second = [await make.held(store, workload) for _ in range(2)]
    now = datetime.now(UTC)
    end = now + timedelta(hours=1)
    one = Grant(owner="ann", run_id=first.run.id, scopes=("a", "b"), expires_at=end)
    two = Grant(owner="ann", run_id=second.run.id, scopes=(), expires_at=end)
    await grants.put("one", one)
    await grants.put("two", two)
    assert await grants.find("one", now) == one
    assert await grants.find("one", end) is None
    assert await grants.find("three", now) is None
    await store.holds.change(first.run.id, first.token, Change(status=Status.FAILED))
    assert await grants.find("one", now) is None
    await grants.revoke("bob")
    await grants.revoke("ann", run_ids=[first.run.id])
    assert await grants.find("two", now) == two
    await grants.revoke("ann")
    assert await grants.find("two", now) is None


async def test_a_grant_is_for_its_runs_owner_alone(store: Store, make: Any) -> None:
    held = await make.held(store, await make.stored(store))
    end = datetime.now(UTC) + timedelta(hours=1)
    grant = Grant(owner="bob", run_id=held.run.id, scopes=(), expires_at=end)
    await store.team.grants.put("one", grant)
    assert await store.team.grants.find("one", datetime.now(UTC)) is None
