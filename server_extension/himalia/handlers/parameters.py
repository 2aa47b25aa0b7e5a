"""What queries may say, route by route."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, model_validator

from himalia.core.model import Status, Trigger
from himalia.core.service import MAX_PAGE
from himalia.core.spec import Id, Model, Tag

_OFFSET_LIMIT = 2**53
"""What JavaScript can count to."""

_MONTH = timedelta(days=30)
_BEGINNING = datetime.min.replace(tzinfo=UTC)

Cursor = Annotated[str, Field(min_length=1, max_length=1000)]
Search = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]
Limit = Annotated[int, Field(ge=1, le=MAX_PAGE)]
KindName = Annotated[str, Field(max_length=40, pattern=r"^[a-z]+$")]
RunSort = Literal["created_at", "-created_at", "ended_at", "-ended_at"]
WorkloadSort = Literal["created_at", "-created_at", "updated_at", "-updated_at", "name", "-name"]
ScheduleSort = Literal["created_at", "-created_at", "next_tick_at", "-next_tick_at"]


class NoParameters(Model):
    """None."""


class ListParameters(Model):
    """Which part of a list."""

    limit: Limit = 25
    cursor: Cursor | None = None
    search: Search | None = None
    tag: Tag | None = None


class WorkloadParameters(ListParameters):
    """Which workloads."""

    sort: WorkloadSort = "-created_at"


class WorkloadRunParameters(ListParameters):
    """Which runs of one workload."""

    sort: RunSort = "-created_at"
    status: tuple[Status, ...] = ()
    trigger: Trigger | None = None
    schedule_id: Id | None = None


class RunParameters(WorkloadRunParameters):
    """Which runs."""

    kind: KindName | None = None
    workload_id: Id | None = None


class ScheduleParameters(ListParameters):
    """Which schedules."""

    sort: ScheduleSort = "-created_at"
    workload_id: Id | None = None
    paused: bool | None = None


class PreviewParameters(Model):
    """Which cron line."""

    cron: Annotated[str, Field(min_length=1, max_length=200)]
    time_zone: Annotated[str, Field(min_length=1, max_length=64)] = "UTC"
    count: Annotated[int, Field(ge=1, le=100)] = 10


class LogParameters(Model):
    """Which part of a log; a negative offset counts from the end."""

    offset: Annotated[int, Field(ge=-_OFFSET_LIMIT, le=_OFFSET_LIMIT)] = 0
    limit: Annotated[int, Field(ge=1, le=2**20)] = 65_536


class OutputParameters(Model):
    """How an output is sent."""

    download: bool = False


class TimeParameters(Model):
    """Which time: the last 30 days where nothing is said."""

    since: AwareDatetime | None = None
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("since must be before until")
        return self

    def span(self) -> tuple[datetime, datetime]:
        """Return both ends: of the last 30 days where nothing is said."""
        until = self.until or datetime.now(UTC)
        if self.since is not None:
            return self.since, until
        return (until - _MONTH if until > _BEGINNING + _MONTH else _BEGINNING), until


class UsageParameters(TimeParameters):
    """Which lines of the caller's usage."""

    limit: Limit = 100
    cursor: Cursor | None = None


class UsageTotalParameters(TimeParameters):
    """Which sums of the caller's usage."""

    by: Literal["kind", "project"] = "kind"
