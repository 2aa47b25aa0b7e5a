"""What the ledger's entries come to in a time, by owner, group, project or kind."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Double, FromClause, Select, case, cast, func, literal, select

from himalia.core.team import By, UsageTotal
from himalia.store.rows import to_micros
from himalia.store.team_tables import ledger, ledger_groups, people

_HOUR = 3_600_000_000.0
_GIB = 2.0**30


def totals(
    connection: Connection,
    owners: Collection[str] | None,
    by: By,
    since: datetime,
    until: datetime,
) -> tuple[UsageTotal, ...]:
    """See :meth:`himalia.store.team.UsageStore.totals`; `until` is not in the future."""
    rows = connection.execute(_statement(owners, by, to_micros(since), to_micros(until))).all()
    names = _names(connection) if by is By.OWNER else {}
    found = [
        UsageTotal(
            subject=row.subject,
            name=names.get(row.subject, "") or (row.name if by is By.OWNER else ""),
            entries=row.entries,
            hours=row.hours,
            cpu_hours=row.cpu_hours,
            asked_cpu_hours=row.asked_cpu,
            asked_memory_gib_hours=row.asked_memory,
        )
        for row in rows
    ]
    return tuple(sorted(found, key=lambda one: (-one.hours, one.subject)))


def _statement(owners: Collection[str] | None, by: By, since: int, until: int) -> Select[Any]:
    """Sum the parts of entries that lie in the time; what was used is spread evenly over each."""
    start = case((ledger.c.started_at < since, literal(since)), else_=ledger.c.started_at)
    end = case((ledger.c.ended_at > until, literal(until)), else_=ledger.c.ended_at)
    hours = cast(end - start, Double) / _HOUR
    whole = cast(ledger.c.ended_at - ledger.c.started_at, Double) / _HOUR
    share = case((whole > 0, hours / func.nullif(whole, 0.0)), else_=1.0)
    subject = {
        By.OWNER: ledger.c.owner,
        By.GROUP: func.coalesce(ledger_groups.c.group_name, ""),
        By.PROJECT: ledger.c.project,
        By.KIND: ledger.c.kind,
    }[by]
    source: FromClause = ledger
    if by is By.GROUP:
        source = ledger.outerjoin(ledger_groups, ledger_groups.c.entry_id == ledger.c.id)
    statement = (
        select(
            subject.label("subject"),
            func.max(ledger.c.name).label("name"),
            func.count().label("entries"),
            func.sum(hours).label("hours"),
            func.sum(ledger.c.cpu_seconds / 3600.0 * share).label("cpu_hours"),
            func.sum(func.coalesce(ledger.c.cpu, 0.0) * hours).label("asked_cpu"),
            func.sum(cast(func.coalesce(ledger.c.memory_bytes, 0), Double) / _GIB * hours).label(
                "asked_memory"
            ),
        )
        .select_from(source)
        .where(ledger.c.started_at < until, ledger.c.ended_at > since)
        .group_by(subject)
    )
    return statement if owners is None else statement.where(ledger.c.owner.in_(owners))


def _names(connection: Connection) -> dict[str, str]:
    rows = connection.execute(select(people.c.owner, people.c.name))
    return {row.owner: row.name for row in rows}
