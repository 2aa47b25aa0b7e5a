"""The seam of administration: what admins, and narrowed to their groups group admins, can ask for.

Every method that changes something is in the audit log before it returns, with who did it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from himalia.core.model import Page, Run, Status
from himalia.core.service import Query
from himalia.core.team import (
    AuditEntry,
    By,
    Notice,
    Orphan,
    Overview,
    PersonRow,
    Quota,
    RunRow,
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


class Administration(ABC):
    """Whoever is outside of an admin's groups looks as absent."""

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

    @abstractmethod
    async def orphans(self, admin: Admin) -> tuple[Orphan, ...]:
        """Find what runs and nobody owns, and what is owned and gone."""

    @abstractmethod
    async def end_orphan(self, admin: Admin, orphan_id: str) -> None:
        """End or remove one of them (:raises NotFound: it is not one any more)."""

    @abstractmethod
    async def notice(self, admin: Admin) -> Notice:
        """Return what everybody is told."""

    @abstractmethod
    async def put_notice(self, admin: Admin, notice: Notice) -> Notice:
        """Set the banner and the drain mode (:raises Forbidden: only a full admin may)."""

    @abstractmethod
    async def audit(self, admin: Admin, query: AuditQuery) -> Page[AuditEntry]:
        """Return a page of who did what."""

    @abstractmethod
    async def usage(
        self, admin: Admin, by: By, since: datetime, until: datetime
    ) -> tuple[UsageTotal, ...]:
        """Sum everybody's usage."""

    @abstractmethod
    def usage_entries(
        self, admin: Admin, since: datetime, until: datetime
    ) -> AsyncIterator[UsageEntry]:
        """Yield every line of the ledger in a time, for export."""

    @abstractmethod
    async def quotas(self, admin: Admin) -> tuple[Quota, ...]:
        """Return the quotas."""

    @abstractmethod
    async def put_quota(self, admin: Admin, quota: Quota) -> Quota:
        """Set a quota (:raises Forbidden: a group admin may, for users of their groups alone, and
        not above the group's).
        """

    @abstractmethod
    async def remove_quota(self, admin: Admin, scope: str, subject: str) -> None:
        """Remove a quota."""

    @abstractmethod
    def changes(self, admin: Admin) -> AsyncIterator[int]:
        """Yield a new revision whenever what the page shows may have changed, at most one a second
        and at least one every 15 s.
        """
