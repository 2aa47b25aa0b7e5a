"""The contract of a store, continued: what a team's control keeps.

The same rules as in ``store/base.py`` hold: a method that has returned is durable, and each is one
transaction.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from himalia.core.administration import AuditQuery, EveryRunQuery, EveryWorkloadQuery, PersonQuery
from himalia.core.isolation import Checked
from himalia.core.model import Page, Run
from himalia.core.team import (
    AuditEntry,
    By,
    Notice,
    Person,
    PersonRow,
    Quota,
    RunRow,
    Standing,
    UsageEntry,
    UsageTotal,
    WorkloadRow,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What the bearer of one of our own tokens may do; only a hash of the token is stored."""

    owner: str
    run_id: str
    scopes: tuple[str, ...]
    expires_at: datetime


class PeopleStore(ABC):
    """Who there is."""

    @abstractmethod
    async def seen(self, people: Iterable[Person]) -> None:
        """Store people as they are now; ``first_seen_at`` stays, ``gone_at`` is not touched."""

    @abstractmethod
    async def get(self, owner: str) -> Person:
        """Return one (:raises NotFound:)."""

    @abstractmethod
    async def present(self) -> tuple[Person, ...]:
        """Return everybody who is not gone."""

    @abstractmethod
    async def members(self, groups: Collection[str]) -> frozenset[str]:
        """Return the owners who are not gone and are in one of `groups`."""

    @abstractmethod
    async def named(self, name: str) -> Person:
        """Return the one who has this name at the hub now (:raises NotFound:)."""

    @abstractmethod
    async def gone(self, owner: str, at: datetime) -> None:
        """Note that the hub knows this person no more. Their runs are asked to stop, their
        schedules are paused and their tokens go, in the same transaction.
        """

    @abstractmethod
    async def unsettled(self) -> tuple[Person, ...]:
        """Return those who are gone and still own workloads, runs or schedules."""

    @abstractmethod
    async def transfer(self, owner: str, heir: str) -> int:
        """Give all workloads of `owner`, with their runs and schedules, to `heir`; count them.

        :raises Conflict: a run of them has not ended.
        """

    @abstractmethod
    async def purge(self, owner: str) -> tuple[Run, ...]:
        """Delete all that `owner` owns but the ledger and the audit log; return the runs, whose
        files can go now.

        :raises Conflict: a run has not ended.
        """

    @abstractmethod
    async def account(self, issuer: str, subject: str, wanted: str) -> str:
        """Return the hub's user name for an account at a provider: the one it always had, or a
        new one like `wanted` that no other account has or had, in any case or Unicode form.
        """

    @abstractmethod
    async def known_account(self, issuer: str, subject: str) -> str | None:
        """Return the hub's user name for an account at a provider, if it has one."""


class ListStore(ABC):
    """Everybody's things, in pages; `owners` narrows them, None does not."""

    @abstractmethod
    async def people(self, query: PersonQuery, owners: Collection[str] | None) -> Page[PersonRow]:
        """Return a page of people with their counts; ``servers`` is left empty."""

    @abstractmethod
    async def runs(self, query: EveryRunQuery, owners: Collection[str] | None) -> Page[RunRow]:
        """Return a page of runs."""

    @abstractmethod
    async def workloads(
        self, query: EveryWorkloadQuery, owners: Collection[str] | None
    ) -> Page[WorkloadRow]:
        """Return a page of workloads, each with its latest run."""

    @abstractmethod
    async def owner_of(self, object_id: str) -> str:
        """Return who owns a run or a workload (:raises NotFound:)."""

    @abstractmethod
    async def adrift(self, before: datetime) -> tuple[Run, ...]:
        """Return up to 200 started, unended runs whose hold ran out before then."""

    @abstractmethod
    async def counts(self, owners: Collection[str] | None, since: datetime) -> dict[str, int]:
        """Return ``people``, ``running``, ``queued``, ``schedules`` and ``failed`` (since)."""

    @abstractmethod
    async def revision(self) -> int:
        """Return a number that grows with every change of a run, person or notice (all stores of
        one database agree), so that pages can be kept up to date cheaply.
        """


