"""Rows to models and back.

What comes out of the store was checked before it went in, so models are built without checking
them again: that is the larger part of the time of a page. Specs alone are checked, since a
release with other fields may have written them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import BaseModel, JsonValue
from sqlalchemy import Row

from himalia.core.errors import HimaliaError, Unavailable
from himalia.core.model import (
    Inputs,
    Missed,
    Overlap,
    Progress,
    Reason,
    ResourceUse,
    Run,
    Schedule,
    Snapshot,
    Status,
    Target,
    Trigger,
    Versions,
    Workload,
)
from himalia.core.spec import Spec
from himalia.store.base import Change
from himalia.store.tables import FOREVER, runs, schedules, workloads

DecodeSpec = Callable[[str, JsonValue], Spec]
Values = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)

WORKLOAD_COLUMNS = tuple(workloads.c.keys())
RUN_COLUMNS = tuple(runs.c.keys())
SCHEDULE_COLUMNS = tuple(schedules.c.keys())


def to_micros(moment: datetime) -> int:
    """Turn an aware time into microseconds since 1970."""
    return (moment - _EPOCH) // _MICRO


def from_micros(micros: int) -> datetime:
    """Turn microseconds since 1970 into a time in UTC."""
    return _EPOCH + timedelta(microseconds=micros)


def _optional_micros(moment: datetime | None, missing: int | None = None) -> int | None:
    return missing if moment is None else to_micros(moment)


def _optional_time(micros: int | None) -> datetime | None:
    return None if micros is None or micros in (0, FOREVER) else from_micros(micros)


def to_json(value: JsonValue) -> str:
    """Write JSON compactly and in ASCII, which every dialect stores, NUL escaped."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _model_json(model: BaseModel | None) -> str | None:
    return None if model is None else model.model_dump_json()


def encode_workload(workload: Workload[Spec]) -> Values:
    """Make the row of a workload."""
    retention = workload.spec.retention
    keep = retention.keep_days
    return {
        "id": workload.id,
        "kind": workload.kind,
        "owner": workload.owner,
        "name": workload.name,
        "folded": workload.name.casefold(),
        "spec": workload.spec.model_dump_json(),
        "root": workload.root,
        "snapshot": _model_json(workload.snapshot),
        "snapshot_digest": workload.snapshot.digest if workload.snapshot else None,
        "keep_runs": retention.keep_runs,
        "keep_micros": None if keep is None else timedelta(days=keep) // _MICRO,
        "created_at": to_micros(workload.created_at),
        "updated_at": to_micros(workload.updated_at),
    }


def decode_workload(row: Row[Any] | tuple[Any, ...], decode_spec: DecodeSpec) -> Workload[Spec]:
    """Read a workload and, where the row goes on with the columns of a run, its latest run."""
    value = dict(zip(WORKLOAD_COLUMNS, row, strict=False))
    rest = row[len(WORKLOAD_COLUMNS) :]
    return Workload.model_construct(
        id=value["id"],
        kind=value["kind"],
        owner=value["owner"],
        name=value["name"],
        spec=_read_spec(value, decode_spec),
        root=value["root"],
        snapshot=_read_snapshot(value["snapshot"]),
        created_at=from_micros(value["created_at"]),
        updated_at=from_micros(value["updated_at"]),
        last_run=decode_run(rest) if rest and rest[0] is not None else None,
    )


def _read_spec(value: Values, decode_spec: DecodeSpec) -> Spec:
    try:
        return decode_spec(value["kind"], json.loads(value["spec"]))
    except (ValueError, HimaliaError) as error:
        raise Unavailable(
            f"The {value['kind']} {value['name']!r} ({value['id']}) was stored by another release, "
            "and this one cannot read it. Install that release again."
        ) from error


def _read_snapshot(text: str | None) -> Snapshot | None:
    return None if text is None else Snapshot.model_validate_json(text)


def encode_run(run: Run) -> Values:
    """Make the row of a run that nobody holds."""
    return {
        "id": run.id,
        "workload_id": run.workload_id,
        "workload_name": run.workload_name,
        "folded": run.workload_name.casefold(),
        "kind": run.kind,
        "owner": run.owner,
        "trigger": run.trigger.value,
        "target": run.target.value,
        **status_values(run.status),
        "reason": _model_json(run.reason),
        "attempt": run.attempt,
        "lost_attempts": run.lost_attempts,
        "progress": _model_json(run.progress),
        "parameters": to_json(run.parameters),
        "tags": to_json(list(run.tags)),
        "snapshot_digest": run.snapshot_digest,
        "flow_id": run.flow_id,
        "rerun_of": run.rerun_of,
        "from_failed_cell": int(run.from_failed_cell),
        "schedule_id": run.schedule_id,
        "tick_at": _optional_micros(run.tick_at),
        "revision": run.revision,
        "created_at": to_micros(run.created_at),
        "not_before": _optional_micros(run.not_before, 0),
        "started_at": _optional_micros(run.started_at),
        "ended_at": _optional_micros(run.ended_at, FOREVER),
        "use": _model_json(run.use),
        "versions": _model_json(run.versions),
        "token": 0,
        "holder": None,
        "lease_until": 0,
    }


