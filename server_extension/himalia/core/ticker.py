"""The ticker: at each tick of a schedule, at most one run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from himalia.core.cron import next_tick, next_ticks
from himalia.core.errors import HimaliaError, Unavailable
from himalia.core.flows import begin, new_run
from himalia.core.loop import Lead, Loop, alone
from himalia.core.model import Inputs, Missed, Overlap, Reason, Run, Schedule, Trigger, Workload
from himalia.core.premises import Premises
from himalia.core.reconciler import utc_now
from himalia.core.spec import Spec
from himalia.store.base import Store

_log = logging.getLogger(__name__)

_LATE_SECONDS = 60.0
"""A tick that is dealt with later than this was missed."""
_AT_ONCE = 8
_LONGEST_SLEEP = 30.0
"""The clock may jump, or the machine sleep, meanwhile."""
_MAX_UNENDED = 100
"""Runs of one schedule that may queue up."""


class Ticker:
    """Starts the runs of schedules, from the store's clock-ordered list of next ticks."""

    def __init__(
        self,
        *,
        store: Store,
        premises: Premises,
        wake: Callable[[], None],
        clock: Callable[[], datetime] = utc_now,
        lead: Lead = alone,
    ) -> None:
        self._store = store
        self._premises = premises
        self._wake_reconciler = wake
        self._clock = clock
        self.loop = Loop("tick schedules", self.tick, lead)
        """Runs while the store is open; woken when a schedule was made, changed or resumed."""

    async def tick(self) -> float:
        """Deal with what is due, and return the seconds until there is more to do."""
        due = await self._store.schedules.due(self._clock(), _AT_ONCE)
        if due:
            done = await asyncio.gather(*(self._guarded(*one) for one in due))
            # One that cannot even be recorded stays due; it must not take a core.
            return 0.0 if all(done) else 1.0
        coming = await self._store.schedules.next_tick_at()
        if coming is None:
            return _LONGEST_SLEEP
        return min(max((coming - self._clock()).total_seconds(), 0.001), _LONGEST_SLEEP)

    async def _guarded(self, schedule: Schedule, workload: Workload[Spec]) -> bool:
        try:
            await self._deal_with(schedule, workload)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - logged and told; the other schedules go on
            _log.exception("schedule %s could not tick", schedule.id)
            return await self._tell_trouble(schedule)
        return True

    async def _tell_trouble(self, schedule: Schedule) -> bool:
        reason = Reason(
            code="internal",
            message="This tick made no run because of an error in Himalia.",
            next_step="The log of control has the details.",
        )
        try:
            following = next_tick(schedule.cron, schedule.time_zone, self._clock())
            await self._store.schedules.tick(schedule, (), next_tick_at=following, reason=reason)
        except Exception:  # noqa: BLE001 - logged; it is tried again in a second
            _log.exception("schedule %s could not be put off", schedule.id)
            return False
        return True

    async def _deal_with(self, schedule: Schedule, workload: Workload[Spec]) -> None:
        now = self._clock()
        if schedule.next_tick_at is None:
            return
        try:
            tick_at, following, reason = _due_tick(schedule, schedule.next_tick_at, now)
        except HimaliaError as error:
            # Its line or its time zone is not valid any more: only a change makes it tick again.
            tick_at, following, reason = None, None, _no_run(error)
        runs: tuple[Run, ...] = ()
        if tick_at is not None:
            reason = await self._make_room(schedule, now)
            if reason is None:
                runs, reason = await self._runs(schedule, workload, tick_at)
        is_ours = await self._store.schedules.tick(
            schedule, runs, next_tick_at=following, reason=reason
        )
        if reason is not None:
            _log.info("schedule %s made no run: %s", schedule.id, reason.message)
        if runs and is_ours:
            self._wake_reconciler()

    async def _make_room(self, schedule: Schedule, now: datetime) -> Reason | None:
        """Apply the overlap policy; return why no run is made, if none is."""
        unended = await self._store.schedules.unended(schedule.id)
        if not unended:
            return None
        if schedule.overlap is Overlap.REPLACE:
            for run in unended:
                await self._store.runs.request_stop(run.owner, run.id, now, reason=_REPLACED)
            self._wake_reconciler()
            return None
        if schedule.overlap is Overlap.SKIP:
            return Reason(
                code="overlap",
                message="The run of an earlier tick had not ended.",
                next_step="Make the schedule rarer, or let its ticks queue or replace.",
            )
        if len(unended) >= _MAX_UNENDED:
            return Reason(
                code="overlap",
                message=f"{len(unended)} runs of earlier ticks had not ended.",
                next_step="Make the schedule rarer.",
            )
        return None

    async def _runs(
        self, schedule: Schedule, workload: Workload[Spec], tick_at: datetime
    ) -> tuple[tuple[Run, ...], Reason | None]:
        digest = workload.snapshot.digest if workload.snapshot else None
        if schedule.inputs is Inputs.FRESH:
            try:
                digest = await self._pin(workload)
            except HimaliaError as error:
                return (), _no_run(error)
        run = new_run(workload, trigger=Trigger.SCHEDULE, parameters=schedule.parameters)
        update = {"schedule_id": schedule.id, "tick_at": tick_at, "snapshot_digest": digest}
        return await begin(self._store, workload, run.model_copy(update=update)), None

    async def _pin(self, workload: Workload[Spec]) -> str | None:
        snapshot = await self._premises.pin(
            workload.owner, workload.kind, workload.spec, Path(workload.root)
        )
        return snapshot.digest if snapshot is not None else None


_REPLACED = Reason(
    code="replaced",
    message="The schedule's next tick came before this run had ended, and replaced it.",
    next_step="Make the schedule rarer, or let its ticks queue.",
)


def _due_tick(
    schedule: Schedule, planned: datetime, now: datetime
) -> tuple[datetime | None, datetime | None, Reason | None]:
    """Return the tick that gets a run, the one to wait for next, and why none gets a run.

    Ticks that were missed collapse: at most one run is made for all of them.
    """
    grace = timedelta(seconds=_LATE_SECONDS)
    if now - planned <= grace:
        return planned, next_tick(schedule.cron, schedule.time_zone, planned), None
    following = next_tick(schedule.cron, schedule.time_zone, now)
    in_time = [
        tick
        for tick in next_ticks(schedule.cron, schedule.time_zone, now - grace, 3)
        if tick <= now
    ]
    if in_time:
        return in_time[-1], following, None
    if schedule.missed is Missed.RUN_ONCE:
        return planned, following, None
    reason = Reason(
        code="missed",
        message=f"The tick of {planned:%Y-%m-%d %H:%M} UTC passed while nothing could run it.",
        next_step="`himalia control install` keeps schedules going when JupyterLab is closed.",
    )
    return None, following, reason


def _no_run(error: HimaliaError) -> Reason:
    return Reason(
        code=error.code,
        message=f"This tick made no run: {error.message}",
        next_step="Correct what it names; the next tick tries again.",
    )
