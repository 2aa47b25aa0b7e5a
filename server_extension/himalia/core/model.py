"""What the platform is about: workloads, runs and schedules, as stored and as sent over REST.

The same frozen models serve the store, the service, REST and the OpenAPI document, so each idea
has one name everywhere. Times are aware UTC datetimes, durations are seconds, sizes are bytes.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import AwareDatetime, Field, SerializeAsAny

from himalia.core.spec import Condition, Id, Model, Name, Parameters, S

T = TypeVar("T")


class Target(StrEnum):
    """What should be."""

    RUN = "run"
    STOP = "stop"


class Status(StrEnum):
    """What was observed of a run. The last four are terminal and never change again."""

    WAITING = "waiting"
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    SKIPPED = "skipped"

    @property
    def is_terminal(self) -> bool:
        """Tell whether the run has ended for good."""
        return self in TERMINAL


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.STOPPED, Status.SKIPPED})


class Reason(Model):
    """Why a run is as it is, in plain words."""

    code: str
    """Slug for programs: ``cell_failed``, ``kernel_died``, ``out_of_memory``, ``timed_out`` …"""
    message: str
    next_step: str = ""


class Progress(Model):
    """How far a run has come, in units of its kind (a job's are code cells)."""

    done: int = 0
    total: int = 0
    current: int | None = None
    """Index in the notebook of the cell that is running."""


class ResourceUse(Model):
    """What an ended run took."""

    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    wall_seconds: float = 0.0


class Versions(Model):
    """What exactly ran."""

    kernel: str = ""
    """Name of the kernel, as in its kernelspec."""
    interpreter: str = ""
    """Language and version, and the interpreter's path where there is one."""
    packages_digest: str = ""
    """SHA-256 over the sorted list of installed distributions, ``name==version`` a line."""
    himalia: str = ""


class Snapshot(Model):
    """Input files pinned at one moment, addressed by their content."""

    digest: str
    """``sha256:`` and the digest of the manifest."""
    taken_at: AwareDatetime
    files: int
    size_bytes: int
    skipped: tuple[str, ...] = ()
    """Relative paths left out (links, sockets, devices), each with why."""


class Workload(Model, Generic[S]):
    """Something a user defined once and may run many times."""

    id: Id
    kind: str
    owner: str
    name: Name
    spec: SerializeAsAny[S]
    root: str
    """Absolute folder that the paths in `spec` are relative to and confined in."""
    snapshot: Snapshot | None = None
    created_at: AwareDatetime
    updated_at: AwareDatetime
    last_run: Run | None = None


class WorkloadDraft(Model, Generic[S]):
    """What a user sends to make a workload."""

    name: Name | None = None
    """Taken from the spec (a job's notebook) when it is not given."""
    spec: SerializeAsAny[S]
    run: bool = True
    """Whether a first run is started with it."""


class WorkloadPatch(Model, Generic[S]):
    """What a user changes of a workload; runs that exist are not touched."""

    name: Name | None = None
    spec: SerializeAsAny[S] | None = None
    """Replaces the whole spec and pins the inputs anew."""


class Trigger(StrEnum):
    """What made a run."""

    USER = "user"
    SCHEDULE = "schedule"
    DEPENDENCY = "dependency"


class Run(Model):
    """One execution of a workload, whatever the number of attempts."""

    id: Id
    workload_id: Id
    workload_name: str
    kind: str
    owner: str
    trigger: Trigger
    target: Target = Target.RUN
    status: Status
    reason: Reason | None = None
    attempt: int = 0
    """0 before the first start."""
    lost_attempts: int = 0
    """Attempts that vanished without a result (a machine's restart); they cost no retry."""
    progress: Progress = Progress()
    parameters: Parameters = Field(default_factory=dict)
    """Of this run: the workload's own with those given for it."""
    tags: tuple[str, ...] = ()
    snapshot_digest: str | None = None
    flow_id: Id
    """Shared by the runs of one pipeline's passage: the id of the run that began it."""
    rerun_of: Id | None = None
    from_failed_cell: bool = False
    schedule_id: Id | None = None
    tick_at: AwareDatetime | None = None
    revision: int = 0
    """Grows with every stored change."""
    position: int | None = None
    """Place in the queue, from 1; only in answers about one queued run, and in the admin's list."""
    created_at: AwareDatetime
    not_before: AwareDatetime | None = None
    """A retry's earliest start."""
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None
    use: ResourceUse | None = None
    versions: Versions | None = None


class RunDraft(Model):
    """What a user sends to run a workload again."""

    parameters: Parameters = Field(default_factory=dict)
    """Take precedence over the workload's own, name by name."""


class RerunDraft(Model):
    """What a user sends to repeat a run from its own snapshot and parameters."""

    from_failed_cell: bool = False
    """Start at the cell that failed, with the outputs before it kept: the cells before it are run
    silently first, since a new kernel knows nothing of them."""


class Overlap(StrEnum):
    """What a tick does while the schedule's run before it has not ended."""

    SKIP = "skip"
    QUEUE = "queue"
    REPLACE = "replace"


class Missed(StrEnum):
    """What happens with ticks that passed while nobody could run them."""

    SKIP = "skip"
    RUN_ONCE = "run_once"


class Inputs(StrEnum):
    """Which input files a schedule's runs get."""

    PINNED = "pinned"
    """Those of the workload's snapshot."""
    FRESH = "fresh"
    """A snapshot taken at each tick."""


class ScheduleDraft(Model):
    """What a user sends to have a workload run at times."""

    workload_id: Id
    cron: Annotated[str, Field(min_length=1, max_length=200)]
    """Five fields, as in Debian's cron: minute, hour, day of month, month, day of week."""
    time_zone: Annotated[str, Field(max_length=64)] = "UTC"
    overlap: Overlap = Overlap.SKIP
    missed: Missed = Missed.RUN_ONCE
    inputs: Inputs = Inputs.PINNED
    parameters: Parameters = Field(default_factory=dict)
    paused: bool = False


class SchedulePatch(Model):
    """What a user changes of a schedule."""

    cron: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    time_zone: Annotated[str, Field(max_length=64)] | None = None
    overlap: Overlap | None = None
    missed: Missed | None = None
    inputs: Inputs | None = None
    parameters: Parameters | None = None
    paused: bool | None = None


class Schedule(Model):
    """Times at which a workload runs."""

    id: Id
    workload_id: Id
    workload_name: str
    kind: str
    owner: str
    cron: str
    time_zone: str
    overlap: Overlap
    missed: Missed
    inputs: Inputs
    parameters: Parameters = Field(default_factory=dict)
    paused: bool
    next_tick_at: AwareDatetime | None
    last_tick_at: AwareDatetime | None = None
    reason: Reason | None = None
    """Why the last tick made no run, where it made none."""
    created_at: AwareDatetime
    updated_at: AwareDatetime


class Ticks(Model):
    """The next times of a cron line, and the line in words."""

    cron: str
    time_zone: str
    words: str
    ticks: tuple[AwareDatetime, ...]


class Output(Model):
    """A file that a run left."""

    name: str
    """Relative path with forward slashes."""
    size_bytes: int
    media_type: str
    role: Literal["notebook", "export", "file"]


class Page(Model, Generic[T]):
    """Part of a list; `next_cursor` is None on the last one."""

    items: tuple[T, ...]
    next_cursor: str | None = None


class LogChunk(Model):
    """Part of a run's log, from `offset` (bytes since its beginning, dropped ones included)."""

    text: str
    offset: int
    next_offset: int
    complete: bool
    """Whether the run has ended and nothing will follow."""


class RunEvent(Model):
    """Something that happened in a run, as sent over server-sent events."""

    id: str
    """Opaque; given back as Last-Event-ID, the stream goes on after it."""
    type: Literal["run", "cell", "log", "end"]
    run: Run | None = None
    cell: CellEvent | None = None
    log: str | None = None


class CellEvent(Model):
    """A cell began or ended."""

    index: int
    """In the notebook as it is run, from 0."""
    state: Literal["running", "done", "failed"]
    at: AwareDatetime
    seconds: float | None = None
    name: str = ""
    """First line of its source, shortened."""


class GraphNode(Model):
    """A workload in a pipeline."""

    workload_id: Id
    name: str
    status: Status | None
    """Of its latest run."""
    run_id: Id | None = None


class GraphEdge(Model):
    """`downstream` runs when `upstream` has ended as `on` says."""

    upstream: Id
    downstream: Id
    on: Condition


class Graph(Model):
    """The pipeline around one workload."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]


class Environment(Model):
    """Where notebooks can run."""

    name: str
    """What a spec's `environment` takes."""
    title: str
    language: str
    is_default: bool
    is_warm: bool
    """Whether kernels of it may be started ahead."""


class PoolStatus(Model):
    """Processes kept ready."""

    ready: int
    limit: int
    memory_bytes: int
    idle_end_at: AwareDatetime | None = None


class ServiceStatus(Model):
    """How the service is doing."""

    version: str
    pid: int
    started_at: datetime
    backend: str
    queued: int
    """Of the caller's own, as the next two."""
    running: int
    limit: int
    """Runs that may run at once, everybody's together."""
    schedules: int
    pool: PoolStatus | None = None
    memory_bytes: int
    disk_free_bytes: int
    warnings: tuple[Reason, ...] = ()


Workload.model_rebuild()
RunEvent.model_rebuild()
