"""What the ledger's entries come to in a time, by owner, group, project or kind."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    FromClause,
    Label,
    Row,
    Select,
    case,
    cast,
    func,
    literal,
    select,
)

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
    start, end = to_micros(since), to_micros(until)
    # Nearly all entries lie in the time as a whole, and those are added up with far less work.
    whole = (ledger.c.started_at >= start) & (ledger.c.ended_at <= end)
    names = _names(connection) if by is By.OWNER else None
    found: dict[str, UsageTotal] = {}
    for row in (
        *connection.execute(_statement(owners, by, start, end, _OF_WHOLES).where(whole)),
        *connection.execute(_statement(owners, by, start, end, _parts(start, end)).where(~whole)),
    ):
        total = _total(row, names)
        earlier = found.get(total.subject)
        found[total.subject] = total if earlier is None else _sum(earlier, total)
    return tuple(sorted(found.values(), key=lambda one: (-one.hours, one.subject)))


def _total(row: Row[Any], names: Mapping[str, str] | None) -> UsageTotal:
    # Thousands of them, and the database has just worked them out: nothing to be checked.
    return UsageTotal.model_construct(
        subject=row.subject,
        name=names.get(row.subject, row.name) if names is not None else "",
        entries=row.entries,
        hours=row.hours,
        cpu_hours=row.cpu_hours,
        asked_cpu_hours=row.asked_cpu,
        asked_memory_gib_hours=row.asked_memory,
    )


def _sum(one: UsageTotal, other: UsageTotal) -> UsageTotal:
    return UsageTotal.model_construct(
        subject=one.subject,
        name=one.name,
        entries=one.entries + other.entries,
        hours=one.hours + other.hours,
        cpu_hours=one.cpu_hours + other.cpu_hours,
        asked_cpu_hours=one.asked_cpu_hours + other.asked_cpu_hours,
        asked_memory_gib_hours=one.asked_memory_gib_hours + other.asked_memory_gib_hours,
    )


_micros = cast(ledger.c.ended_at - ledger.c.started_at, Double)
_OF_WHOLES: tuple[Label[Any], ...] = (
    (func.sum(_micros) / _HOUR).label("hours"),
    (func.sum(ledger.c.cpu_seconds) / 3600.0).label("cpu_hours"),
    (func.coalesce(func.sum(ledger.c.cpu * _micros), 0.0) / _HOUR).label("asked_cpu"),
    (func.coalesce(func.sum(ledger.c.memory_bytes * _micros), 0.0) / (_HOUR * _GIB)).label(
        "asked_memory"
    ),
)


def _parts(since: int, until: int) -> tuple[Label[Any], ...]:
    """Sum the parts of entries that lie in the time; what was used is spread evenly over each."""
    start = case((ledger.c.started_at < since, literal(since)), else_=ledger.c.started_at)
    end = case((ledger.c.ended_at > until, literal(until)), else_=ledger.c.ended_at)
    hours = cast(end - start, Double) / _HOUR
    share = case((_micros > 0, hours * _HOUR / func.nullif(_micros, 0.0)), else_=1.0)
    memory = cast(func.coalesce(ledger.c.memory_bytes, 0), Double) / _GIB
    return (
        func.sum(hours).label("hours"),
        func.sum(ledger.c.cpu_seconds / 3600.0 * share).label("cpu_hours"),
        func.sum(func.coalesce(ledger.c.cpu, 0.0) * hours).label("asked_cpu"),
        func.sum(memory * hours).label("asked_memory"),
    )


def _statement(
    owners: Collection[str] | None,
    by: By,
    since: int,
    until: int,
    sums: tuple[Label[Any], ...],
) -> Select[Any]:
    subject: ColumnElement[str] = {
        By.OWNER: ledger.c.owner,
        By.GROUP: func.coalesce(ledger_groups.c.group_name, ""),
        By.PROJECT: ledger.c.project,
        By.KIND: ledger.c.kind,
    }[by]
    if owners is None and by is By.OWNER:
        # Not by the column alone: SQLite would go through the whole ledger in the order of its
        # index rather than through the entries of the time.
        subject = func.coalesce(subject, "")
    source: FromClause = ledger
    if by is By.GROUP:
        source = ledger.outerjoin(ledger_groups, ledger_groups.c.entry_id == ledger.c.id)
    statement: Select[Any] = (
        select(
            subject.label("subject"),
            func.max(ledger.c.name).label("name"),
            func.count().label("entries"),
            *sums,
        )
        .select_from(source)
        .where(ledger.c.started_at < until, ledger.c.ended_at > since)
        .group_by(subject)
    )
    return statement if owners is None else statement.where(ledger.c.owner.in_(owners))


def _names(connection: Connection) -> dict[str, str]:
    rows = connection.execute(select(people.c.owner, people.c.name))
    return {row.owner: row.name for row in rows}