def status_values(status: Status) -> Values:
    """Make the two columns that hold a status."""
    return {"status": status.value, "live": None if status.is_terminal else status.value}


def encode_change(change: Change) -> Values:
    """Make the columns that a change writes."""
    values = status_values(change.status)
    for name in ("attempt", "lost_attempts"):
        if (number := getattr(change, name)) is not None:
            values[name] = number
    for name in ("not_before", "started_at", "ended_at"):
        if (moment := getattr(change, name)) is not None:
            values[name] = to_micros(moment)
    for name in ("reason", "progress", "use", "versions"):
        if (model := getattr(change, name)) is not None:
            values[name] = model.model_dump_json()
    return values


def decode_run(row: Row[Any] | tuple[Any, ...]) -> Run:
    """Read a run."""
    value = dict(zip(RUN_COLUMNS, row, strict=True))
    return Run.model_construct(
        id=value["id"],
        workload_id=value["workload_id"],
        workload_name=value["workload_name"],
        kind=value["kind"],
        owner=value["owner"],
        trigger=Trigger(value["trigger"]),
        target=Target(value["target"]),
        status=Status(value["status"]),
        reason=read_reason(value["reason"]),
        attempt=value["attempt"],
        lost_attempts=value["lost_attempts"],
        progress=_read_progress(value["progress"]),
        parameters=json.loads(value["parameters"]),
        tags=tuple(json.loads(value["tags"])),
        snapshot_digest=value["snapshot_digest"],
        flow_id=value["flow_id"],
        rerun_of=value["rerun_of"],
        from_failed_cell=bool(value["from_failed_cell"]),
        schedule_id=value["schedule_id"],
        tick_at=_optional_time(value["tick_at"]),
        revision=value["revision"],
        position=None,
        created_at=from_micros(value["created_at"]),
        not_before=_optional_time(value["not_before"]),
        started_at=_optional_time(value["started_at"]),
        ended_at=_optional_time(value["ended_at"]),
        use=_read_use(value["use"]),
        versions=_read_versions(value["versions"]),
    )


def read_reason(text: str | None) -> Reason | None:
    """Read a reason's column."""
    return None if text is None else Reason.model_construct(**json.loads(text))


def _read_progress(text: str | None) -> Progress:
    return Progress() if text is None else Progress.model_construct(**json.loads(text))


def _read_use(text: str | None) -> ResourceUse | None:
    return None if text is None else ResourceUse.model_construct(**json.loads(text))


def _read_versions(text: str | None) -> Versions | None:
    return None if text is None else Versions.model_construct(**json.loads(text))


def encode_schedule(schedule: Schedule) -> Values:
    """Make the row of a schedule."""
    return {
        "id": schedule.id,
        "workload_id": schedule.workload_id,
        "owner": schedule.owner,
        "cron": schedule.cron,
        "time_zone": schedule.time_zone,
        "overlap": schedule.overlap.value,
        "missed": schedule.missed.value,
        "inputs": schedule.inputs.value,
        "parameters": to_json(schedule.parameters),
        "paused": int(schedule.paused),
        "next_tick_at": _optional_micros(schedule.next_tick_at, FOREVER),
        "last_tick_at": _optional_micros(schedule.last_tick_at),
        "reason": _model_json(schedule.reason),
        "created_at": to_micros(schedule.created_at),
        "updated_at": to_micros(schedule.updated_at),
    }


def decode_schedule(value: Mapping[str, Any], *, workload_name: str, kind: str) -> Schedule:
    """Read a schedule, with the present name and the kind of its workload."""
    return Schedule.model_construct(
        id=value["id"],
        workload_id=value["workload_id"],
        workload_name=workload_name,
        kind=kind,
        owner=value["owner"],
        cron=value["cron"],
        time_zone=value["time_zone"],
        overlap=Overlap(value["overlap"]),
        missed=Missed(value["missed"]),
        inputs=Inputs(value["inputs"]),
        parameters=json.loads(value["parameters"]),
        paused=bool(value["paused"]),
        next_tick_at=_optional_time(value["next_tick_at"]),
        last_tick_at=_optional_time(value["last_tick_at"]),
        reason=read_reason(value["reason"]),
        created_at=from_micros(value["created_at"]),
        updated_at=from_micros(value["updated_at"]),
    )
