"""What an observation of an attempt means for its run: pure decisions, no effects."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from himalia.backends.base import Observation, Outcome, Phase
from himalia.core.model import Reason, Run, Status, Target
from himalia.core.spec import Retries
from himalia.store.base import Change, Spell

MAX_LOST_ATTEMPTS = 3
"""So many attempts may vanish and be replaced; the next one that vanishes fails the run."""

_ASKED = frozenset({"replaced", "owner_gone", "stopped_by_admin"})
"""Codes of reasons that whoever asked for a stop may have given."""
_ON = (Status.STARTING, Status.RUNNING, Status.STOPPING)
STOPPED_BY_USER = Reason(
    code="stopped_by_user", message="The run was stopped.", next_step="Run it again when you like."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """A run, what was seen of its attempt, and when."""

    run: Run
    seen: Observation
    retries: Retries
    now: datetime
    is_overdue: bool = False
    """The attempt was ended from outside because it ran over its time."""


def decide(at: Situation) -> Change | None:
    """Return what has to be written of the run, or None where nothing but progress is new.

    An attempt that is absent is to be started again unless the run should stop: that is the
    caller's, and None here.
    """
    change = _decide(at)
    if change is None or change.status in _ON:
        return change
    # By this clock, whatever the attempt's own says.
    use = at.seen.outcome.use if at.seen.outcome is not None else None
    return replace(change, spell=Spell(until=at.now, use=use))


def _decide(at: Situation) -> Change | None:
    match at.seen.phase:
        case Phase.ENDED if at.seen.outcome is not None:
            return _ended(at, at.seen.outcome)
        case Phase.LOST | Phase.ENDED:
            return _lost(at)
        case Phase.ABSENT:
            return _stopped(at) if at.run.target is Target.STOP else None
        case Phase.STARTING:
            return _explained(at)
        case Phase.RUNNING:
            if at.run.status is not Status.STARTING:
                return _explained(at)
            return Change(
                status=Status.RUNNING,
                # Why it had to wait is over.
                reason=at.seen.reason,
                is_reason_whole=True,
                progress=at.seen.progress,
                started_at=at.seen.started_at or at.now,
            )


def _explained(at: Situation) -> Change | None:
    """Say what there is to say of an attempt that goes on, or that there is nothing any more."""
    if at.seen.reason == at.run.reason or at.run.target is Target.STOP:
        return None
    return Change(status=at.run.status, reason=at.seen.reason, is_reason_whole=True)


def failed(run: Run, reason: Reason, now: datetime) -> Change:
    """Fail a run for good."""
    return Change(
        status=Status.FAILED,
        reason=reason,
        progress=run.progress,
        ended_at=now,
        spell=Spell(until=now),
    )


def put_off(run: Run, message: str, not_before: datetime) -> Change:
    """Queue a run again whose attempt could not be started yet; it costs no attempt."""
    return Change(
        status=Status.QUEUED,
        attempt=run.attempt - 1,
        not_before=not_before,
        reason=Reason(
            code="unavailable",
            message=f"The run could not be started yet: {message}",
            next_step="It is tried again by itself.",
        ),
    )


def _ended(at: Situation, outcome: Outcome) -> Change:
    status, reason = Status(outcome.status), outcome.reason
    if at.is_overdue and status is not Status.SUCCEEDED:
        status, reason = Status.FAILED, _timed_out()
    elif status is Status.STOPPED:
        reason = _why_stopped(at.run, reason)
    tries = at.run.attempt - at.run.lost_attempts
    if status is Status.FAILED and at.run.target is Target.RUN and tries <= at.retries.count:
        return _retry(at, reason or _unexplained(), tries)
    return Change(
        status=status,
        reason=reason,
        progress=at.seen.progress,
        started_at=at.seen.started_at,
        ended_at=at.seen.ended_at or at.now,
        use=outcome.use,
        versions=outcome.versions,
    )


def _retry(at: Situation, reason: Reason, tries: int) -> Change:
    text = f"Attempt {tries} of {at.retries.count + 1} failed: {reason.message}"
    delay = min(
        at.retries.delay_seconds * at.retries.factor ** (tries - 1), at.retries.max_delay_seconds
    )
    return Change(
        status=Status.QUEUED,
        reason=reason.model_copy(update={"message": text}),
        progress=at.seen.progress,
        not_before=at.now + timedelta(seconds=delay),
    )


def _lost(at: Situation) -> Change:
    if at.run.target is Target.STOP:
        return _stopped(at)
    if at.is_overdue:
        return failed(at.run, _timed_out(), at.now)
    lost = at.run.lost_attempts + 1
    why = f" {at.seen.reason.message}" if at.seen.reason is not None else ""
    if lost > MAX_LOST_ATTEMPTS:
        reason = Reason(
            code="attempts_lost",
            message=f"{lost} attempts vanished without leaving a result.{why}",
            next_step="See the log for the last thing it did; if it needs much memory, "
            "give it less to do at once.",
        )
        return Change(
            status=Status.FAILED,
            reason=reason,
            lost_attempts=lost,
            progress=at.seen.progress,
            started_at=at.seen.started_at,
            ended_at=at.now,
        )
    return Change(
        status=Status.QUEUED,
        lost_attempts=lost,
        progress=at.seen.progress,
        not_before=at.now,
        reason=Reason(
            code="attempts_lost",
            message=f"Attempt {at.run.attempt} vanished without leaving a result.{why}",
            next_step="It is tried again by itself, without costing a retry.",
        ),
    )


def _stopped(at: Situation) -> Change:
    return Change(
        status=Status.STOPPED,
        reason=_why_stopped(at.run, None),
        progress=at.seen.progress,
        started_at=at.seen.started_at,
        ended_at=at.seen.ended_at or at.now,
    )


def _why_stopped(run: Run, said: Reason | None) -> Reason:
    """Return what whoever asked for the stop gave, else what the runner said."""
    if run.target is Target.STOP and run.reason is not None and run.reason.code in _ASKED:
        return run.reason
    return said or STOPPED_BY_USER


def _timed_out() -> Reason:
    return Reason(
        code="timed_out",
        message="The run took longer than its timeout, did not end by itself, and was killed.",
        next_step="Raise the timeout, or make the notebook do less.",
    )


def _unexplained() -> Reason:
    return Reason(
        code="internal", message="The run failed without saying why.", next_step="See its log."
    )
