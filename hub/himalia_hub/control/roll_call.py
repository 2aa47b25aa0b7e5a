"""Compares the people that control knows with the hub's users, and settles what the gone left.

Nothing is taken from anybody by mistake: a person is gone only when two whole lists in a row lack
them, with no failed question between, and when the hub, asked for them by name, says that it knows
no such user.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from himalia.core.errors import HimaliaError, NotFound
from himalia.core.loop import Lead, Loop
from himalia.core.names import new_id
from himalia.core.team import AuditEntry, Person
from himalia.store.team import TeamStore
from himalia_hub.control.hub_api import HubApi, HubUser
from himalia_hub.control.roll import Roll, Rolls
from himalia_hub.control.session_ledger import SessionLedger

_BATCH = 200
_BETWEEN_SECONDS = 5.0
"""At least, between two lists that lack somebody."""
_UNSETTLED_SECONDS = 5.0
_log = logging.getLogger(__name__)


class Estate(Protocol):
    """Does away with what the gone left."""

    async def settle(self, person: Person) -> bool:
        """Do what the settings say (:raises Conflict: something must end first); False: not now."""

    async def sweep(self, present: Collection[str]) -> None:
        """Put away the homes of the gone; `present` are the owners who are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollRules:
    """How the roll is called."""

    every_seconds: float
    """At least, between two; more where there are many users."""
    most_missing: int
    """More than these, missing at once, are taken for a mistake."""


class RollCall:
    """Calls the roll again and again, under a duty."""

    def __init__(  # noqa: PLR0913 - all that it goes by
        self,
        *,
        hub: HubApi,
        rolls: Rolls,
        team: TeamStore,
        estate: Estate,
        lead: Lead,
        rules: RollRules,
    ) -> None:
        self._hub = hub
        self._rolls = rolls
        self._team = team
        self._estate = estate
        self._every = rules.every_seconds
        self._most_missing = rules.most_missing
        self.ledger = SessionLedger(team.usage)
        self._missing: dict[str, float] = {}
        self.loop = Loop("roll call", self.step, lead)

    async def step(self) -> float:
        """Call the roll once; return when to call it again."""
        try:
            roll = await self._rolls.within(0)
        except HimaliaError:
            # Whoever was missing before may have been so because the hub was not itself.
            self._missing.clear()
            raise
        known = await self._meet(roll)
        await self.ledger.book(roll)
        missing = [person for owner, person in known.items() if owner not in roll.users]
        present = roll.users.keys() | {person.owner for person in missing}
        present -= await self._miss(missing, len(known))
        waiting = await self._settle_all()
        await self._estate.sweep(present)
        every = max(self._every, self._rolls.fair_seconds)
        if self._missing:
            return min(every, _BETWEEN_SECONDS)
        return min(every, _UNSETTLED_SECONDS) if waiting else every

    async def _meet(self, roll: Roll) -> dict[str, Person]:
        """Store who is new or changed, and now and then that the others are still there.

        :returns: whom control knew before, by owner.
        """
        known = {person.owner: person for person in await self._team.people.present()}
        people = []
        for owner, user in roll.users.items():
            person = _person(owner, user, roll.at)
            earlier = known.get(owner)
            if earlier is None or _differs(earlier, person):
                people.append(person)
        for start in range(0, len(people), _BATCH):
            await self._team.people.seen(people[start : start + _BATCH])
        return known

    async def _miss(self, missing: Collection[Person], known: int) -> set[str]:
        """Note who is gone, and return them: of so many known, these are missing."""
        gone: set[str] = set()
        if len(missing) > self._most_missing:
            self._missing.clear()
            _log.error(
                "%d of %d people are missing at the hub. That is taken for a mistake, and nothing "
                "of theirs is touched. If they were deleted, raise c.Himalia.most_missing.",
                len(missing),
                known,
            )
            return gone
        now_mono, before = time.monotonic(), self._missing
        self._missing = {one.owner: before.get(one.owner, now_mono) for one in missing}
        for person in missing:
            since = before.get(person.owner)
            if since is None or now_mono - since < min(_BETWEEN_SECONDS, self._every):
                continue
            if not await self._is_unknown(person):
                continue
            await self._team.people.gone(person.owner, datetime.now(UTC))
            self._missing.pop(person.owner, None)
            gone.add(person.owner)
            _log.info("%s is gone: the hub knows no such user any more", person.owner)
            await self._record("person.gone", person)
        return gone

    async def _is_unknown(self, person: Person) -> bool:
        """Ask the hub for one by name."""
        try:
            user = await self._hub.user(person.name)
        except NotFound:
            return True
        return user.owner != person.owner

    async def _settle_all(self) -> bool:
        waiting = False
        for person in await self._team.people.unsettled():
            try:
                done = await self._estate.settle(person)
            except HimaliaError as error:
                # A run has not ended, or something cannot be done now; others need not wait for it.
                _log.info("what %s left waits: %s", person.owner, error.message)
                done = False
            if done:
                await self._record("person.settle", person)
            waiting = waiting or not done
        return waiting

    async def _record(self, action: str, person: Person) -> None:
        await self._team.notices.record(
            AuditEntry(
                id=new_id("aud"),
                at=datetime.now(UTC),
                actor="control",
                action=action,
                owner=person.owner,
                name=person.name,
            )
        )


def _person(owner: str, user: HubUser, at: datetime) -> Person:
    last = user.last_activity or at
    return Person(
        owner=owner,
        name=user.name,
        groups=tuple(sorted(user.groups)),
        is_admin=user.admin,
        first_seen_at=at,
        last_seen_at=min(last, at),
    )


def _differs(earlier: Person, now: Person) -> bool:
    return (earlier.name, sorted(earlier.groups), earlier.is_admin) != (
        now.name,
        sorted(now.groups),
        now.is_admin,
    ) or (now.last_seen_at - earlier.last_seen_at).total_seconds() > 60
