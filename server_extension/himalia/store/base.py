"""The contract of a store: rows, leases and compare-and-set; it knows no backend and no HTTP.

A method that has returned is durable. Each method is one transaction. Methods take `owner` where
a user asks: rows of others are as absent. The reconciler's methods take none.

A run that a reconciler works on is *held*: `holder`, `lease_until` and `token` say by whom, until
when, and under which number. Every claim makes a higher token, and whatever is written about a
held run must name the token, so that a holder that was too slow changes nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pydantic import JsonValue

from himalia.core.model import (
    GraphEdge,
    Page,
    Progress,
    Reason,
    ResourceUse,
    Run,
    Schedule,
    Status,
    Versions,
    Workload,
)
from himalia.core.service import RunQuery, ScheduleQuery, WorkloadQuery
from himalia.core.spec import Spec
from himalia.store.team import TeamStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An idempotency key, unique per owner, with a digest of the request it was used for."""

    owner: str
    key: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A run with the token under which the caller holds it."""

    run: Run
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """The end of an attempt as the ledger books it.

    Times are control's own: what is seen of an attempt may have been said by its owner.
    """

    until: datetime
    use: ResourceUse | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """New values for a held run; None leaves a field as it is."""

    status: Status
    reason: Reason | None = None
    is_reason_whole: bool = False
    """Whether `reason` is all that there is to say, None included. A run that somebody asked to
    stop keeps what they said."""
    attempt: int | None = None
    lost_attempts: int | None = None
    progress: Progress | None = None
    not_before: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    use: ResourceUse | None = None
    versions: Versions | None = None
    spell: Spell | None = None
    """Of the attempt that this ends; without, it ends now, and took `use`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A notification to be sent; `id` is the same at every try.

    It goes one way: to `webhook`, or to `email`. A run's end makes one message for each way of
    each notification that asks for it.
    """

    id: str
    run_id: str
    owner: str
    body: dict[str, JsonValue]
    """``{"event": "run.ended", "run": Run}``."""
    tries: int
    webhook: str | None = None
    secret: str | None = field(default=None, repr=False)
    """Signs what is sent to `webhook`."""
    email: str | None = None


class WorkloadStore(ABC):
    """Definitions."""

    @abstractmethod
    async def insert(
        self, workload: Workload[Spec], runs: Sequence[Run] = (), *, key: Key | None = None
    ) -> Workload[Spec]:
        """Store a workload with its first runs, or return the one stored under `key`.

        :raises Conflict: `key` was used with another digest.
        :raises InvalidInput: a workload in ``spec.after`` is not there (field named).
        """

    @abstractmethod
    async def get(self, owner: str, kind: str, workload_id: str) -> Workload[Spec]:
        """Return one with its latest run (:raises NotFound:)."""

    @abstractmethod
    async def find(self, owner: str, workload_ids: Iterable[str]) -> tuple[Workload[Spec], ...]:
        """Return those of the owner's workloads, of whatever kind, that are there, each with its
        latest run, in the order of `workload_ids`.
        """

    @abstractmethod
    async def list(self, owner: str, query: WorkloadQuery) -> Page[Workload[Spec]]:
        """Return a page, each with its latest run (:raises InvalidInput: bad cursor or sort)."""

    @abstractmethod
    async def replace(self, workload: Workload[Spec]) -> None:
        """Store a changed name, spec and snapshot (:raises NotFound:, :raises InvalidInput:
        ``spec.after`` would close a cycle or names what is not there).
        """

    @abstractmethod
    async def delete(self, owner: str, kind: str, workload_id: str) -> tuple[Run, ...]:
        """Delete one with its schedules and runs; return the runs, whose files can go now.

        :raises Conflict: a run has not ended, or another workload depends on it.
        """

    @abstractmethod
    async def edges(self, owner: str) -> tuple[GraphEdge, ...]:
        """Return all dependencies between the owner's workloads."""

    @abstractmethod
    async def snapshots(self, owner: str | None = None) -> frozenset[str]:
        """Return the digests that a workload or a run still needs: of an owner, or of anybody."""


class RunStore(ABC):
    """Executions."""

    @abstractmethod
    async def insert(self, runs: Sequence[Run], *, key: Key | None = None) -> Run:
        """Store runs together and return the first, or the one stored under `key`."""

    @abstractmethod
    async def get(self, owner: str, run_id: str) -> Run:
        """Return one, with its `position` while it is queued (:raises NotFound:)."""

    @abstractmethod
    async def list(self, owner: str, query: RunQuery) -> Page[Run]:
        """Return a page (:raises InvalidInput: bad cursor or sort)."""

    @abstractmethod
    async def request_stop(
        self, owner: str, run_id: str, now: datetime, *, reason: Reason | None = None
    ) -> Run:
        """Set the target to stop. A run that is waiting or queued, and held by nobody, is stopped
        at once; an ended one is returned as it is. `reason` is kept as the run's.
        """

    @abstractmethod
    async def known(self, run_ids: Iterable[str]) -> frozenset[str]:
        """Return those of `run_ids` that are stored, whoever owns them."""

    @abstractmethod
    async def delete(self, owner: str, run_id: str) -> Run:
        """Delete an ended run (:raises Conflict: it has not ended)."""

    @abstractmethod
    async def counts(self, owner: str | None = None) -> dict[Status, int]:
        """Return how many unended runs there are by status, of one owner or of all."""

    @abstractmethod
    async def waiting(self) -> tuple[tuple[Run, ...], ...]:
        """Return, for each flow that has a waiting run, all runs of that flow."""

    @abstractmethod
    async def settle(self, run_id: str, status: Status, reason: Reason | None) -> Run | None:
        """Move a waiting run to queued or skipped, or return None if it waits no more."""

    @abstractmethod
    async def expired(self, now: datetime, limit: int) -> tuple[Run, ...]:
        """Return ended runs that their workload's retention no longer keeps."""


