"""Our jobs and runs in jupyter-scheduler's words, and back."""

from __future__ import annotations

from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from jupyter_scheduler.models import (
    CreateJob,
    CreateJobDefinition,
    DescribeJob,
    DescribeJobDefinition,
)
from jupyter_scheduler.models import Status as TheirStatus

from himalia.client.jobs import Job
from himalia.core.model import Run, Schedule, Status
from himalia.scheduler import parameters

DEFINITION_TAG = "job-definition"
"""Marks a job that was made as a definition: it may have no run and no schedule."""

OWN_KERNEL = "Kernel of the notebook"
"""The environment that means the kernel which the notebook names."""

LABELS = {
    "ipynb": "Notebook",
    "html": "HTML",
    "markdown": "Markdown",
    "script": "Script",
    "pdf": "PDF",
    "latex": "LaTeX",
    "rst": "reStructuredText",
    "slides": "Slides",
    "asciidoc": "AsciiDoc",
    "webpdf": "PDF (browser)",
}
OFFERED = ("ipynb", "html")
"""Upstream's panel ticks all that is offered; its routes take any exporter of nbconvert."""

_THEIRS = {
    Status.WAITING: TheirStatus.QUEUED,
    Status.QUEUED: TheirStatus.QUEUED,
    Status.STARTING: TheirStatus.IN_PROGRESS,
    Status.RUNNING: TheirStatus.IN_PROGRESS,
    Status.STOPPING: TheirStatus.STOPPING,
    Status.SUCCEEDED: TheirStatus.COMPLETED,
    Status.FAILED: TheirStatus.FAILED,
    Status.STOPPED: TheirStatus.STOPPED,
    Status.SKIPPED: TheirStatus.STOPPED,
}


def ours(status: TheirStatus) -> tuple[Status, ...]:
    """Return the states that `status` covers; nothing is ever only CREATED here."""
    return tuple(mine for mine, theirs in _THEIRS.items() if theirs == status)


def milliseconds(time: datetime | None) -> int | None:
    """Return a time as upstream writes it."""
    return None if time is None else int(time.timestamp() * 1000)


def is_definition(job: Job) -> bool:
    """Tell whether `job` is shown as a definition even where it has no schedule."""
    return DEFINITION_TAG in job.spec.tags


def formats(job: Job) -> list[str]:
    """Return the output formats; the executed notebook is always kept."""
    return ["ipynb", *(name for name in job.spec.formats if name != "ipynb")]


def _shared(job: Job) -> dict[str, Any]:
    spec = job.spec
    return {
        "input_filename": PurePosixPath(spec.notebook).name,
        "runtime_environment_name": spec.environment or OWN_KERNEL,
        "runtime_environment_parameters": {},
        "output_formats": formats(job),
        "tags": [tag for tag in spec.tags if tag != DEFINITION_TAG],
        "package_input_folder": spec.whole_folder,
    }


def describe_run(run: Run, job: Job, *, definition_id: str | None) -> DescribeJob:
    """Show a run as a job of theirs."""
    reason = run.reason
    times = (run.created_at, run.started_at, run.ended_at)
    return DescribeJob(
        **_shared(job),
        job_id=run.id,
        name=run.workload_name,
        url=f"/jobs/{run.id}",
        job_definition_id=definition_id,
        parameters=parameters.write(run.parameters),
        create_time=milliseconds(run.created_at),
        start_time=milliseconds(run.started_at),
        end_time=milliseconds(run.ended_at),
        update_time=milliseconds(max(time for time in times if time is not None)),
        status=_THEIRS[run.status],
        status_message=f"{reason.message} {reason.next_step}".strip() if reason else None,
    )


def describe_definition(job: Job, schedule: Schedule | None) -> DescribeJobDefinition:
    """Show a job with its schedule as a definition of theirs."""
    changed = max(job.updated_at, schedule.updated_at) if schedule else job.updated_at
    return DescribeJobDefinition(
        **_shared(job),
        job_definition_id=job.id,
        name=job.name,
        parameters=parameters.write(
            job.spec.parameters | (schedule.parameters if schedule else {})
        ),
        schedule=schedule.cron if schedule else None,
        timezone=schedule.time_zone if schedule else None,
        active=schedule is not None and not schedule.paused,
        create_time=milliseconds(job.created_at),
        update_time=milliseconds(changed),
    )


def options(
    model: CreateJob | CreateJobDefinition, environments: frozenset[str], *, definition: bool
) -> dict[str, Any]:
    """Turn what they send to make a job into what the client takes."""
    wanted = model.output_formats or []
    name = model.runtime_environment_name
    tags = [*(model.tags or []), *([DEFINITION_TAG] if definition else [])]
    return {
        "parameters": parameters.read(model.parameters),
        # Upstream itself always runs the kernel that the notebook names, whatever is sent here.
        "environment": name if name in environments else None,
        "formats": tuple(dict.fromkeys(one for one in wanted if one not in {"ipynb", "input"})),
        "tags": tuple(dict.fromkeys(tags)),
        "whole_folder": bool(model.package_input_folder),
        # Of a packaged folder, upstream gives back all that is in it in the end.
        "outputs": ("**",) if model.package_input_folder else (),
    }
