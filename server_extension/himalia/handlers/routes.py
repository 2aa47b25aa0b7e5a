"""The table of every route: what the session, control and the OpenAPI document serve."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import create_model

from himalia.core.answers import (
    CellList,
    EnvironmentList,
    OutputList,
    ProfileList,
    RunPage,
    SchedulePage,
    StandingList,
    UsagePage,
    UsageTotalList,
)
from himalia.core.errors import (
    Conflict,
    Forbidden,
    HimaliaError,
    InvalidInput,
    NotFound,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
)
from himalia.core.homes import HomeUse
from himalia.core.model import (
    Graph,
    LogChunk,
    Page,
    RerunDraft,
    Run,
    RunDraft,
    RunEvent,
    Schedule,
    ScheduleDraft,
    SchedulePatch,
    ServiceStatus,
    Ticks,
    Workload,
    WorkloadDraft,
    WorkloadPatch,
)
from himalia.core.spec import Model, Spec
from himalia.core.team import AccessToken, Notice, ServerState, SessionReport, TokenRequest
from himalia.handlers import operations_runs as runs
from himalia.handlers import operations_schedules as schedules
from himalia.handlers import operations_service as service
from himalia.handlers import operations_team as team
from himalia.handlers.calls import Operation
from himalia.handlers.operations_workloads import WorkloadOperations
from himalia.handlers.parameters import (
    LogParameters,
    NoParameters,
    OutputParameters,
    PreviewParameters,
    RunParameters,
    ScheduleParameters,
    TimeParameters,
    UsageParameters,
    UsageTotalParameters,
    WorkloadParameters,
    WorkloadRunParameters,
)
from himalia.kinds.base import Kind

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

EVERYWHERE: tuple[type[HimaliaError], ...] = (
    InvalidInput,
    Unauthenticated,
    Forbidden,
    HimaliaError,
    Unavailable,
)
"""Errors that any route may answer with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation at one address."""

    method: Method
    path: str
    """Below ``himalia/api/``, with ``{parameters}``."""
    name: str
    """The operation's id in the OpenAPI document."""
    summary: str
    resource: str
    """What Jupyter's authorizer is asked about."""
    operation: Operation
    query: type[Model] = NoParameters
    body: type[Model] | None = None
    answer: type[Model] | None = None
    """None for no content, and for what is not JSON."""
    success: int = 200
    sends: Literal["json", "events", "file", "table"] = "json"
    takes_key: bool = False
    """Whether it takes an Idempotency-Key."""
    raises: tuple[type[HimaliaError], ...] = ()
    """Beyond `EVERYWHERE`."""

    @property
    def errors(self) -> tuple[type[HimaliaError], ...]:
        """Every error it may answer with."""
        found = {*EVERYWHERE, *self.raises}
        if "{" in self.path:
            found.add(NotFound)
        if self.body is not None:
            found.add(TooLarge)
        return tuple(sorted(found, key=lambda error: error.http_status))


def table(kinds: Iterable[Kind[Any]]) -> tuple[Route, ...]:
    """Return every route for these kinds."""
    of_kinds = tuple(route for kind in kinds for route in _of_kind(kind))
    return (*_OF_SERVICE, *of_kinds, *_OF_RUNS, *_OF_SCHEDULES, *_OF_USAGE, *_OF_HUB)


