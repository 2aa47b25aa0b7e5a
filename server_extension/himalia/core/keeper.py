"""The keeper: deletes what nobody needs any more, a little at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from himalia.backends.base import AttemptRef, Backend, Phase
from himalia.core.errors import HimaliaError, NotFound, Unavailable
from himalia.core.loop import Loop
from himalia.core.model import Run
from himalia.core.names import is_id
from himalia.core.places import Places
from himalia.core.reconciler import utc_now
from himalia.core.snapshots import Snapshots
from himalia.store.base import Store

_log = logging.getLogger(__name__)

_RUNS_A_ROUND = 100
_FOLDERS_A_ROUND = 500
_ROUND_SECONDS = 300.0
_NEXT_SECONDS = 1.0


class Keeper:
    """Applies retention, and collects the files of runs and snapshots that are gone.

    Rows go before files, so a crash in between leaves files that the next round collects. What an
    earlier attempt left stays as long as its run.
    """

    def __init__(
        self,
        *,
        store: Store,
        backend: Backend,
        places: Places,
        snapshots: Snapshots,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = store
        self._backend = backend
        self._places = places
        self._snapshots = snapshots
        self._clock = clock
        self._seen_up_to = ""
        self._loop = Loop("clean up", self.tidy)

    async def run(self) -> None:
        """Clean up every five minutes until :meth:`stop`. Store and backend must be open."""
        await self._loop.run()

    def wake(self) -> None:
        """Start a round now."""
        self._loop.wake()

    async def stop(self) -> None:
        """Delete nothing more."""
        await self._loop.stop()

    async def tidy(self) -> float:
        """Do one bounded round, and return the seconds to wait before the next."""
        expired = await self._store.runs.expired(self._clock(), _RUNS_A_ROUND)
        for run in expired:
            with suppress(NotFound):
                await self._store.runs.delete(run.owner, run.id)
                await self.remove_files((run,))
        is_through = await self._collect_folders()
        await self._snapshots.collect(await self._store.workloads.snapshots())
        is_done = len(expired) < _RUNS_A_ROUND and is_through
        return _ROUND_SECONDS if is_done else _NEXT_SECONDS

    async def remove_files(self, runs: Iterable[Run]) -> None:
        """Delete what the attempts of `runs`, whose rows are gone, left."""
        for run in runs:
            refs = [
                AttemptRef(owner=run.owner, run_id=run.id, attempt=attempt)
                for attempt in range(1, run.attempt + 1)
            ]
            await self._remove(self._places.runs / run.id, refs)

    async def _collect_folders(self) -> bool:
        """Delete left-over folders among the next ones; return whether all were looked at."""
        names = await asyncio.to_thread(_names, self._places.runs)
        names = sorted(name for name in names if is_id(name) and name > self._seen_up_to)
        batch = names[:_FOLDERS_A_ROUND]
        if batch:
            known = await self._store.runs.known(batch)
            for name in batch:
                if name not in known:
                    await self._collect(name)
        is_through = len(batch) == len(names)
        self._seen_up_to = "" if is_through else batch[-1]
        return is_through

    async def _collect(self, run_id: str) -> None:
        folder = self._places.runs / run_id
        attempts = [int(name) for name in await asyncio.to_thread(_names, folder) if name.isdigit()]
        refs = [AttemptRef(owner="", run_id=run_id, attempt=attempt) for attempt in attempts]
        _log.info("collecting the files of %s, which is gone", run_id)
        await self._remove(folder, refs)

    async def _remove(self, folder: Path, refs: list[AttemptRef]) -> None:
        try:
            for ref, seen in (await self._backend.observe(refs)).items():
                if seen.phase in {Phase.STARTING, Phase.RUNNING}:
                    # Nobody wants it any more; a later round removes what it leaves.
                    await self._backend.stop(ref)
                else:
                    await self._backend.remove(ref)
        except Unavailable:
            raise
        except (HimaliaError, OSError):
            _log.exception("removing %s; a later round tries again", folder)
            return
        with suppress(OSError):
            await asyncio.to_thread(folder.rmdir)


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except OSError:
        return []
