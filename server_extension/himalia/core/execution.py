"""One held run at the backend: start it, follow it, give it up. Writes nothing to the store."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from himalia.backends.base import Backend, Phase, Refused
from himalia.core.errors import HimaliaError, InvalidInput, Unavailable
from himalia.core.holding import Work
from himalia.core.model import Reason, Run, Target, Workload
from himalia.core.premises import Premises
from himalia.core.spec import Spec
from himalia.core.transitions import Situation, decide, failed, put_off
from himalia.kinds.base import Kind, RunPlan
from himalia.store.base import Change, Store

_log = logging.getLogger(__name__)

_MAX_TROUBLES = 5
_TIMEOUT_MARGIN_SECONDS = 30.0
"""The runner keeps the timeout itself; only one that hangs is ended from here."""
_PROGRESS_SECONDS = 1.0
_UNSEEN = "out_of_sight"
_UNSEEN_SECONDS, _UNSEEN_AGAIN_SECONDS = 20.0, 60.0
_LAST_STOP_SECONDS = 5.0
_FIRST_DELAY_SECONDS = 1.0
_LONGEST_DELAY_SECONDS = 60.0


RunEnv = Callable[[Run], Awaitable[Mapping[str, str]]]
"""Gives the variables that a run gets of control; they take precedence."""


class NotNow(Exception):
    """What belongs to one run cannot be reached; the other runs' may well be."""


@contextmanager
def one_runs_trouble() -> Iterator[None]:
    """Keep what is Unavailable at one run's backend and premises apart from the store's being so.

    :raises NotNow: instead.
    """
    try:
        yield
    except Unavailable as error:
        raise NotNow(error.message) from error