def _of_kind(kind: Kind[Any]) -> tuple[Route, ...]:
    """Make the routes of one kind, under its collection."""
    does = WorkloadOperations(kind.name)
    title = kind.name.capitalize()
    spec: type[Spec] = kind.spec_type
    # Named after the kind, so that the document and the types made from it read well.
    one = _named(title, Workload[spec], f"A {kind.name} as stored.")  # type: ignore[valid-type]
    page = _named(f"{title}Page", Page[one], f"Part of a list of {kind.name}s.")  # type: ignore[valid-type]
    draft = _named(f"{title}Draft", WorkloadDraft[spec], f"What makes a {kind.name}.")  # type: ignore[valid-type]
    patch = _named(f"{title}Patch", WorkloadPatch[spec], f"What changes a {kind.name}.")  # type: ignore[valid-type]
    many, item = kind.collection, f"{kind.collection}/{{workload_id}}"
    resource = f"himalia:{many}"
    return (
        Route(method="GET", path=many, name=f"list{title}s", summary=f"List {many}",
              resource=resource, operation=does.list, query=WorkloadParameters, answer=page),
        Route(method="POST", path=many, name=f"create{title}", resource=resource,
              summary=f"Make a {kind.name} and, unless told otherwise, run it", body=draft,
              operation=does.create, answer=one, success=201, takes_key=True,
              raises=(Conflict, TooLarge, TooMany)),
        Route(method="GET", path=item, name=f"get{title}", summary=f"Show one {kind.name}",
              resource=resource, operation=does.get, answer=one),
        Route(method="PATCH", path=item, name=f"update{title}", resource=resource,
              summary=f"Change a {kind.name} for runs to come", operation=does.update,
              body=patch, answer=one, raises=(Conflict,)),
        Route(method="DELETE", path=item, name=f"delete{title}", resource=resource,
              summary=f"Delete a {kind.name} with its schedules, runs and their files",
              operation=does.delete, success=204, raises=(Conflict,)),
        Route(method="GET", path=f"{item}/graph", name=f"get{title}Graph", resource=resource,
              summary=f"Show the pipeline that the {kind.name} is part of",
              operation=does.graph, answer=Graph),
        Route(method="GET", path=f"{item}/runs", name=f"list{title}Runs", resource=resource,
              summary=f"List the runs of a {kind.name}", operation=does.runs,
              query=WorkloadRunParameters, answer=RunPage),
        Route(method="POST", path=f"{item}/runs", name=f"start{title}Run", resource=resource,
              summary=f"Run the {kind.name} again", operation=does.start, body=RunDraft,
              answer=Run, success=201, takes_key=True, raises=(Conflict, TooMany)),
    )  # fmt: skip


def _named(name: str, base: type[Model], about: str) -> type[Model]:
    made: type[Model] = create_model(name, __base__=base, __doc__=about)
    return made


_OF_SERVICE = (
    Route(method="GET", path="status", name="getStatus", resource="himalia:service",
          summary="Show how the service is doing", operation=service.get_status,
          answer=ServiceStatus),
    Route(method="GET", path="environments", name="listEnvironments", resource="himalia:service",
          summary="List where notebooks can run", operation=service.list_environments,
          answer=EnvironmentList),
    Route(method="GET", path="profiles", name="listProfiles", resource="himalia:service",
          summary="List what the caller may choose to give a run",
          operation=service.list_profiles, answer=ProfileList),
)  # fmt: skip

_RUN = "runs/{run_id}"
_OF_RUNS = (
    Route(method="GET", path="runs", name="listRuns", summary="List runs of every kind",
          resource="himalia:runs", operation=runs.list_runs, query=RunParameters, answer=RunPage),
    Route(method="GET", path=_RUN, name="getRun", summary="Show one run",
          resource="himalia:runs", operation=runs.get_run, answer=Run),
    Route(method="DELETE", path=_RUN, name="deleteRun", resource="himalia:runs",
          summary="Delete an ended run with its files", operation=runs.delete_run, success=204,
          raises=(Conflict,)),
    Route(method="POST", path=f"{_RUN}/stop", name="stopRun", resource="himalia:runs",
          summary="Ask a run to stop", operation=runs.stop_run, answer=Run, success=202),
    Route(method="POST", path=f"{_RUN}/rerun", name="rerun", resource="himalia:runs",
          summary="Repeat an ended run from its own snapshot and parameters",
          operation=runs.rerun, body=RerunDraft, answer=Run, success=201, takes_key=True,
          raises=(Conflict, TooMany)),
    Route(method="GET", path=f"{_RUN}/events", name="streamRunEvents", resource="himalia:runs",
          summary="Follow a run by server-sent events", operation=runs.stream_events,
          answer=RunEvent, sends="events", raises=(TooMany,)),
    Route(method="GET", path=f"{_RUN}/log", name="getRunLog", resource="himalia:runs",
          summary="Show part of a run's log", operation=runs.read_log, query=LogParameters,
          answer=LogChunk),
    Route(method="GET", path=f"{_RUN}/cells", name="listRunCells", resource="himalia:runs",
          summary="List when the cells of a run began and ended", operation=runs.list_cells,
          answer=CellList),
    Route(method="GET", path=f"{_RUN}/outputs", name="listRunOutputs", resource="himalia:runs",
          summary="List what a run left", operation=runs.list_outputs, answer=OutputList),
    Route(method="GET", path=f"{_RUN}/outputs/{{name}}", name="getRunOutput",
          resource="himalia:runs", summary="Read a file that a run left",
          operation=runs.read_output, query=OutputParameters, sends="file"),
)  # fmt: skip