class HoldStore(ABC):
    """Who works on which run; only reconcilers ask."""

    @abstractmethod
    async def claim(
        self, holder: str, *, now: datetime, lease_until: datetime, limit: int
    ) -> tuple[Held, ...]:
        """Take queued runs that are due, fairly by owner and then first come first served, set
        them to starting with the next attempt, and hold them under new tokens. What was told of
        the attempt before (`reason`, `progress`, `not_before`) is cleared. A schedule's run is
        not taken before that schedule's earlier runs have ended.

        Of an owner whose next run would exceed a quota none is taken: those stay queued with the
        reason ``quota``. While a notice says that nothing new starts, none is taken at all.
        """

    @abstractmethod
    async def take_over(
        self, holder: str, *, now: datetime, lease_until: datetime, own: bool = True
    ) -> tuple[Held, ...]:
        """Hold, under new tokens, every started run whose lease has run out and, with `own`,
        those that `holder` held before it was restarted.
        """

    @abstractmethod
    async def stopping(self, holder: str) -> tuple[Run, ...]:
        """Return the unended runs that `holder` holds and that should stop."""

    @abstractmethod
    async def renew(
        self, holder: str, tokens: Iterable[tuple[str, int]], lease_until: datetime
    ) -> frozenset[str]:
        """Prolong leases; return the ids of those that are no longer the holder's."""

    @abstractmethod
    async def change(self, run_id: str, token: int, change: Change) -> Run | None:
        """Write a change of a held, unended run, or return None where the token is stale or the
        run has ended. A terminal or queued status ends the hold and takes `reason` as it is given,
        None included; a terminal one also stores the messages that the workload's `notify` asks
        for, in the same transaction. The ledger's entry of the attempt, opened by the claim, is
        closed in it too; that of one that was put off before it started (`attempt` is one less)
        is dropped.
        """


class ScheduleStore(ABC):
    """Times."""

    @abstractmethod
    async def insert(self, schedule: Schedule, *, key: Key | None = None) -> Schedule:
        """Store a schedule, or return the one stored under `key`."""

    @abstractmethod
    async def get(self, owner: str, schedule_id: str) -> Schedule:
        """Return one (:raises NotFound:)."""

    @abstractmethod
    async def list(self, owner: str, query: ScheduleQuery) -> Page[Schedule]:
        """Return a page (:raises InvalidInput: bad cursor or sort)."""

    @abstractmethod
    async def replace(self, schedule: Schedule) -> None:
        """Store a changed schedule (:raises NotFound:)."""

    @abstractmethod
    async def delete(self, owner: str, schedule_id: str) -> None:
        """Delete one (:raises NotFound:)."""

    @abstractmethod
    async def due(self, now: datetime, limit: int) -> tuple[tuple[Schedule, Workload[Spec]], ...]:
        """Return unpaused schedules whose next tick has come, with their workloads.

        While a notice says that nothing new starts, there are none, and :meth:`tick` stores none:
        they stay due, and are late afterwards as when nobody could run them (``missed``).
        """

    @abstractmethod
    async def unended(self, schedule_id: str) -> tuple[Run, ...]:
        """Return the schedule's runs that have not ended."""

    @abstractmethod
    async def tick(
        self,
        schedule: Schedule,
        runs: Sequence[Run],
        *,
        next_tick_at: datetime | None,
        reason: Reason | None,
    ) -> bool:
        """Record that the tick at ``schedule.next_tick_at`` was dealt with, and store its runs.

        Returns False, and stores nothing, where another process has dealt with it: each schedule
        and tick make at most one run.
        """

    @abstractmethod
    async def next_tick_at(self) -> datetime | None:
        """Return when the next schedule is due."""

    @abstractmethod
    async def count(self, owner: str | None = None) -> int:
        """Return how many unpaused schedules there are, of one owner or of all."""


class MessageStore(ABC):
    """Notifications that wait to be sent."""

    @abstractmethod
    async def due(self, now: datetime, limit: int) -> tuple[Message, ...]:
        """Return messages whose next try has come."""

    @abstractmethod
    async def sent(self, message_id: str) -> None:
        """Forget a message that was delivered or given up."""

    @abstractmethod
    async def retry(self, message_id: str, not_before: datetime) -> None:
        """Count a try and put the message off."""


class Store(ABC):
    """All of it."""

    workloads: WorkloadStore
    runs: RunStore
    holds: HoldStore
    schedules: ScheduleStore
    messages: MessageStore
    team: TeamStore

    @abstractmethod
    async def open(self) -> None:
        """Connect and bring the schema up to date.

        :raises Unavailable: the store is damaged, on a network file system (SQLite), or of a
            newer release; the text says what to do.
        """

    @abstractmethod
    async def made_under(self, key: Key) -> str | None:
        """Return the id of what was made under `key` (:raises Conflict: another digest)."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of every connection."""
