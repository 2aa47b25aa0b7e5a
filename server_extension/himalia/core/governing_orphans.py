"""What runs and nobody owns, and what is owned and gone: found by comparing what everybody says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from typing_extensions import override

from himalia.backends.base import AttemptRef
from himalia.core.administration import Admin, Orphans
from himalia.core.errors import HimaliaError, NotFound
from himalia.core.governing_acts import stopped_by
from himalia.core.governing_parts import Deed, Office, may_write
from himalia.core.model import Run
from himalia.core.team import Orphan, Person

_ADRIFT = timedelta(minutes=2)
"""After a hold ran out: a control that is alive takes over within seconds."""
_OWNERS_AT_ONCE = 8
_ASK_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """An orphan with what it was found as."""

    orphan: Orphan
    attempt: AttemptRef | None = None
    run: Run | None = None
    person: Person | None = None


class LocalOrphans(Orphans):
    """Over a store and the backends of everybody whose premises are open."""

    def __init__(self, office: Office) -> None:
        self._office = office

    @override
    async def all(self, admin: Admin) -> tuple[Orphan, ...]:
        return tuple([found.orphan async for found in self._find(admin)])

    @override
    async def end(self, admin: Admin, orphan_id: str) -> None:
        may_write(admin)
        async for found in self._find(admin):
            if found.orphan.id == orphan_id:
                await self._end(admin, found)
                return
        raise NotFound("There is no such orphan any more.")

    async def _end(self, admin: Admin, found: _Found) -> None:
        orphan = found.orphan
        deed = Deed(
            action=f"orphan.{orphan.what}.end",
            person=found.person,
            object_id=orphan.id,
            details={"owner": orphan.owner, "why": orphan.why},
        )
        parts, team = self._office.parts, self._office.team
        async with self._office.noted(admin, deed):
            if found.attempt is not None:
                await parts.backend.stop(found.attempt)
            elif found.run is not None:
                await parts.store.runs.request_stop(
                    found.run.owner,
                    found.run.id,
                    datetime.now(UTC),
                    reason=stopped_by(admin.name),
                )
                parts.reconciler.wake()
            elif found.person is not None:
                runs = await team.people.purge(found.person.owner)
                await parts.keeper.remove_files(runs)
                parts.ticker.loop.wake()

    async def _find(self, admin: Admin) -> AsyncIterator[_Found]:
        owners = await self._office.owners(admin)
        gone = {person.owner: person for person in await self._office.team.people.unsettled()}
        for found in (
            *await self._adrift(gone),
            *[_left(person) for person in gone.values()],
            *await self._unknown(),
        ):
            if owners is None or found.orphan.owner in owners:
                yield found

    async def _adrift(self, gone: dict[str, Person]) -> list[_Found]:
        """Find runs that nobody holds."""
        before = datetime.now(UTC) - _ADRIFT
        return [
            _Found(
                run=run,
                person=gone.get(run.owner),
                orphan=Orphan(
                    what="run",
                    id=run.id,
                    owner=run.owner,
                    name=gone[run.owner].name if run.owner in gone else "",
                    why=f"{run.workload_name} is stored as {run.status.value}, "
                    "and no control has looked after it for minutes.",
                    next_step="See that the owner's processes can start, or end it here.",
                ),
            )
            for run in await self._office.team.lists.adrift(before)
        ]

    async def _unknown(self) -> list[_Found]:
        """Find attempts that run without a row."""
        turns = asyncio.Semaphore(_OWNERS_AT_ONCE)

        async def ask(owner: str) -> tuple[AttemptRef, ...]:
            async with turns:
                try:
                    async with asyncio.timeout(_ASK_SECONDS):
                        return await self._office.parts.backend.running(owner)
                except (HimaliaError, TimeoutError):
                    # Who cannot be asked now has no orphans now.
                    return ()

        owners = await self._office.parts.premises.owners()
        refs = [ref for found in await asyncio.gather(*map(ask, owners)) for ref in found]
        known = await self._office.parts.store.runs.known({ref.run_id for ref in refs})
        return [_running(ref) for ref in refs if ref.run_id not in known]


def _running(ref: AttemptRef) -> _Found:
    return _Found(
        attempt=ref,
        orphan=Orphan(
            what="attempt",
            id=ref.name,
            owner=ref.owner,
            why="Its processes run, and no run of this name is stored.",
            next_step="End it here; the keeper then removes its files.",
        ),
    )


def _left(person: Person) -> _Found:
    return _Found(
        person=person,
        orphan=Orphan(
            what="person",
            id=person.owner,
            owner=person.owner,
            name=person.name,
            why="The hub knows this user no more, and workloads of theirs are left.",
            next_step="Transfer them to somebody, or delete them here.",
        ),
    )
