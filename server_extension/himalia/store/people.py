"""Who there is, in SQL."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    delete,
    exists,
    insert,
    select,
    update,
)
from typing_extensions import override

from himalia.core.errors import NotFound
from himalia.core.model import Run
from himalia.core.team import Person
from himalia.store import accounts, changes, estates
from himalia.store.database import Database, batched
from himalia.store.rows import Values, from_micros, to_micros
from himalia.store.tables import runs, schedules, workloads
from himalia.store.team import PeopleStore
from himalia.store.team_tables import memberships, people

_is_here = people.c.gone_at.is_(None)


class SqlPeople(PeopleStore):
    """People, their groups, and what becomes of theirs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @override
    async def seen(self, people: Iterable[Person]) -> None:
        await self._database.write(_seen, tuple(people))

    @override
    async def get(self, owner: str) -> Person:
        return await self._database.read(_one, people.c.owner == owner)

    @override
    async def present(self) -> tuple[Person, ...]:
        return await self._database.read(_those, _is_here)

    @override
    async def members(self, groups: Collection[str]) -> frozenset[str]:
        return await self._database.read(_members, groups)

    @override
    async def named(self, name: str) -> Person:
        return await self._database.read(_one, _is_here & (people.c.name == name))

    @override
    async def gone(self, owner: str, at: datetime) -> None:
        await self._database.write(estates.close, owner, at)

    @override
    async def unsettled(self) -> tuple[Person, ...]:
        return await self._database.read(_unsettled)

    @override
    async def transfer(self, owner: str, heir: str) -> int:
        return await self._database.write(estates.transfer, owner, heir)

    @override
    async def purge(self, owner: str) -> tuple[Run, ...]:
        return await self._database.write(estates.purge, owner)

    @override
    async def account(self, issuer: str, subject: str, wanted: str) -> str:
        return await self._database.write(accounts.account, issuer, subject, wanted)

    @override
    async def known_account(self, issuer: str, subject: str) -> str | None:
        return await self._database.read(accounts.known, issuer, subject)


def _seen(connection: Connection, found: Sequence[Person]) -> None:
    there: dict[str, Person] = {}
    for some in batched([person.owner for person in found]):
        there |= {one.owner: one for one in _those(connection, people.c.owner.in_(some))}
    new = [person for person in found if person.owner not in there]
    changed = [
        person for person in found if person.owner in there and _differ(there[person.owner], person)
    ]
    if new:
        connection.execute(insert(people), [_encode(person) for person in new])
    for person in changed:
        values = _encode(person)
        for name in ("owner", "first_seen_at", "last_seen_at", "gone_at"):
            del values[name]
        connection.execute(update(people).where(people.c.owner == person.owner).values(values))
        connection.execute(delete(memberships).where(memberships.c.owner == person.owner))
    rows = [
        {"owner": person.owner, "group_name": group}
        for person in (*new, *changed)
        for group in dict.fromkeys(person.groups)
    ]
    if rows:
        connection.execute(insert(memberships), rows)
    if new or changed:
        changes.note(connection)
    later = [
        person
        for person in found
        if person.owner in there and there[person.owner].last_seen_at < person.last_seen_at
    ]
    _touch(connection, later)


def _touch(connection: Connection, found: Sequence[Person]) -> None:
    """Store when people were last seen, which only grows."""
    if not found:
        return
    statement = (
        update(people)
        .where(people.c.owner == bindparam("whose"), people.c.last_seen_at < bindparam("at"))
        .values(last_seen_at=bindparam("at"))
    )
    # In one order, so that two that write the same people do not wait for each other.
    rows = [
        {"whose": one.owner, "at": to_micros(one.last_seen_at)}
        for one in sorted(found, key=lambda one: one.owner)
    ]
    connection.execute(statement, rows)


def _differ(there: Person, person: Person) -> bool:
    return (there.name, frozenset(there.groups), there.is_admin) != (
        person.name,
        frozenset(person.groups),
        person.is_admin,
    )


def _encode(person: Person) -> Values:
    return {
        "owner": person.owner,
        "name": person.name,
        "folded": person.name.casefold(),
        "is_admin": int(person.is_admin),
        "first_seen_at": to_micros(person.first_seen_at),
        "last_seen_at": to_micros(person.last_seen_at),
        "gone_at": None if person.gone_at is None else to_micros(person.gone_at),
    }


def _one(connection: Connection, condition: ColumnElement[bool]) -> Person:
    found = _those(connection, condition)
    if not found:
        raise NotFound("There is no such person.")
    return max(found, key=lambda person: person.last_seen_at)


def _those(connection: Connection, condition: ColumnElement[bool]) -> tuple[Person, ...]:
    rows = connection.execute(select(people).where(condition).order_by(people.c.owner)).all()
    return decode_people(connection, rows)


def decode_people(connection: Connection, rows: Sequence[Row[Any]]) -> tuple[Person, ...]:
    """Read people with their groups, in the order of `rows`."""
    groups: dict[str, list[str]] = {}
    for some in batched([row.owner for row in rows]):
        found = select(memberships).where(memberships.c.owner.in_(some))
        for row in connection.execute(found.order_by(memberships.c.group_name)):
            groups.setdefault(row.owner, []).append(row.group_name)
    return tuple(
        Person.model_construct(
            owner=row.owner,
            name=row.name,
            groups=tuple(groups.get(row.owner, ())),
            is_admin=bool(row.is_admin),
            first_seen_at=from_micros(row.first_seen_at),
            last_seen_at=from_micros(row.last_seen_at),
            gone_at=None if row.gone_at is None else from_micros(row.gone_at),
        )
        for row in rows
    )


def _members(connection: Connection, groups: Collection[str]) -> frozenset[str]:
    found: set[str] = set()
    for some in batched(list(groups)):
        found.update(
            connection.scalars(
                select(memberships.c.owner)
                .join(people, people.c.owner == memberships.c.owner)
                .where(memberships.c.group_name.in_(some), _is_here)
            )
        )
    return frozenset(found)


def _unsettled(connection: Connection) -> tuple[Person, ...]:
    owns = [
        exists().where(table.c.owner == people.c.owner) for table in (workloads, runs, schedules)
    ]
    return _those(connection, people.c.gone_at.is_not(None) & (owns[0] | owns[1] | owns[2]))
