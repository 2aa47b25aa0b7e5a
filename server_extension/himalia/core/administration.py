"""The seam of administration: what admins, and narrowed to their groups group admins, can ask for.

Whoever is outside of an admin's groups looks as absent. Every method that changes something is in
the audit log before it returns, with who did it, and raises Forbidden for who may only look.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from himalia.core.model import Page, Run, Status
from himalia.core.service import Query
from himalia.core.team import (
    AuditEntry,
    By,
    Isolation,
    Notice,
    Orphan,
    Overview,
    Person,
    PersonRow,
    Quota,
    RunRow,
    ServerState,
    UsageEntry,
    UsageTotal,
    WorkloadRow,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Admin:
    """Who administers, and whom."""

    name: str
    """At the hub; what the audit log says."""
    groups: frozenset[str] | None
    """Whose members they see and steer; None means everybody."""
    may_write: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonQuery(Query):
    """Sorts by ``name`` or ``last_seen_at``."""

    sort: str = "name"
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EveryRunQuery(Query):
    """Sorts by ``created_at``; `search` looks in the names of runs and of owners."""

    statuses: tuple[Status, ...] = ()
    kind: str | None = None
    owner: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EveryWorkloadQuery(Query):
    """Sorts by ``created_at``; `search` looks in the names of workloads and of owners."""

    kind: str | None = None
    owner: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditQuery(Query):
    """Sorts by time alone; `search` looks in actor, action and name."""

    since: datetime | None = None
    until: datetime | None = None


class Servers(Protocol):
    """The hub's part: people's servers."""

    async def states(self, people: Sequence[Person]) -> Mapping[str, tuple[ServerState, ...]]:
        """Return the servers of each of `people` that has one, by owner."""

    async def count(self, owners: Collection[str] | None) -> int:
        """Return how many servers of `owners`, or of everybody, are on."""

    async def stop(self, person: Person, server_name: str) -> None:
        """Stop one (:raises NotFound: it is not on, :raises Unavailable: the hub is gone)."""


class Views(ABC):
    """What there is."""

    @abstractmethod
    async def overview(self, admin: Admin) -> Overview:
        """Return the numbers above the page."""

    @abstractmethod
    async def people(self, admin: Admin, query: PersonQuery) -> Page[PersonRow]:
        """Return a page of people, with their servers and what they run."""

    @abstractmethod
    async def runs(self, admin: Admin, query: EveryRunQuery) -> Page[RunRow]:
        """Return a page of everybody's runs."""

    @abstractmethod
    async def workloads(self, admin: Admin, query: EveryWorkloadQuery) -> Page[WorkloadRow]:
        """Return a page of everybody's workloads."""

    @abstractmethod
    async def audit(self, admin: Admin, query: AuditQuery) -> Page[AuditEntry]:
        """Return a page of who did what."""

    @abstractmethod
    async def isolation(self, admin: Admin) -> Isolation:
        """Return what the last self-test of isolation found.

        :raises Forbidden: only who sees everybody may know.
        """

    @abstractmethod
    def changes(self, admin: Admin) -> AsyncIterator[int]:
        """Yield the present revision, and a new one whenever what the page shows may have changed,
        at most one a second and at least one every 5 s.
        """


class Acts(ABC):
    """What is done to what others own."""

    @abstractmethod
    async def stop_run(self, admin: Admin, run_id: str) -> Run:
        """Ask a run to stop, with a reason that names the admin."""

    @abstractmethod
    async def delete_run(self, admin: Admin, run_id: str) -> None:
        """Delete an ended run with its files (:raises Conflict: it has not ended)."""

    @abstractmethod
    async def delete_workload(self, admin: Admin, workload_id: str) -> None:
        """Delete a workload (:raises Conflict: as for its owner)."""

    @abstractmethod
    async def transfer(self, admin: Admin, owner: str, heir: str) -> int:
        """Give all workloads of an owner to the user named `heir`; return how many.

        :raises InvalidInput: ``heir`` is not there, or is the owner.
        :raises Conflict: a run of them has not ended.
        """

    @abstractmethod
    async def stop_server(self, admin: Admin, owner: str, server_name: str) -> None:
        """Stop a person's server; their runs go on."""


class Orphans(ABC):
    """What runs and nobody owns, and what is owned and gone."""

    @abstractmethod
    async def all(self, admin: Admin) -> tuple[Orphan, ...]:
        """Find them."""

    @abstractmethod
    async def end(self, admin: Admin, orphan_id: str) -> None:
        """End or remove one of them.

        :raises NotFound: it is not one any more.
        :raises Conflict: what must end first has not.
        """


class Rules(ABC):
    """What holds for everybody: the notice and the quotas."""

    @abstractmethod
    async def notice(self, admin: Admin) -> Notice:
        """Return what everybody is told."""

    @abstractmethod
    async def put_notice(self, admin: Admin, notice: Notice) -> Notice:
        """Set the banner and the drain mode (:raises Forbidden: only a full admin may)."""

    @abstractmethod
    async def quotas(self, admin: Admin) -> tuple[Quota, ...]:
        """Return the quotas: a group admin sees everyone's, their groups' and their members'."""

    @abstractmethod
    async def put_quota(self, admin: Admin, quota: Quota) -> Quota:
        """Set a quota.

        :raises Forbidden: a group admin may, for the members of their groups but themselves, and
            not above the group's or, where that sets no limit, everyone's.
        """

    @abstractmethod
    async def remove_quota(self, admin: Admin, scope: str, subject: str) -> None:
        """Remove a quota (:raises Forbidden: as for `put_quota`, of what holds then)."""


class Ledger(ABC):
    """What everybody used."""

    @abstractmethod
    async def totals(
        self, admin: Admin, by: By, since: datetime, until: datetime
    ) -> tuple[UsageTotal, ...]:
        """Sum it, the largest first."""

    @abstractmethod
    def entries(self, admin: Admin, since: datetime, until: datetime) -> AsyncIterator[UsageEntry]:
        """Yield every line of the ledger that was on in a time, for export."""


class Administration(ABC):
    """All of it."""

    views: Views
    acts: Acts
    orphans: Orphans
    rules: Rules
    ledger: Ledger
