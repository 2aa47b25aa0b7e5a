"""What the parts of administration share: who is within an admin's reach, and the audit log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from pydantic import JsonValue

from himalia.core.administration import Admin, Servers
from himalia.core.errors import Forbidden, HimaliaError, NotFound
from himalia.core.local_parts import Parts
from himalia.core.names import new_id
from himalia.core.team import AuditEntry, Notice, Person
from himalia.store.team import TeamStore

Announce = Callable[[Notice], Awaitable[None]]
"""Tells what was put up to who does not ask the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """Something an admin does: what the audit log says of it."""

    action: str
    person: Person | None = None
    """Whose object it is."""
    object_id: str = ""
    details: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """All that administration is made of."""

    parts: Parts
    team: TeamStore
    servers: Servers
    announce: Announce
    self_test: str = ""
    """Command that has isolation tried out; empty where there is nothing to try."""

    async def owners(self, admin: Admin) -> frozenset[str] | None:
        """Return whose things an admin sees; None means everybody's."""
        return None if admin.groups is None else await self.team.people.members(admin.groups)

    async def person(self, admin: Admin, owner: str) -> Person:
        """Return a person within reach (:raises NotFound: absent, or outside)."""
        try:
            person = await self.team.people.get(owner)
        except NotFound:
            raise _nobody() from None
        if not reaches(admin, person):
            raise _nobody()
        return person

    async def owner_of(self, admin: Admin, what: str, object_id: str) -> Person:
        """Return whose a run or workload within reach is.

        :raises NotFound: absent, or owned by somebody outside: the two look the same.
        """
        try:
            owner = await self.team.lists.owner_of(object_id)
            person = await self._owner(owner)
        except NotFound:
            raise NotFound(f"There is no {what} {object_id!r}.") from None
        if not reaches(admin, person):
            raise NotFound(f"There is no {what} {object_id!r}.")
        return person

    async def _owner(self, owner: str) -> Person:
        """Return a person, though nobody ever saw them at the hub."""
        try:
            return await self.team.people.get(owner)
        except NotFound:
            never = datetime.fromtimestamp(0, UTC)
            return Person(owner=owner, name="", first_seen_at=never, last_seen_at=never)

    @asynccontextmanager
    async def noted(self, admin: Admin, deed: Deed) -> AsyncIterator[None]:
        """Have what is done within the context in the audit log.

        The line is written first, so that nothing is ever done without one; where it could not be
        done after all, a second line says so.

        :raises Forbidden: this admin may only look.
        """
        may_write(admin)
        await self._record(admin, deed)
        try:
            yield
        except HimaliaError as error:
            failed = replace(
                deed,
                action=f"{deed.action}.failed",
                details={**deed.details, "error": error.code},
            )
            await self._record(admin, failed)
            raise

    async def _record(self, admin: Admin, deed: Deed) -> None:
        await self.team.notices.record(
            AuditEntry(
                id=new_id("aud"),
                at=datetime.now(UTC),
                actor=admin.name,
                action=deed.action,
                owner=deed.person.owner if deed.person else "",
                name=deed.person.name if deed.person else "",
                object_id=deed.object_id,
                details=dict(deed.details),
            )
        )


def reaches(admin: Admin, person: Person) -> bool:
    """Tell whether a person is one of the admin's."""
    if admin.groups is None:
        return True
    return person.gone_at is None and not admin.groups.isdisjoint(person.groups)


def may_write(admin: Admin) -> None:
    """Refuse who may only look (:raises Forbidden:)."""
    if not admin.may_write:
        raise Forbidden("You may look at this, and not change it. Ask an admin of the hub.")


def is_full(admin: Admin) -> None:
    """Refuse who administers groups alone (:raises Forbidden:)."""
    may_write(admin)
    if admin.groups is not None:
        raise Forbidden("Only an admin of the whole hub may do this.")


def _nobody() -> NotFound:
    return NotFound("There is no such person.")
