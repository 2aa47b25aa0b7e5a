"""The ledger's rows: opened and closed in the transactions of what they tell of.

Months are calendar months in UTC. What has ended is summed by month, owner and group as it ends;
what is on is added where a sum is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from himalia.core.model import ResourceUse
from himalia.core.names import attempt_name
from himalia.store.database import batched
from himalia.store.rows import Values, from_micros, to_micros
from himalia.store.tables import FOREVER
from himalia.store.team_tables import is_open, ledger, ledger_groups, memberships, months, people
from himalia.store.upserts import insert_into

SESSION = "session"
"""The kind of entries whose time is no workload's."""


def month_of(moment: datetime) -> int:
    """Number the month of a time: 202603."""
    there = moment.astimezone(UTC)
    return there.year * 100 + there.month


def month_start(moment: datetime, *, later: int = 0) -> datetime:
    """Return when the month of a time, or some month after it, begins."""
    there = moment.astimezone(UTC)
    number = there.year * 12 + there.month - 1 + later
    return datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)


def open_attempt(connection: Connection, run: Row[Any], started_at: datetime) -> None:
    """Open the entry of a claimed run's attempt, unless it is there; `run` is its row."""
    name = connection.scalar(select(people.c.name).where(people.c.owner == run.owner))
    row: Values = {
        "id": attempt_name(run.id, run.attempt),
        "kind": run.kind,
        "owner": run.owner,
        "name": name or "",
        "project": run.project or "",
        "object_id": run.id,
        "title": run.workload_name,
        "cpu": run.cpu,
        "memory_bytes": run.memory_bytes,
        "started_at": to_micros(started_at),
    }
    groups = connection.scalars(
        select(memberships.c.group_name).where(memberships.c.owner == run.owner)
    )
    open_entry(connection, row, groups.all())


def drop_entry(connection: Connection, entry_id: str) -> None:
    """Forget an open entry: nothing was on after all."""
    connection.execute(delete(ledger).where(ledger.c.id == entry_id, ledger.c.ended_at == FOREVER))


def open_entry(connection: Connection, row: Values, groups: Iterable[str]) -> None:
    """Open an entry, unless it is there."""
    nothing_yet = {"ended_at": FOREVER, "cpu_seconds": 0.0, "peak_memory_bytes": 0}
    opened = connection.execute(
        insert_into(connection, ledger)
        .values({**row, **nothing_yet})
        .on_conflict_do_nothing()
        .returning(ledger.c.id)
    ).first()
    if opened is None:
        return
    rows = [{"entry_id": row["id"], "group_name": name} for name in sorted(set(groups))]
    if rows:
        connection.execute(insert(ledger_groups), rows)


def close_entry(
    connection: Connection, entry_id: str, ended_at: datetime, use: ResourceUse | None
) -> None:
    """Close an entry, if it is there and open, and add its time to the months it lies in."""
    use = use or ResourceUse()
    end = to_micros(ended_at)
    closed = connection.execute(
        update(ledger)
        .where(ledger.c.id == entry_id, ledger.c.ended_at == FOREVER)
        .values(
            # Clocks of two machines differ; nothing ends before it began.
            ended_at=func.max(ledger.c.started_at, end)
            if connection.dialect.name == "sqlite"
            else func.greatest(ledger.c.started_at, end),
            cpu_seconds=use.cpu_seconds,
            peak_memory_bytes=use.peak_memory_bytes,
        )
        .returning(ledger.c.owner, ledger.c.kind, ledger.c.started_at, ledger.c.ended_at)
    ).one_or_none()
    if closed is not None and closed.kind != SESSION:
        _add_to_months(connection, entry_id, closed)


def _add_to_months(connection: Connection, entry_id: str, closed: Row[Any]) -> None:
    groups = connection.scalars(
        select(ledger_groups.c.group_name).where(ledger_groups.c.entry_id == entry_id)
    )
    # Always in one order, so that transactions that wait for each other's rows do not entangle.
    subjects = [*(("group", name) for name in sorted(groups)), ("user", closed.owner)]
    for month, micros in _split(closed.started_at, closed.ended_at):
        for scope, subject in subjects:
            row = {"month": month, "scope": scope, "subject": subject, "micros": micros}
            connection.execute(
                insert_into(connection, months)
                .values(row)
                .on_conflict_do_update(
                    index_elements=["month", "scope", "subject"],
                    set_={"micros": months.c.micros + micros},
                )
            )


def _split(start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield each month that a time lies in, with how much of it."""
    while start < end:
        here = from_micros(start)
        stop = min(end, to_micros(month_start(here, later=1)))
        yield month_of(here), stop - start
        start = stop


def hours_of_owners(
    connection: Connection, owners: Iterable[str], now: datetime
) -> dict[str, float]:
    """Return the hours that workloads of each owner were on in this month."""
    found: dict[str, float] = {}
    for some in batched(list(owners)):
        on = select(ledger.c.owner, ledger.c.started_at).where(
            ledger.c.owner.in_(some), ledger.c.kind != SESSION, is_open
        )
        _add_up(found, connection.execute(on).all(), now)
        _add_months(connection, found, "user", some, now)
    return found


def hours_of_groups(
    connection: Connection, groups: Iterable[str], now: datetime
) -> dict[str, float]:
    """Return the hours that workloads of those who were in each group were on in this month."""
    found: dict[str, float] = {}
    for some in batched(list(groups)):
        on = (
            select(ledger_groups.c.group_name, ledger.c.started_at)
            .join(ledger, ledger.c.id == ledger_groups.c.entry_id)
            .where(is_open, ledger.c.kind != SESSION, ledger_groups.c.group_name.in_(some))
        )
        _add_up(found, connection.execute(on).all(), now)
        _add_months(connection, found, "group", some, now)
    return found


_HOUR = 3_600_000_000


def _add_up(found: dict[str, float], on: Iterable[Any], now: datetime) -> None:
    since, end = to_micros(month_start(now)), to_micros(now)
    for subject, started_at in on:
        found[subject] = found.get(subject, 0.0) + max(0, end - max(started_at, since)) / _HOUR


def _add_months(
    connection: Connection,
    found: dict[str, float],
    scope: str,
    subjects: Iterable[str],
    now: datetime,
) -> None:
    rows: Iterable[Any] = connection.execute(
        select(months.c.subject, months.c.micros).where(
            months.c.month == month_of(now), months.c.scope == scope, months.c.subject.in_(subjects)
        )
    )
    for subject, micros in rows:
        found[subject] = found.get(subject, 0.0) + micros / _HOUR
