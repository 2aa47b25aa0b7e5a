"""What the client's methods take by keyword, for completion and type checkers."""

from __future__ import annotations

from typing import TypedDict

from himalia.core.model import Inputs, Missed, Overlap, Status, Trigger
from himalia.core.spec import Dependency, Notification, Parameters, Resources, Retention, Retries


class JobOptions(TypedDict, total=False):
    """What a job takes beside its notebook; see :class:`himalia.kinds.job.JobSpec`."""

    parameters: Parameters
    environment: str | None
    working_folder: str | None
    files: tuple[str, ...]
    whole_folder: bool
    outputs: tuple[str, ...]
    formats: tuple[str, ...]
    timeout_seconds: float | None
    cell_timeout_seconds: float | None
    retries: Retries
    env: dict[str, str]
    tags: tuple[str, ...]
    resources: Resources
    profile: str
    project: str
    after: tuple[Dependency, ...]
    notify: tuple[Notification, ...]
    retention: Retention


class ListOptions(TypedDict, total=False):
    """Which part of a list: `limit` None takes all."""

    search: str | None
    tag: str | None
    sort: str


class RunFilter(ListOptions, total=False):
    """Which runs."""

    workload_id: str | None
    schedule_id: str | None
    statuses: tuple[Status, ...]
    trigger: Trigger | None


class ScheduleFilter(ListOptions, total=False):
    """Which schedules."""

    workload_id: str | None
    paused: bool | None


class ScheduleOptions(TypedDict, total=False):
    """How a schedule ticks; see :class:`himalia.core.model.ScheduleDraft`."""

    time_zone: str
    overlap: Overlap
    missed: Missed
    inputs: Inputs
    parameters: Parameters
    paused: bool


class ScheduleChanges(ScheduleOptions, total=False):
    """What may be changed of a schedule."""

    cron: str
