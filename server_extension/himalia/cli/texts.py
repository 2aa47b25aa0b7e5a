"""What people read about jobs, runs and schedules, in the shell and in notebooks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from himalia.client.jobs import Job
    from himalia.core.model import Output, Run, Schedule, ServiceStatus
    from himalia.core.profiles import Profile
    from himalia.core.team import Notice, Standing, UsageTotal

RUN_HEADER = ("RUN", "NAME", "STATUS", "CELLS", "CREATED", "TOOK")
JOB_HEADER = ("JOB", "NAME", "LAST RUN", "CELLS", "CREATED")
OUTPUT_HEADER = ("NAME", "ROLE", "SIZE")
PROFILE_HEADER = ("PROFILE", "TITLE", "CORES", "MEMORY", "GPUS", "PRICE")
QUOTA_HEADER = ("QUOTA", "LIMIT", "TAKEN", "OF", "LEFT")

# Colours pass; everything else that a terminal obeys (titles, the clipboard, the cursor) does not.
_UNSAFE = re.compile(
    r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b\[(?![0-9;]*m)[0-?]*[ -/]*[@-~]?"
    r"|\x1b(?!\[)."
    r"|[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f\x80-\x9f]",
    re.DOTALL,
)
_COLOUR = re.compile(r"\x1b(?:\[[0-9;]*m)?")
_NOT_PLAIN = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def terminal_safe(text: str) -> str:
    """Take out of a log what would do more to a terminal than colour it."""
    return _UNSAFE.sub("", text)


def without_escapes(text: str) -> str:
    """Take colours out as well."""
    return _COLOUR.sub("", terminal_safe(text))


def plain(text: str) -> str:
    """Make text from elsewhere fit one line."""
    return _NOT_PLAIN.sub(" ", text)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lay rows out in columns as wide as needed."""
    lines = [list(header), *([plain(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]


def facts(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """Lay names and their values out; empty values are left out."""
    shown = [(name, value) for name, value in pairs if value]
    width = max((len(name) for name, _ in shown), default=0)
    return [f"{name.ljust(width)}  {plain(value)}" for name, value in shown]


def when(time: datetime | None) -> str:
    """Show a time in the user's own zone."""
    return "" if time is None else time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(seconds: float) -> str:
    """Show a duration for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def took(run: Run) -> str:
    """Show how long a run has taken, or takes so far."""
    if run.started_at is None:
        return ""
    return duration(((run.ended_at or datetime.now(UTC)) - run.started_at).total_seconds())


def cells(run: Run) -> str:
    """Show how far a run has come."""
    return f"{run.progress.done}/{run.progress.total}" if run.progress.total else ""


def size(count: int) -> str:
    """Show a number of bytes for people."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def run_row(run: Run) -> tuple[str, ...]:
    """Show a run in one row under :data:`RUN_HEADER`."""
    created = when(run.created_at)
    return (run.id, run.workload_name, run.status.value, cells(run), created, took(run))


def job_row(made: Job) -> tuple[str, ...]:
    """Show a job in one row under :data:`JOB_HEADER`."""
    last = made.last_run
    state = (last.status.value, cells(last), when(last.created_at)) if last else ("", "", "")
    return (made.id, made.name, *state)


def profile_row(one: Profile) -> tuple[str, ...]:
    """Show a profile in one row under :data:`PROFILE_HEADER`."""
    cores = f"{one.cpu:g}" if one.cpu is not None else ""
    memory = size(one.memory_bytes) if one.memory_bytes is not None else ""
    return (one.name, one.title, cores, memory, str(one.gpu or ""), one.price)


def output_row(one: Output) -> tuple[str, ...]:
    """Show an output in one row under :data:`OUTPUT_HEADER`."""
    return (one.name, one.role, size(one.size_bytes))


def run_facts(run: Run) -> list[tuple[str, str]]:
    """Show what is to say about a run."""
    reason = run.reason
    return [
        ("run", run.id),
        ("of job", run.workload_id),
        ("named", run.workload_name),
        ("status", run.status.value),
        ("reason", reason.message if reason else ""),
        ("next step", reason.next_step if reason else ""),
        ("cells", cells(run)),
        ("in queue", str(run.position or "")),
        ("parameters", ", ".join(f"{key}={value!r}" for key, value in run.parameters.items())),
        ("tags", ", ".join(run.tags)),
        ("created", when(run.created_at)),
        ("started", when(run.started_at)),
        ("ended", when(run.ended_at)),
        ("took", took(run)),
        ("peak memory", size(run.use.peak_memory_bytes) if run.use else ""),
        ("kernel", run.versions.kernel if run.versions else ""),
    ]


def status_facts(now: ServiceStatus) -> list[tuple[str, str]]:
    """Show how the service is doing."""
    pool = now.pool
    return [
        ("version", now.version),
        ("process", str(now.pid)),
        ("since", when(now.started_at)),
        ("backend", now.backend),
        ("running", f"{now.running} of {now.limit} at once"),
        ("queued", str(now.queued)),
        ("schedules", str(now.schedules)),
        ("kept ready", f"{pool.ready} of {pool.limit}" if pool else ""),
        ("memory", size(now.memory_bytes)),
        ("disk free", size(now.disk_free_bytes)),
    ]


def schedule_facts(made: Schedule) -> list[tuple[str, str]]:
    """Show what is to say about a schedule."""
    return [
        ("schedule", made.id),
        ("of job", made.workload_id),
        ("named", made.workload_name),
        ("cron", f"{made.cron} ({made.time_zone})"),
        ("next", "paused" if made.paused else when(made.next_tick_at)),
        ("last", when(made.last_tick_at)),
        ("overlap", made.overlap.value),
        ("missed", made.missed.value),
        ("inputs", made.inputs.value),
        ("reason", made.reason.message if made.reason else ""),
    ]


def usage_header(by: str) -> tuple[str, ...]:
    """Return the header above :func:`usage_row`."""
    return (by.upper(), "ENTRIES", "HOURS", "CPU HOURS", "ASKED CPU HOURS", "ASKED GIB HOURS")


def usage_row(total: UsageTotal) -> tuple[str, ...]:
    """Show one sum of usage in one row."""
    amounts = (total.hours, total.cpu_hours, total.asked_cpu_hours, total.asked_memory_gib_hours)
    name = total.name or total.subject or "(none)"
    return (name, str(total.entries), *(f"{amount:.2f}" for amount in amounts))


def quota_rows(standings: Iterable[Standing]) -> list[tuple[str, ...]]:
    """Show every limit of some quotas in a row each under :data:`QUOTA_HEADER`."""
    return [row for standing in standings for row in _limits(standing)]


def _limits(standing: Standing) -> Iterable[tuple[str, ...]]:
    quota = standing.quota
    whose = f"group {quota.subject}" if quota.scope == "group" else "yours"
    until = when(standing.resets_at)
    limits = (
        ("runs at once", standing.running, quota.running, str),
        ("cores at once", standing.cpu, quota.cpu, lambda cores: f"{cores:g}"),
        ("memory at once", standing.memory_bytes, quota.memory_bytes, lambda it: size(int(it))),
        (f"run hours until {until}", standing.run_hours, quota.run_hours, lambda it: f"{it:.2f}"),
    )
    for name, taken, limit, show in limits:
        if limit is not None:
            yield (whose, name, show(taken), show(limit), show(max(limit - taken, 0)))


def notice_lines(notice: Notice) -> list[str]:
    """Show what an admin tells everybody; nothing where nobody does."""
    lines = [f"Notice: {plain(notice.banner)}"] if notice.banner else []
    if notice.is_draining:
        lines.append("Nothing new starts at present; what runs goes on.")
    return lines
