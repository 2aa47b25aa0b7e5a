"""The folders of attempts whose runners are on other machines that see the same home.

A file lock does not reach from one machine to another: whoever makes the file ``begun`` executes
an attempt, or sees to it that nobody does. Whether that one is still there is told from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Sequence
from typing import ClassVar

from pydantic import JsonValue
from typing_extensions import override

from himalia.backends.base import AttemptRef, Observation, Phase
from himalia.backends.local.observation import (
    STOPPED,
    leave_result,
    observe_end,
    observe_execution,
    observe_result,
)
from himalia.backends.local.reading import FolderReading, remove_folder
from himalia.backends.local.starting import prepare
from himalia.core.errors import Unavailable
from himalia.core.model import PoolStatus, Reason, Status
from himalia.core.places import Places
from himalia.core.spec import Resources
from himalia.kinds.base import RunPlan
from himalia.runners.attempt import STOPS_BY_WORD, AttemptFolder
from himalia.runners.confinement import Confinement
from himalia.runners.events import ProgressCount

_PATIENCE_SECONDS = 10.0
"""For another process here that prepares the same attempt."""
_SECONDS = 0.5
_SETTLED_SECONDS = 1.5
_Sign = tuple[int, bool, bool]


class HomeBackend(FolderReading):
    """Prepares folders, reads them and clears them away; starts and ends no process."""

    name: ClassVar[str] = "home"

    def __init__(
        self, places: Places, *, memory_bytes: int | None, log_limit_bytes: int = 20 * 2**20
    ) -> None:
        super().__init__(places.runs)
        self._snapshots = places.snapshots
        self._memory_bytes = memory_bytes
        self._log_limit_bytes = log_limit_bytes
        self._counts: dict[AttemptRef, ProgressCount] = {}
        self._signs: dict[AttemptRef, _Sign] = {}

    @override
    async def start(self, ref: AttemptRef, plan: RunPlan) -> None:
        """Prepare an attempt; its runner is started by others, and may be any time from now on."""
        await asyncio.to_thread(self._prepare, ref, plan)

    def _prepare(self, ref: AttemptRef, plan: RunPlan) -> None:
        folder = self._folder(ref)
        own: dict[str, JsonValue] = {
            "env": {**Confinement(cpu=plan.resources.cpu).environment(), **plan.env},
            "limits": self._limits(plan.resources),
            "log_bytes": self._log_limit_bytes,
            STOPS_BY_WORD: True,
        }
        try:
            folder.make()
            # Others on this machine, who look after the same owner.
            lock = folder.take(patience_seconds=_PATIENCE_SECONDS)
            if lock is None:
                raise Unavailable("The run is being prepared by another process.")
            try:
                folder.look_anew()
                done = (folder.started, folder.begun, folder.result, folder.stop)
                if not any(path.exists() for path in done):
                    prepare(ref, folder, plan, self._snapshots, own)
                elif folder.stop.exists() and folder.begin():
                    leave_result(ref, folder, Status.STOPPED, STOPPED)
            finally:
                folder.release(lock)
        except OSError as error:
            raise Unavailable(f"The run cannot start: {error}") from error

    def _limits(self, resources: Resources) -> dict[str, JsonValue]:
        """Return what the runner watches over; cores and processes are the other machine's part."""
        return {
            "memory_bytes": resources.memory_bytes or self._memory_bytes,
            "memory_asked": resources.memory_bytes is not None,
        }

    @override
    async def observe(self, refs: Sequence[AttemptRef]) -> dict[AttemptRef, Observation]:
        """Tell what the folders say: an attempt that was prepared is starting, and one whose runner
        came is running, whatever became of that.
        """
        return {ref: await self.look(ref) for ref in refs}

    async def look(self, ref: AttemptRef) -> Observation:
        """Tell what one folder says."""
        return await asyncio.to_thread(self._look, ref)

    def _look(self, ref: AttemptRef) -> Observation:
        folder = self._folder(ref)
        count = self._counts.setdefault(ref, ProgressCount())
        if ref in self._signs and folder.result.exists():
            _catch_up(folder)
        seen = observe_result(ref, folder, count)
        if seen is None and folder.started.exists():
            self._signs.setdefault(ref, _sign(folder))
            return observe_execution(folder, count)
        self._forget(ref)
        return seen or Observation(phase=Phase.ABSENT)

    async def conclude(self, ref: AttemptRef, reason: Reason | None, *, is_gone: bool) -> None:
        """Settle how an attempt ended, with `reason` where it failed from outside.

        With `is_gone` nobody executes it any more, by who knows of its runner; else it is settled
        only where no runner has come, and then none ever will.
        """
        await asyncio.to_thread(self._conclude, ref, reason, is_gone)

    def _conclude(self, ref: AttemptRef, reason: Reason | None, is_gone: bool) -> None:
        folder = self._folder(ref)
        folder.look_anew()
        if folder.result.exists() or not folder.path.exists():
            return
        is_stopped = folder.stop.exists()
        if not is_stopped and reason is None:
            return
        if folder.begin() or is_gone:
            status = Status.STOPPED if is_stopped else Status.FAILED
            why = STOPPED if is_stopped or reason is None else reason
            leave_result(ref, folder, status, why)

    async def ended(self, ref: AttemptRef) -> Observation:
        """Tell what became of an attempt that nobody executes any more."""
        seen = await asyncio.to_thread(self._ended, ref)
        if seen.phase is Phase.ENDED:
            return seen
        # What another machine has just written may not be seen here, or not whole, for a moment.
        await asyncio.sleep(_SETTLED_SECONDS)
        return await asyncio.to_thread(self._ended, ref)

    def _ended(self, ref: AttemptRef) -> Observation:
        folder = self._folder(ref)
        folder.look_anew()
        _catch_up(folder)
        count = self._counts.pop(ref, None) or ProgressCount()
        self._forget(ref)
        if not folder.begun.exists() and not folder.result.exists():
            return Observation(phase=Phase.ABSENT)
        return observe_end(ref, folder, count)

    def _forget(self, ref: AttemptRef) -> None:
        self._counts.pop(ref, None)
        self._signs.pop(ref, None)

    @override
    async def changes(self) -> frozenset[str] | None:
        while True:
            await asyncio.sleep(_SECONDS)
            if await asyncio.to_thread(self._have_changed):
                return None

    def _have_changed(self) -> bool:
        has_changed = False
        for ref, sign in list(self._signs.items()):
            now = _sign(self._folder(ref))
            if now != sign and ref in self._signs:
                self._signs[ref] = now
                has_changed = True
        return has_changed

    @override
    async def stop(self, ref: AttemptRef) -> None:
        """Leave the word; an attempt that nobody has begun will never begin."""
        await asyncio.to_thread(self._stop, ref)

    def _stop(self, ref: AttemptRef) -> None:
        folder = self._folder(ref)
        folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.look_anew()
        if folder.result.exists():
            return
        folder.stop.touch(mode=0o600)
        if folder.begin():
            leave_result(ref, folder, Status.STOPPED, STOPPED)

    @override
    async def remove(self, ref: AttemptRef) -> None:
        """Delete a folder; by who asks, its runner is gone."""
        self._forget(ref)
        await asyncio.to_thread(remove_folder, self._folder(ref).path)

    @override
    async def running(self, owner: str) -> tuple[AttemptRef, ...]:
        """Return nothing: no folder tells whether its runner is there."""
        return ()

    @override
    async def pool(self, owner: str) -> PoolStatus | None:
        return None

    @override
    async def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


def _catch_up(folder: AttemptFolder) -> None:
    """Learn how long the files are by now that another machine has written to.

    File systems over a network remember that for a while, unless this machine changes a file.
    """
    with contextlib.suppress(OSError):
        for path in (folder.events, *folder.log.iterdir()):
            path.chmod(0o600)


def _sign(folder: AttemptFolder) -> _Sign:
    """Return what changes when cells begin and end, and when the runner comes and goes."""
    size = -1
    with contextlib.suppress(OSError):
        size = os.stat(folder.events).st_size  # noqa: PTH116 - many times a second
    return size, folder.begun.exists(), folder.result.exists()
