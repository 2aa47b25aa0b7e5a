"""Starts attempts: the folder first, then the process, under one lock that passes to it."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import JsonValue

from himalia.backends.base import AttemptRef
from himalia.backends.local.limits import LocalLimits
from himalia.backends.local.materialisation import materialise
from himalia.backends.local.pool import Pool
from himalia.backends.local.processes import spawn
from himalia.core.errors import Unavailable
from himalia.core.variables import of_run
from himalia.kinds.base import RunPlan
from himalia.runners.attempt import AttemptFolder, now, remove_tree, write_json
from himalia.runners.task import RUNNER
from himalia.runners.watchdog import is_full

_PATIENCE_SECONDS = 1.0


class Starting:
    """Starts runners; all of it blocks on disk."""

    def __init__(
        self, snapshots: Path, limits: LocalLimits, log_limit_bytes: int, pool: Pool
    ) -> None:
        self._snapshots = snapshots
        self._limits = limits
        self._log_limit_bytes = log_limit_bytes
        self._pool = pool

    def start(self, ref: AttemptRef, folder: AttemptFolder, plan: RunPlan) -> int | None:
        """Start an attempt, unless it was started; return its runner's process id then.

        :raises Unavailable: no disk space, or no process.
        """
        try:
            folder.make()
            lock = folder.take(patience_seconds=_PATIENCE_SECONDS)
        except OSError as error:
            raise Unavailable(f"The run cannot start: {error}") from error
        if lock is None:
            return None
        try:
            if any(path.exists() for path in (folder.started, folder.result, folder.stop)):
                return None
            return self._spawn(ref, folder, plan, lock)
        except OSError as error:
            folder.started.unlink(missing_ok=True)
            raise Unavailable(f"The run cannot start: {error}") from error
        finally:
            os.close(lock)

    def _spawn(self, ref: AttemptRef, folder: AttemptFolder, plan: RunPlan, lock: int) -> int:
        own: dict[str, JsonValue] = {
            "env": {**of_run(os.environ), **plan.env},
            "limits": self._limits.of_run(plan.resources),
            "log_bytes": self._log_limit_bytes,
        }
        prepare(ref, folder, plan, self._snapshots, own)
        if plan.runner == RUNNER:
            pid = self._pool.start(folder, lock)
            if pid is not None:
                return pid
        return spawn(plan.runner, folder, lock)


def prepare(
    ref: AttemptRef,
    folder: AttemptFolder,
    plan: RunPlan,
    snapshots: Path,
    own: dict[str, JsonValue],
) -> None:
    """Put all that a runner needs into a folder that was made and that nobody executes.

    `own` is what the backend adds to what is planned.

    :raises OSError: the snapshot is missing.
    :raises Unavailable: no disk space.
    """
    if is_full(folder.path):
        raise Unavailable("The run cannot start: the disk is full.")
    if folder.work.exists():
        # What an earlier try left is not complete.
        remove_tree(folder.work)
    folder.work.mkdir(mode=0o700)
    if plan.snapshot_digest is not None:
        materialise(snapshots / plan.snapshot_digest.rpartition(":")[2], folder.work)
    write_json(
        folder.plan,
        {
            "run_id": ref.run_id,
            "attempt": ref.attempt,
            "runner": plan.runner,
            "task": plan.task,
            "environment": plan.environment,
            "timeout_seconds": plan.timeout_seconds,
            "grace_seconds": plan.grace_seconds,
            **own,
        },
    )
    # From here on the attempt counts as started: without a result it is lost, not free.
    write_json(folder.started, {"at": now()})
