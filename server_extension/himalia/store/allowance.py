"""How much more each owner may start: quotas, what is taken of them, and why a run must wait."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Connection, Select, func, select

from himalia.core.model import Reason
from himalia.core.quotas import CPU_OF_ONE, exceeds, holding, refusal_at_once, refusal_of_month
from himalia.core.team import Quota, Standing
from himalia.store import ledger as books
from himalia.store.database import batched
from himalia.store.run_rows import HELD
from himalia.store.tables import runs
from himalia.store.team_tables import memberships, people, quotas


@dataclass(slots=True)
class Taken:
    """What is on."""

    running: int = 0
    cpu: float = 0.0
    memory_bytes: int = 0

    def add(self, running: int, cpu: float, memory_bytes: int) -> None:
        """Count more."""
        self.running += running
        self.cpu += cpu
        self.memory_bytes += memory_bytes


@dataclass(slots=True, kw_only=True)
class Allowance:
    """The quotas of some owners, within one transaction that nobody starts runs beside."""

    now: datetime
    quotas: dict[str, tuple[Quota, ...]]
    """Those that hold for each owner."""
    taken: dict[tuple[str, str], Taken] = field(default_factory=dict)
    """By ``("user", owner)`` and ``("group", name)``."""
    hours: dict[tuple[str, str], float] = field(default_factory=dict)

    def refusal(self, owner: str, cpu: float, memory_bytes: int) -> Reason | None:
        """Return why a run that asks for this may not start now."""
        for quota in self.quotas.get(owner, ()):
            subject = _subject(quota, owner)
            if refused := refusal_of_month(quota, self.hours.get(subject, 0.0), self.now):
                return refused
            taken = self.taken.get(subject, Taken())
            if refused := refusal_at_once(
                quota, taken.running + 1, taken.cpu + cpu, taken.memory_bytes + memory_bytes
            ):
                return refused
        return None

    def most(self, owner: str) -> tuple[float | None, int | None]:
        """Return the cores and the bytes of the largest run that may ever start."""
        of_owner = self.quotas.get(owner, ())
        cpu = [quota.cpu for quota in of_owner if quota.cpu is not None]
        memory = [quota.memory_bytes for quota in of_owner if quota.memory_bytes is not None]
        return min(cpu, default=None), min(memory, default=None)

    def too_large(self, owner: str, cpu: float, memory_bytes: int) -> Reason | None:
        """Return why a run that asks for this may never start."""
        for quota in self.quotas.get(owner, ()):
            if told := exceeds(quota, cpu, memory_bytes):
                return told[1]
        return None

    def take(self, owner: str, cpu: float, memory_bytes: int) -> None:
        """Count a run that starts."""
        for subject in {_subject(quota, owner) for quota in self.quotas.get(owner, ())}:
            self.taken.setdefault(subject, Taken()).add(1, cpu, memory_bytes)

    def standings(self, owner: str) -> tuple[Standing, ...]:
        """Return the quotas of an owner with what is taken of each."""
        found = []
        for quota in self.quotas.get(owner, ()):
            subject = _subject(quota, owner)
            taken = self.taken.get(subject, Taken())
            found.append(
                Standing(
                    quota=quota,
                    running=taken.running,
                    cpu=taken.cpu,
                    memory_bytes=taken.memory_bytes,
                    run_hours=self.hours.get(subject, 0.0),
                    resets_at=books.month_start(self.now, later=1),
                )
            )
        return tuple(found)


def load(
    connection: Connection, owners: Collection[str], now: datetime, *, all_hours: bool = False
) -> Allowance | None:
    """Read what holds for `owners`, or return None where there is no quota at all.

    Hours are added up for the quotas that limit them alone, unless all are asked for.
    """
    every = read_quotas(connection)
    if not every:
        return None
    names = _names(connection, owners)
    groups = _groups(connection, owners, [one.subject for one in every if one.scope == "group"])
    found = Allowance(
        now=now,
        quotas={owner: holding(every, names.get(owner), groups.get(owner, ())) for owner in owners},
    )
    _count(connection, found)
    _add_hours(connection, found, _subjects(found, with_hours=not all_hours))
    return found


def read_quotas(connection: Connection) -> tuple[Quota, ...]:
    """Read every quota, in the order in which they are told."""
    rows = connection.execute(select(quotas).order_by(quotas.c.scope, quotas.c.subject))
    return tuple(Quota.model_construct(**row._asdict()) for row in rows)


def _subject(quota: Quota, owner: str) -> tuple[str, str]:
    return ("group", quota.subject) if quota.scope == "group" else ("user", owner)


def _names(connection: Connection, owners: Collection[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for some in batched(list(owners)):
        found |= {
            row.owner: row.name
            for row in connection.execute(
                select(people.c.owner, people.c.name).where(people.c.owner.in_(some))
            )
        }
    return found


def _groups(
    connection: Connection, owners: Collection[str], wanted: Sequence[str]
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for some in batched(list(owners)) if wanted else ():
        rows = connection.execute(
            select(memberships).where(
                memberships.c.owner.in_(some), memberships.c.group_name.in_(wanted)
            )
        )
        for row in rows:
            found.setdefault(row.owner, []).append(row.group_name)
    return found


def _count(connection: Connection, found: Allowance) -> None:
    """Count what is on, by owner and for all members of each group together."""
    for row in connection.execute(_on_by(runs.c.owner)):
        found.taken[("user", row[0])] = _taken(row)
    wanted = {subject for scope, subject in _subjects(found) if scope == "group"}
    if wanted:
        names = memberships.c.group_name
        together = _on_by(names).join(memberships, memberships.c.owner == runs.c.owner)
        for row in connection.execute(together.where(names.in_(wanted))):
            found.taken[("group", row[0])] = _taken(row)


def _on_by(subject: Column[str]) -> Select[Any]:
    """Select what is on by subject: how many runs, and what they ask for."""
    return (
        select(
            subject,
            func.count(),
            func.sum(func.coalesce(runs.c.cpu, CPU_OF_ONE)),
            func.sum(func.coalesce(runs.c.memory_bytes, 0)),
        )
        .select_from(runs)
        .where(runs.c.live.in_(HELD))
        .group_by(subject)
    )


def _taken(row: Any) -> Taken:
    return Taken(running=row[1], cpu=float(row[2]), memory_bytes=int(row[3]))


def _subjects(found: Allowance, *, with_hours: bool = False) -> set[tuple[str, str]]:
    return {
        _subject(quota, owner)
        for owner, of_owner in found.quotas.items()
        for quota in of_owner
        if not with_hours or quota.run_hours is not None
    }


def _add_hours(connection: Connection, found: Allowance, limited: set[tuple[str, str]]) -> None:
    users = sorted(subject for scope, subject in limited if scope == "user")
    groups = sorted(subject for scope, subject in limited if scope == "group")
    for owner, hours in books.hours_of_owners(connection, users, found.now).items():
        found.hours[("user", owner)] = hours
    for name, hours in books.hours_of_groups(connection, groups, found.now).items():
        found.hours[("group", name)] = hours
