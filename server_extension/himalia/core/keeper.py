"""The keeper: deletes what nobody needs any more, a little at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime

from himalia.backends.base import AttemptRef, Backend, Observation, Phase
from himalia.core.errors import HimaliaError, NotFound, Unavailable
from himalia.core.loop import Lead, Loop, alone
from himalia.core.model import Run
from himalia.core.premises import Premises
from himalia.core.reconciler import utc_now
from himalia.store.base import Store

_log = logging.getLogger(__name__)

_RUNS_A_ROUND = 100
_FOLDERS_A_ROUND = 500
_OWNERS_AT_ONCE = 8
_LOOKS = 5
_ROUND_SECONDS = 300.0
_NEXT_SECONDS = 1.0


class Keeper:
    """Applies retention, and collects the files of runs and snapshots that are gone.

    Rows go before files, so a crash in between leaves files that a later round collects, when the
    owner's premises are open. What an earlier attempt left stays as long as its run.
    """

    def __init__(
        self,
        *,
        store: Store,
        backend: Backend,
        premises: Premises,
        clock: Callable[[], datetime] = utc_now,
        lead: Lead = alone,
    ) -> None:
        self._store = store
        self._backend = backend
        self._premises = premises
        self._clock = clock
        self._seen_up_to: dict[str, str] = {}
        self.loop = Loop("clean up", self.tidy, lead)
        """Runs while store and backend are open."""

    async def tidy(self) -> float:
        """Do one bounded round, and return the seconds to wait before the next."""
        expired = await self._store.runs.expired(self._clock(), _RUNS_A_ROUND)
        for run in expired:
            with suppress(NotFound):
                await self._store.runs.delete(run.owner, run.id)
                await self.remove_files((run,))
        is_through = await self._tidy_premises(await self._premises.owners())
        is_done = len(expired) < _RUNS_A_ROUND and is_through
        return _ROUND_SECONDS if is_done else _NEXT_SECONDS

    async def remove_files(self, runs: Iterable[Run]) -> None:
        """Delete what the attempts of `runs`, whose rows are gone, left.

        Where that cannot be now, a later round does it.
        """
        for run in runs:
            refs = [
                AttemptRef(owner=run.owner, run_id=run.id, attempt=attempt)
                for attempt in range(1, run.attempt + 1)
            ]
            try:
                await self._remove(run.owner, run.id, refs)
            except Unavailable as error:
                _log.warning("the files of %s stay for now: %s", run.id, error.message)

    async def _tidy_premises(self, owners: Sequence[str]) -> bool:
        """Tidy those of each owner; return whether all of them were looked through."""
        self._seen_up_to = {owner: self._seen_up_to.get(owner, "") for owner in owners}
        turns = asyncio.Semaphore(_OWNERS_AT_ONCE)

        async def tidy(owner: str) -> bool:
            async with turns:
                try:
                    is_through = await self._collect_folders(owner)
                    needed = await self._store.workloads.snapshots(owner or None)
                    await self._premises.collect(owner, needed)
                except HimaliaError as error:
                    # One owner's trouble is not the others'.
                    _log.warning("cleaning up for %s: not now: %s", owner, error.message)
                    return True
                return is_through

        return all(await asyncio.gather(*map(tidy, owners)))

    async def _collect_folders(self, owner: str) -> bool:
        """Delete left-over folders among the next ones; return whether all were looked at."""
        batch = await self._premises.runs(
            owner, after=self._seen_up_to[owner], limit=_FOLDERS_A_ROUND
        )
        known = await self._store.runs.known(batch) if batch else frozenset()
        for run_id in batch:
            if run_id not in known:
                await self._collect(owner, run_id)
        is_through = len(batch) < _FOLDERS_A_ROUND
        self._seen_up_to[owner] = "" if is_through else batch[-1]
        return is_through

    async def _collect(self, owner: str, run_id: str) -> None:
        attempts = await self._premises.attempts(owner, run_id)
        refs = [AttemptRef(owner=owner, run_id=run_id, attempt=attempt) for attempt in attempts]
        _log.info("collecting the files of %s, which is gone", run_id)
        await self._remove(owner, run_id, refs)

    async def _remove(self, owner: str, run_id: str, refs: list[AttemptRef]) -> None:
        try:
            for ref, seen in (await self._seen(refs)).items():
                if seen.phase in {Phase.STARTING, Phase.RUNNING}:
                    # Nobody wants it any more; a later round removes what it leaves.
                    await self._backend.stop(ref)
                else:
                    await self._backend.remove(ref)
        except Unavailable:
            raise
        except (HimaliaError, OSError):
            _log.exception("removing %s; a later round tries again", run_id)
            return
        await self._premises.remove(owner, run_id)

    async def _seen(self, refs: Sequence[AttemptRef]) -> dict[AttemptRef, Observation]:
        """Look at attempts, again at those that could not be asked at once."""
        seen: dict[AttemptRef, Observation] = {}
        for _ in range(_LOOKS):
            missing = [ref for ref in refs if ref not in seen]
            if missing:
                seen.update(await self._backend.observe(missing))
        return seen
