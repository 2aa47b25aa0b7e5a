"""What an attempt's folder tells of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from himalia.backends.base import AttemptRef, Observation, Outcome, Phase
from himalia.backends.local.processes import Runner
from himalia.core.model import Progress, Reason, ResourceUse, Status, Versions
from himalia.runners.attempt import AttemptFolder, now, read_json
from himalia.runners.events import ProgressCount

STOPPED = Reason(
    code="stopped_by_user",
    message="The run was stopped.",
    next_step="Run it again when you want to.",
)
_LAST_WORDS = 500


def observe(ref: AttemptRef, folder: AttemptFolder, count: ProgressCount) -> Observation:
    """Look at one attempt; `count` is carried on from the last look."""
    # The lock first: a result that is written meanwhile is then seen, never missed.
    is_taken = folder.is_taken()
    seen = observe_result(ref, folder, count)
    if seen is not None:
        return seen
    if is_taken:
        return observe_execution(folder, count)
    if folder.stop.exists():
        leave_stopped(ref, folder)
    return observe_end(ref, folder, count)


def observe_result(
    ref: AttemptRef, folder: AttemptFolder, count: ProgressCount
) -> Observation | None:
    """Look at the result, if there is one by now."""
    result = read_json(folder.result)
    return None if result is None else _ended(ref, folder, result, count)


def observe_execution(folder: AttemptFolder, count: ProgressCount) -> Observation:
    """Look at an attempt that somebody executes."""
    started = read_json(folder.started)
    count.read(folder.events)
    is_running = started is not None and "pid" in started
    return Observation(
        phase=Phase.RUNNING if is_running else Phase.STARTING,
        progress=_progress(count),
        started_at=_time((started or {}).get("at")),
    )


def observe_end(ref: AttemptRef, folder: AttemptFolder, count: ProgressCount) -> Observation:
    """Look at an attempt that nobody executes."""
    seen = observe_result(ref, folder, count)
    if seen is not None:
        return seen
    started = read_json(folder.started)
    if started is None:
        return Observation(phase=Phase.ABSENT)
    return _lost(folder, started, count)


def leave_stopped(ref: AttemptRef, folder: AttemptFolder) -> None:
    """Write down that an attempt was stopped which nobody executes, and nobody will."""
    lock = folder.take()
    if lock is None:
        return
    leave_result(ref, folder, Status.STOPPED, STOPPED)
    folder.release(lock)


def leave_result(ref: AttemptRef, folder: AttemptFolder, status: Status, reason: Reason) -> None:
    """Write down how an attempt ended whose runner does not, and never will."""
    started = read_json(folder.started) or {}
    folder.finish(
        {
            "run_id": ref.run_id,
            "attempt": ref.attempt,
            "status": status.value,
            "reason": reason.model_dump(),
            "use": {},
            "versions": {},
            "started_at": started.get("at"),
            "ended_at": now(),
        }
    )


def runner_of(ref: AttemptRef, folder: AttemptFolder) -> Runner | None:
    """Return the runner that started an attempt, if one came so far."""
    started = read_json(folder.started)
    if started is None or "pid" not in started:
        return None
    return Runner(
        name=ref.name,
        pid=int(started["pid"]),
        session=int(started["session"]),
        boot=str(started["boot"]),
    )


def _ended(
    ref: AttemptRef, folder: AttemptFolder, result: dict[str, Any], count: ProgressCount
) -> Observation:
    count.read(folder.events)
    if (result.get("run_id"), result.get("attempt")) != (ref.run_id, ref.attempt):
        return Observation(
            phase=Phase.LOST,
            reason=Reason(
                code="attempts_lost",
                message="The result in the attempt's folder is another attempt's.",
                next_step="Run it again.",
            ),
        )
    reason = result.get("reason")
    outcome = Outcome(
        status=Status(result["status"]),  # type: ignore[arg-type]
        reason=Reason.model_validate(reason) if reason else None,
        use=ResourceUse.model_validate(result.get("use") or {}),
        versions=Versions.model_validate(result.get("versions") or {}),
    )
    return Observation(
        phase=Phase.ENDED,
        progress=_progress(count),
        started_at=_time(result.get("started_at")),
        ended_at=_time(result.get("ended_at")),
        outcome=outcome,
    )


def _lost(folder: AttemptFolder, started: dict[str, Any], count: ProgressCount) -> Observation:
    count.read(folder.events)
    words = "The runner was ended from outside and left no result."
    try:
        last = folder.console.read_text("utf-8", "replace").strip()[-_LAST_WORDS:]
    except OSError:
        last = ""
    if last:
        words += f" Its last words: {last.splitlines()[-1]}"
    return Observation(
        phase=Phase.LOST,
        progress=_progress(count),
        started_at=_time(started.get("at")),
        reason=Reason(
            code="attempts_lost",
            message=words,
            next_step="Run it again; when it happens again, look at the machine's memory.",
        ),
    )


def _progress(count: ProgressCount) -> Progress:
    return Progress(done=count.done, total=count.total, current=count.current)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