class Execution:
    """What is done with one run at a time; each method returns the change to store."""

    def __init__(  # noqa: PLR0913 - all that a run is dealt with by
        self,
        *,
        store: Store,
        backend: Backend,
        kinds: Mapping[str, Kind[Any]],
        premises: Premises,
        clock: Callable[[], datetime],
        env: RunEnv | None = None,
    ) -> None:
        self._store = store
        self._backend = backend
        self._kinds = kinds
        self._premises = premises
        self._clock = clock
        self._env = env
        self._refusals: dict[str, int] = {}
        self._retries_mono: list[float] = []

    def forget(self, run_id: str) -> None:
        """Let go of what is remembered of a run that has ended."""
        self._refusals.pop(run_id, None)

    def seconds_to_retry(self, *, at_most: float) -> float:
        """Return how long until a run that was put off is due."""
        now = time.monotonic()
        self._retries_mono = [due for due in self._retries_mono if due > now]
        return min([at_most, *(due - now + 0.001 for due in self._retries_mono)])

    async def start(self, work: Work) -> Change | None:
        """Start the attempt, or return why that cannot be."""
        try:
            plan = await self._plan(work)
        except NotNow as error:
            return self._put_off(work.run, str(error))
        except Unavailable:
            raise
        except HimaliaError as error:
            reason = error.reason if isinstance(error, Refused) else _refused(error)
            return failed(work.run, reason, self._clock())
        if work.run.target is Target.STOP:
            work.is_begun = True
            return None
        # Past its lease another may hold it; if nobody does, a renewed lease brings it back.
        return await self._begin(work, plan) if self._clock() < work.lease_until else None

    async def _begin(self, work: Work, plan: RunPlan) -> Change | None:
        try:
            await self._backend.start(work.ref, plan)
        except Unavailable as error:
            return self._put_off(work.run, error.message)
        except Refused as error:
            return failed(work.run, error.reason, self._clock())
        work.is_begun = True
        return None

    async def learn(self, work: Work) -> None:
        """Find out what was asked of a run that another began (:raises NotNow:)."""
        try:
            work.spec = (await self._workload(work.run)).spec
        except Refused:
            # What it is now tells as much as is needed to bring the run to its end.
            work.spec = (await self._stored(work.run)).spec

    async def end(self, work: Work) -> None:
        """End an attempt that ran over its time (:raises NotNow:)."""
        with one_runs_trouble():
            await self._backend.stop(work.ref)
        work.must_end = False

    async def follow(self, work: Work) -> Change | None:
        """Return what the last observation asks for; None also where only time passes.

        `is_begun` turns false where the attempt is to be started again.
        """
        run, seen = work.run, work.seen
        work.unseen_mono = None
        if seen.phase is Phase.ABSENT and run.target is Target.RUN:
            work.is_begun = False
            return None
        if seen.phase is Phase.ABSENT and work.stop_sent_mono is None:
            # First make sure that nobody starts it any more.
            return None
        spec = work.spec
        if spec is None:
            # It is being learned; only this run waits for that.
            return None
        now = self._clock()
        self._note_overdue(work, spec, now)
        change = decide(
            Situation(run=run, seen=seen, retries=spec.retries, now=now, is_overdue=work.is_overdue)
        )
        if change is not None and change.not_before is not None:
            self._remember_retry((change.not_before - now).total_seconds())
        return change or self._progress(work)

    def unseen(self, work: Work) -> Change | None:
        """Say why nobody can tell how a run gets on, where that lasts."""
        now_mono = time.monotonic()
        since = work.unseen_mono = work.unseen_mono or now_mono
        if now_mono < since + _UNSEEN_SECONDS or work.run.target is Target.STOP:
            return None
        why = self._backend.silence(work.run.owner) or "Nobody answers."
        is_told = work.run.reason is not None and work.run.reason.code == _UNSEEN
        if is_told and now_mono < work.written_mono + _UNSEEN_AGAIN_SECONDS:
            return None
        work.written_mono = now_mono
        reason = Reason(
            code=_UNSEEN,
            message=f"How the run gets on cannot be seen just now: {why}",
            next_step="It goes on where it can, and is looked at again by itself. If this stays "
            "so, tell an admin.",
        )
        return Change(status=work.run.status, reason=reason) if reason != work.run.reason else None

    async def give_up(self, work: Work) -> Change | None:
        """After repeated trouble of our own making, end the attempt and fail the run."""
        if work.troubles < _MAX_TROUBLES:
            return None
        try:
            async with asyncio.timeout(_LAST_STOP_SECONDS):
                await self._backend.stop(work.ref)
        except Exception:  # noqa: BLE001 - logged, and the rest goes on
            _log.exception("stopping %s, which is given up", work.run.id)
        reason = Reason(
            code="internal",
            message="The run could not be looked after because of an error in Himalia.",
            next_step="The log of control has the details. Run it again.",
        )
        return failed(work.run, reason, self._clock())

    async def _workload(self, run: Run) -> Workload[Spec]:
        """Return the workload with the spec that the run was made for."""
        workload = await self._stored(run)
        if run.snapshot_digest is None:
            return workload
        with one_runs_trouble():
            spec = await self._premises.spec(run.owner, run.snapshot_digest, workload.spec)
        return workload.model_copy(update={"spec": spec})

    async def _stored(self, run: Run) -> Workload[Spec]:
        return await self._store.workloads.get(run.owner, run.kind, run.workload_id)

    async def _plan(self, work: Work) -> RunPlan:
        run = work.run
        workload = await self._workload(run)
        work.spec = workload.spec
        resume = await self._resume(run)
        plan = await asyncio.to_thread(self._kinds[run.kind].plan, workload, run, resume)
        work.grace_seconds = plan.grace_seconds
        if self._env is None:
            return plan
        return replace(plan, env={**plan.env, **await self._env(run)})

    async def _resume(self, run: Run) -> Path | None:
        if not run.from_failed_cell or run.rerun_of is None:
            return None
        earlier = await self._store.runs.get(run.owner, run.rerun_of)
        with one_runs_trouble():
            return await self._premises.outputs(run.owner, earlier.id, earlier.attempt)

    def _note_overdue(self, work: Work, spec: Spec, now: datetime) -> None:
        if spec.timeout_seconds is None or work.seen.phase is not Phase.RUNNING:
            return
        started = work.seen.started_at or work.run.started_at or now
        allowed = spec.timeout_seconds + work.grace_seconds + _TIMEOUT_MARGIN_SECONDS
        if not work.is_overdue and now >= started + timedelta(seconds=allowed):
            _log.warning("%s runs over its timeout and did not end itself", work.run.id)
            work.is_overdue = work.must_end = True

    def _put_off(self, run: Run, why: str) -> Change:
        refusals = self._refusals[run.id] = self._refusals.get(run.id, 0) + 1
        delay = min(_FIRST_DELAY_SECONDS * 2 ** min(refusals - 1, 10), _LONGEST_DELAY_SECONDS)
        self._remember_retry(delay)
        return put_off(run, why, self._clock() + timedelta(seconds=delay))

    def _remember_retry(self, delay_seconds: float) -> None:
        if delay_seconds > 0:
            self._retries_mono.append(time.monotonic() + delay_seconds)

    def _progress(self, work: Work) -> Change | None:
        now_mono = time.monotonic()
        if (
            work.seen.phase is not Phase.RUNNING
            or work.seen.progress == work.run.progress
            or now_mono < work.written_mono + _PROGRESS_SECONDS
        ):
            return None
        work.written_mono = now_mono
        return Change(status=work.run.status, progress=work.seen.progress)


def _refused(error: HimaliaError) -> Reason:
    fields = {problem.field.split(".")[0] for problem in error.problems}
    if isinstance(error, InvalidInput) and "environment" in fields:
        code, step = "environment_missing", "Install that environment, or choose another one."
    elif isinstance(error, InvalidInput):
        code, step = "notebook_invalid", "Correct the job and run it again."
    else:
        code, step = "internal", "Run it again; if it fails in the same way, make the job anew."
    return Reason(code=code, message=error.message, next_step=step)