class UsageStore(ABC):
    """The ledger. A run's entries are written with the run's own changes, by the store."""

    @abstractmethod
    async def begin(self, entry: UsageEntry) -> None:
        """Open an entry; one that is there stays as it is."""

    @abstractmethod
    async def begin_all(self, entries: Iterable[UsageEntry]) -> None:
        """Open entries; those that are there stay as they are."""

    @abstractmethod
    async def end(
        self, entry_id: str, at: datetime, *, cpu_seconds: float = 0, peak_memory_bytes: int = 0
    ) -> None:
        """Close an entry; a closed one stays as it is."""

    @abstractmethod
    async def on(self, owners: Collection[str] | None) -> dict[str, int]:
        """Count the workloads' entries that are open, by owner; those without any are left out."""

    @abstractmethod
    async def open_sessions(self) -> tuple[UsageEntry, ...]:
        """Return the sessions that are on."""

    @abstractmethod
    async def entries(
        self,
        owners: Collection[str] | None,
        since: datetime,
        until: datetime,
        *,
        limit: int,
        cursor: str | None = None,
    ) -> Page[UsageEntry]:
        """Return entries that were on in a time, the youngest first."""

    @abstractmethod
    async def totals(
        self, owners: Collection[str] | None, by: By, since: datetime, until: datetime
    ) -> tuple[UsageTotal, ...]:
        """Sum the parts of entries that lie in a time, the largest first."""


class QuotaStore(ABC):
    """What people may take.

    ``holds.claim`` starts no run that would exceed a quota of its owner or of a group of theirs,
    however many processes claim at once; such runs stay queued with the reason ``quota``.
    """

    @abstractmethod
    async def put(self, quota: Quota) -> None:
        """Store a quota, in the place of an earlier one of the same scope and subject."""

    @abstractmethod
    async def remove(self, scope: str, subject: str) -> None:
        """Forget a quota (:raises NotFound:)."""

    @abstractmethod
    async def all(self) -> tuple[Quota, ...]:
        """Return every quota."""

    @abstractmethod
    async def standings(self, owner: str, now: datetime) -> tuple[Standing, ...]:
        """Return the quotas that hold for an owner, with what is taken of each."""


class NoticeStore(ABC):
    """What an admin told everybody, and the log of what admins did."""

    @abstractmethod
    async def get(self) -> Notice:
        """Return the present notice."""

    @abstractmethod
    async def put(self, notice: Notice) -> None:
        """Store it. While it says so, ``holds.claim`` claims nothing and no tick makes a run."""

    @abstractmethod
    async def record(self, entry: AuditEntry) -> None:
        """Append to the audit log; nothing changes or deletes what is in it."""

    @abstractmethod
    async def audit(self, query: AuditQuery, owners: Collection[str] | None) -> Page[AuditEntry]:
        """Return a page of the audit log, the youngest first."""


class CheckStore(ABC):
    """What the last self-test of isolation found."""

    @abstractmethod
    async def last(self) -> Checked | None:
        """Return it, or None where nobody tried."""

    @abstractmethod
    async def put(self, checked: Checked, entry: AuditEntry) -> None:
        """Store it in the place of the one before, with its line in the audit log."""


class LeaderStore(ABC):
    """Which of several controls does what only one may do, and which are alive."""

    @abstractmethod
    async def lead(self, duty: str, holder: str, now: datetime, until: datetime) -> bool:
        """Take or keep a duty until then; False while another has it."""

    @abstractmethod
    async def resign(self, holder: str) -> None:
        """Give up every duty of `holder`."""

    @abstractmethod
    async def leaders(self, now: datetime) -> dict[str, str]:
        """Return who has which duty."""


class GrantStore(ABC):
    """Tokens of our own making."""

    @abstractmethod
    async def put(self, digest: str, grant: Grant) -> None:
        """Store what the bearer of the token with this SHA-256 may do."""

    @abstractmethod
    async def find(self, digest: str, now: datetime) -> Grant | None:
        """Return what its bearer may do, unless it ran out or its run has ended."""

    @abstractmethod
    async def revoke(self, owner: str, *, run_ids: Sequence[str] | None = None) -> None:
        """Forget all tokens of an owner, or those of some runs."""


class TeamStore(ABC):
    """All of it; ``SqlStore.team``."""

    people: PeopleStore
    lists: ListStore
    usage: UsageStore
    quotas: QuotaStore
    notices: NoticeStore
    checks: CheckStore
    leaders: LeaderStore
    grants: GrantStore
