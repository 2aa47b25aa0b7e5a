"""The seam: everything that handlers, panels, magics, the CLI and the SDK can ask for.

`WorkloadService` has two implementations, and no caller can tell which it has: the local one
(store, reconciler and backend in this process) and the remote one (HTTP to control).

Every method checks the owner: what is absent and what belongs to somebody else raise the same
:class:`~himalia.core.errors.NotFound`. Once a method that changes something has returned, the
change is durable. Nothing here blocks the event loop.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from himalia.core.homes import HomeUse
from himalia.core.model import (
    Environment,
    Graph,
    LogChunk,
    Output,
    Page,
    RerunDraft,
    Run,
    RunDraft,
    RunEvent,
    Schedule,
    ScheduleDraft,
    SchedulePatch,
    ServiceStatus,
    Status,
    Ticks,
    Trigger,
    Workload,
    WorkloadDraft,
    WorkloadPatch,
)
from himalia.core.profiles import Profile
from himalia.core.spec import Spec
from himalia.core.team import (
    AccessToken,
    By,
    Notice,
    ServerState,
    SessionReport,
    Standing,
    TokenRequest,
    UsageEntry,
    UsageTotal,
)

MAX_PAGE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, and from where."""

    owner: str
    """The user's immutable id."""
    root: Path
    """Absolute folder that the caller's relative paths start at and may not leave."""
    name: str = ""
    """At the hub; empty on a machine of one's own."""
    server: str | None = None
    """Name of the caller's server at the hub, where the caller is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which part of a list; a cursor belongs to the query that gave it."""

    limit: int = 25
    cursor: str | None = None
    sort: str = "-created_at"
    """A field, with ``-`` before it for descending."""
    search: str | None = None
    """Part of the name, in any case."""
    tag: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadQuery(Query):
    """Sorts by ``created_at``, ``updated_at`` or ``name``."""

    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery(Query):
    """Sorts by ``created_at`` or ``ended_at``."""

    kind: str | None = None
    workload_id: str | None = None
    schedule_id: str | None = None
    statuses: tuple[Status, ...] = ()
    trigger: Trigger | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleQuery(Query):
    """Sorts by ``created_at`` or ``next_tick_at``."""

    workload_id: str | None = None
    paused: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOutput:
    """An output being read. `chunks` must be exhausted or closed."""

    output: Output
    chunks: AsyncIterator[bytes] = field(repr=False)


class Workloads(ABC):
    """Definitions, of every kind."""

    @abstractmethod
    async def create(
        self,
        caller: Caller,
        kind: str,
        draft: WorkloadDraft[Spec],
        *,
        idempotency_key: str | None = None,
    ) -> Workload[Spec]:
        """Check `draft`, pin its inputs, store it and, if asked, start a first run (`last_run`).

        The same key with the same draft returns what the first call made.

        :raises InvalidInput: naming each field that is wrong.
        :raises Conflict: the key was used with another draft.
        """

    @abstractmethod
    async def get(self, caller: Caller, kind: str, workload_id: str) -> Workload[Spec]:
        """Return one workload with its latest run."""

    @abstractmethod
    async def list(self, caller: Caller, query: WorkloadQuery) -> Page[Workload[Spec]]:
        """Return a page of the caller's workloads, each with its latest run."""

    @abstractmethod
    async def update(
        self, caller: Caller, kind: str, workload_id: str, patch: WorkloadPatch[Spec]
    ) -> Workload[Spec]:
        """Change a workload for runs to come.

        :raises InvalidInput: also when the change would close a cycle.
        """

    @abstractmethod
    async def delete(self, caller: Caller, kind: str, workload_id: str) -> None:
        """Delete a workload with its schedules, runs and their files.

        :raises Conflict: a run of it has not ended, or another workload depends on it.
        """

    @abstractmethod
    async def graph(self, caller: Caller, kind: str, workload_id: str) -> Graph:
        """Return the pipeline that the workload is part of."""


