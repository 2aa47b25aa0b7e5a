"""The backend of one machine: every attempt is a runner in a session of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from himalia.backends.base import AttemptRef, Observation, Phase
from himalia.backends.local.limits import LocalLimits
from himalia.backends.local.observation import leave_stopped, observe, runner_of
from himalia.backends.local.pool import Pool
from himalia.backends.local.processes import kill_run, sweep, terminate
from himalia.backends.local.reading import FolderReading, remove_folder
from himalia.backends.local.starting import Starting
from himalia.backends.local.vigil import Vigil
from himalia.core.errors import Conflict
from himalia.core.model import PoolStatus
from himalia.core.names import is_id
from himalia.core.places import Places
from himalia.kinds.base import RunPlan
from himalia.runners.attempt import AttemptFolder, read_json
from himalia.runners.events import ProgressCount

_DEFAULT_GRACE = 10.0
_LEAVING_SECONDS = 10.0
"""For a runner that has left its result to be gone."""


class LocalBackend(FolderReading):
    """Attempts as process groups on this machine, each with a folder of its own."""

    name: ClassVar[str] = "local"

    def __init__(
        self,
        places: Places,
        *,
        limits: LocalLimits | None = None,
        pool_size: int | None = None,
        pool_idle_seconds: float = 600.0,
        log_limit_bytes: int = 20 * 2**20,
    ) -> None:
        super().__init__(places.runs)
        size = (os.cpu_count() or 1) if pool_size is None else pool_size
        self._pool = Pool(size, pool_idle_seconds)
        self._starting = Starting(
            places.snapshots, limits or LocalLimits(), log_limit_bytes, self._pool
        )
        self._vigil = Vigil()
        self._counts: dict[AttemptRef, ProgressCount] = {}
        self._kills: dict[AttemptRef, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._swept: set[AttemptRef] = set()

    async def warm_up(self) -> None:
        """Begin to get kernels ready, instead of at the first start."""
        await asyncio.to_thread(self._pool.warm_up)

    @override
    async def start(self, ref: AttemptRef, plan: RunPlan) -> None:
        pid = await asyncio.to_thread(self._starting.start, ref, self._folder(ref), plan)
        self._vigil.keep(ref, pid, self._folder(ref))

    @override
    async def observe(self, refs: Sequence[AttemptRef]) -> dict[AttemptRef, Observation]:
        observations = {}
        for ref in refs:
            folder = self._folder(ref)
            count = self._counts.setdefault(ref, ProgressCount())
            found = await asyncio.to_thread(observe, ref, folder, count)
            observations[ref] = found
            if found.phase in (Phase.STARTING, Phase.RUNNING):
                await self._attend(ref, folder)
            else:
                self._forget(ref)
            if found.phase is Phase.LOST and ref not in self._swept:
                self._swept.add(ref)
                runner = runner_of(ref, folder)
                if runner is not None:
                    await asyncio.to_thread(sweep, runner)
        return observations

    async def _attend(self, ref: AttemptRef, folder: AttemptFolder) -> None:
        """Watch an attempt that another process may have started, or asked to stop."""
        if not self._vigil.has(ref):
            runner = await asyncio.to_thread(runner_of, ref, folder)
            self._vigil.keep(ref, runner.pid if runner else None, folder)
        if ref not in self._kills and folder.stop.exists():
            self._kill_later(ref, folder)

    def _forget(self, ref: AttemptRef) -> None:
        self._vigil.leave(ref)
        self._counts.pop(ref, None)
        kill = self._kills.pop(ref, None)
        if kill is not None:
            kill.cancel()

    @override
    async def changes(self) -> frozenset[str] | None:
        await self._vigil.changes()
        return None

    @override
    async def stop(self, ref: AttemptRef) -> None:
        folder = self._folder(ref)
        is_running = await asyncio.to_thread(_ask_to_stop, ref, folder)
        if is_running and ref not in self._kills:
            self._kill_later(ref, folder)
        self._vigil.wake()

    def _kill_later(self, ref: AttemptRef, folder: AttemptFolder) -> None:
        plan = read_json(folder.plan) or {}
        grace = float(plan.get("grace_seconds") or _DEFAULT_GRACE)
        loop = asyncio.get_running_loop()
        self._kills[ref] = loop.call_later(grace, self._kill_soon, ref, folder)

    def _kill_soon(self, ref: AttemptRef, folder: AttemptFolder) -> None:
        task = asyncio.get_running_loop().create_task(asyncio.to_thread(_kill, ref, folder))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @override
    async def remove(self, ref: AttemptRef) -> None:
        folder = self._folder(ref)
        if not await asyncio.to_thread(_is_left, folder):
            raise Conflict(f"Attempt {ref.attempt} of {ref.run_id} is still running.")
        self._forget(ref)
        self._swept.discard(ref)
        await asyncio.to_thread(remove_folder, folder.path)

    @override
    async def running(self, owner: str) -> tuple[AttemptRef, ...]:
        found = await asyncio.to_thread(_running, self._runs)
        return tuple(
            AttemptRef(owner=owner, run_id=run_id, attempt=attempt) for run_id, attempt in found
        )

    @override
    async def pool(self, owner: str) -> PoolStatus | None:
        return await asyncio.to_thread(self._pool.status)

    @override
    async def close(self) -> None:
        for kill in self._kills.values():
            kill.cancel()
        self._kills.clear()
        self._vigil.close()
        await asyncio.to_thread(self._pool.close)
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)


def _ask_to_stop(ref: AttemptRef, folder: AttemptFolder) -> bool:
    """Leave the word, and pass it on to the runner; tell whether there is one."""
    folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.result.exists():
        return False
    folder.stop.touch(mode=0o600)
    if not folder.is_taken():
        if not folder.started.exists():
            leave_stopped(ref, folder)
        return False
    runner = runner_of(ref, folder)
    if runner is not None:
        terminate(runner.pid)
    return True


def _kill(ref: AttemptRef, folder: AttemptFolder) -> None:
    runner = runner_of(ref, folder)
    if runner is not None and folder.is_taken() and not folder.result.exists():
        kill_run(runner)


def _is_left(folder: AttemptFolder) -> bool:
    """Tell whether nobody executes the attempt any more; one that has ended is about to be left."""
    if not folder.result.exists():
        return not folder.is_taken()
    lock = folder.take(patience_seconds=_LEAVING_SECONDS)
    if lock is None:
        return False
    folder.release(lock)
    return True


def _running(runs: Path) -> list[tuple[str, int]]:
    folders = (path for path in runs.glob("*/*") if is_id(path.parent.name))
    return [
        (path.parent.name, int(path.name))
        for path in folders
        if path.name.isascii() and path.name.isdigit() and AttemptFolder(path).is_taken()
    ]