_SCHEDULE = "schedules/{schedule_id}"
_OF_SCHEDULES = (
    Route(method="GET", path="schedules", name="listSchedules", summary="List schedules",
          resource="himalia:schedules", operation=schedules.list_schedules,
          query=ScheduleParameters, answer=SchedulePage),
    Route(method="POST", path="schedules", name="createSchedule", resource="himalia:schedules",
          summary="Have a workload run at times", operation=schedules.create_schedule,
          body=ScheduleDraft, answer=Schedule, success=201, takes_key=True,
          raises=(Conflict, TooMany)),
    Route(method="GET", path="schedules/preview", name="previewSchedule",
          resource="himalia:schedules", summary="Show the next ticks of a cron line, in words too",
          operation=schedules.preview_schedule, query=PreviewParameters, answer=Ticks),
    Route(method="GET", path=_SCHEDULE, name="getSchedule", summary="Show one schedule",
          resource="himalia:schedules", operation=schedules.get_schedule, answer=Schedule),
    Route(method="PATCH", path=_SCHEDULE, name="updateSchedule", resource="himalia:schedules",
          summary="Change a schedule", operation=schedules.update_schedule, body=SchedulePatch,
          answer=Schedule, raises=(Conflict,)),
    Route(method="DELETE", path=_SCHEDULE, name="deleteSchedule", resource="himalia:schedules",
          summary="Delete a schedule; its runs stay", operation=schedules.delete_schedule,
          success=204),
)  # fmt: skip

_OF_USAGE = (
    Route(method="GET", path="usage", name="listUsage", resource="himalia:usage",
          summary="List what the caller used, the youngest first", operation=team.list_usage,
          query=UsageParameters, answer=UsagePage),
    Route(method="GET", path="usage/totals", name="sumOwnUsage", resource="himalia:usage",
          summary="Sum what the caller used", operation=team.sum_usage,
          query=UsageTotalParameters, answer=UsageTotalList),
    Route(method="GET", path="usage.csv", name="exportOwnUsage", resource="himalia:usage",
          summary="Export what the caller used", operation=team.export_usage,
          query=TimeParameters, sends="table"),
    Route(method="GET", path="home", name="getHome", resource="himalia:usage",
          summary="Show how full the caller's home is", operation=team.get_home, answer=HomeUse),
    Route(method="GET", path="quotas", name="listStandings", resource="himalia:usage",
          summary="List the quotas that hold for the caller, with what is taken of each",
          operation=team.list_quotas, answer=StandingList),
)  # fmt: skip

_OF_HUB = (
    Route(method="GET", path="notice", name="getNotice", resource="himalia:service",
          summary="Show what an admin told everybody", operation=team.get_notice, answer=Notice),
    Route(method="POST", path="sessions", name="reportSession", resource="himalia:sessions",
          summary="Tell what the caller's own server is doing", operation=team.report_session,
          body=SessionReport, answer=ServerState, raises=(Conflict, NotFound)),
    Route(method="GET", path="sessions/{server}", name="getServer", resource="himalia:sessions",
          summary="Show whether one of the caller's servers stays, and why; `-` stands for the "
          "one without a name", operation=team.get_server, answer=ServerState,
          raises=(Conflict,)),
    Route(method="POST", path="tokens", name="createToken", resource="himalia:tokens",
          summary="Get a short-lived access token for somebody else's service",
          operation=team.create_token, body=TokenRequest, answer=AccessToken,
          raises=(Conflict,)),
)  # fmt: skip