class Runs(ABC):
    """Executions."""

    @abstractmethod
    async def start(
        self,
        caller: Caller,
        kind: str,
        workload_id: str,
        draft: RunDraft,
        *,
        idempotency_key: str | None = None,
    ) -> Run:
        """Queue a run from the workload's snapshot, and runs of what depends on it."""

    @abstractmethod
    async def rerun(
        self, caller: Caller, run_id: str, draft: RerunDraft, *, idempotency_key: str | None = None
    ) -> Run:
        """Queue a run with the snapshot and the parameters of an earlier, ended one.

        :raises Conflict: it has not ended; or no cell of it failed, for `from_failed_cell`.
        """

    @abstractmethod
    async def get(self, caller: Caller, run_id: str) -> Run:
        """Return one run, with its place in the queue while it is queued."""

    @abstractmethod
    async def list(self, caller: Caller, query: RunQuery) -> Page[Run]:
        """Return a page of the caller's runs."""

    @abstractmethod
    async def stop(self, caller: Caller, run_id: str) -> Run:
        """Ask a run to stop; stopping an ended run changes nothing."""

    @abstractmethod
    async def delete(self, caller: Caller, run_id: str) -> None:
        """Delete an ended run and its files.

        :raises Conflict: it has not ended.
        """

    @abstractmethod
    def events(
        self, caller: Caller, run_id: str, *, after: str | None = None
    ) -> AsyncIterator[RunEvent]:
        """Yield the run's events from the beginning, or after the event with id `after`.

        The current run comes first, the last event is ``end``. Raises at the first step.
        """

    @abstractmethod
    async def log(
        self, caller: Caller, run_id: str, *, offset: int = 0, limit: int = 65_536
    ) -> LogChunk:
        """Return part of the latest attempt's log; a negative offset counts from its end."""

    @abstractmethod
    async def outputs(self, caller: Caller, run_id: str) -> tuple[Output, ...]:
        """Return what the run has left so far, the executed notebook first."""

    @abstractmethod
    async def open_output(self, caller: Caller, run_id: str, name: str) -> OpenOutput:
        """Open one of the run's outputs."""

    @abstractmethod
    async def cells(self, caller: Caller, run_id: str) -> tuple[RunEvent, ...]:
        """Return the cell events of the latest attempt, for its timing."""


class Schedules(ABC):
    """Times at which workloads run."""

    @abstractmethod
    async def create(
        self, caller: Caller, draft: ScheduleDraft, *, idempotency_key: str | None = None
    ) -> Schedule:
        """Store a schedule; it ticks from now on unless it is paused."""

    @abstractmethod
    async def get(self, caller: Caller, schedule_id: str) -> Schedule:
        """Return one schedule."""

    @abstractmethod
    async def list(self, caller: Caller, query: ScheduleQuery) -> Page[Schedule]:
        """Return a page of the caller's schedules."""

    @abstractmethod
    async def update(self, caller: Caller, schedule_id: str, patch: SchedulePatch) -> Schedule:
        """Change a schedule; ticks that already made a run are not touched."""

    @abstractmethod
    async def delete(self, caller: Caller, schedule_id: str) -> None:
        """Delete a schedule; its runs stay."""

    @abstractmethod
    async def preview(self, caller: Caller, cron: str, time_zone: str, count: int = 10) -> Ticks:
        """Return the next ticks of a cron line, and the line in words."""


class Usage(ABC):
    """What the caller has used, and may use."""

    @abstractmethod
    async def entries(
        self,
        caller: Caller,
        since: datetime,
        until: datetime,
        *,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[UsageEntry]:
        """Return the caller's lines of the ledger that were on in a time, the youngest first."""

    @abstractmethod
    async def totals(
        self, caller: Caller, by: By, since: datetime, until: datetime
    ) -> tuple[UsageTotal, ...]:
        """Sum the caller's usage by kind or project (:raises InvalidInput: by anything else)."""

    @abstractmethod
    async def home(self, caller: Caller) -> HomeUse:
        """Return how full the caller's home is."""

    @abstractmethod
    async def standings(self, caller: Caller) -> tuple[Standing, ...]:
        """Return the quotas that hold for the caller, with what is taken of each."""


class Hub(ABC):
    """What only a team's control can do; elsewhere every method but `notice` raises Conflict."""

    @abstractmethod
    async def notice(self, caller: Caller) -> Notice:
        """Return what an admin told everybody."""

    @abstractmethod
    async def report(self, caller: Caller, report: SessionReport) -> ServerState:
        """Take what a session tells of itself; return whether it stays, and why."""

    @abstractmethod
    async def server(self, caller: Caller, server_name: str) -> ServerState:
        """Return whether one of the caller's servers stays, and why (:raises NotFound:)."""

    @abstractmethod
    async def token(self, caller: Caller, request: TokenRequest) -> AccessToken:
        """Get a short-lived access token for an audience, in the caller's name.

        :raises Forbidden: the provider, or an admin's setting, allows no such audience; or the
            caller's login has ended.
        :raises Unavailable: the provider does not answer.
        """


class WorkloadService(ABC):
    """The parts above, and how the service is doing."""

    workloads: Workloads
    runs: Runs
    schedules: Schedules
    usage: Usage
    hub: Hub

    @abstractmethod
    async def status(self, caller: Caller) -> ServiceStatus:
        """Return how the service is doing."""

    @abstractmethod
    async def environments(self, caller: Caller) -> tuple[Environment, ...]:
        """Return where the caller's notebooks can run, the default first."""

    @abstractmethod
    async def profiles(self, caller: Caller) -> tuple[Profile, ...]:
        """Return what the caller may choose to give a run; nothing where there is no choice."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of what the service holds; workloads go on."""
