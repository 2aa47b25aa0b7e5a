"""One attempt at running a notebook, from its plan to its result."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from himalia.runners.attempt import (
    MARK,
    STOPS_BY_WORD,
    AttemptFolder,
    boot_id,
    keep_reserve,
    now,
    remove_tree,
    write_json,
)
from himalia.runners.conductor import Conductor, Inputs
from himalia.runners.confinement import Confinement, adopt_orphans, end_children
from himalia.runners.document import kernel_name, read_notebook
from himalia.runners.environments import DEFAULT, KernelSpec, find_kernelspec
from himalia.runners.failure import RunFailed, from_os_error
from himalia.runners.kernel import Kernel, start_kernel
from himalia.runners.log import LIMIT_BYTES, LogWriter
from himalia.runners.task import NotebookTask
from himalia.runners.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable

    Starter = Callable[..., Kernel]


class NotebookRun:
    """Executes a plan once, and leaves a result whatever happens."""

    def __init__(
        self, folder: AttemptFolder, plan: dict[str, Any], starter: Starter = start_kernel
    ) -> None:
        self._folder = folder
        self._plan = plan
        self._starter = starter
        self._began = time.monotonic()
        self._started_at = now()
        limits = plan.get("limits") or {}
        self._log = LogWriter(folder.log, plan.get("log_bytes") or LIMIT_BYTES)
        self._confinement = Confinement(
            memory_bytes=limits.get("memory_bytes"),
            cpu=limits.get("cpu"),
            processes=limits.get("processes"),
        )
        self._watchdog = Watchdog(
            folder=folder.path,
            memory_bytes=self._confinement.memory_bytes,
            processes=self._confinement.processes,
        )
        self._stop_asked = asyncio.Event()
        self._versions: dict[str, str] = {}

    def go(self) -> int:
        """Execute; return the exit code."""
        signal.signal(signal.SIGTERM, lambda *_: self._stop_asked.set())
        adopt_orphans()
        self._say_started()
        keep_reserve(self._folder)
        reason: dict[str, str] | None = None
        status = "succeeded"
        try:
            self._execute()
        except RunFailed as failure:
            reason = failure.to_json()
            status = "stopped" if failure.code == "stopped_by_user" else "failed"
            self._log.line(failure.message)
        except OSError as error:
            status, reason = "failed", from_os_error(error).to_json()
            self._log.line(traceback.format_exc())
        except Exception:  # noqa: BLE001 - the run must end with a reason
            status = "failed"
            reason = RunFailed("internal", "The runner came upon an error of its own.").to_json()
            self._log.line(traceback.format_exc())
        end_children()
        if status == "stopped" and not self._was_meant():
            self._log.line("Nobody asked for that: the machine did not go on.")
            return 1
        self._finish(status, reason)
        return 0 if status == "succeeded" else 1

    def _was_meant(self) -> bool:
        """Tell whether somebody asked for the stop that a signal told of."""
        if not self._plan.get(STOPS_BY_WORD):
            return True
        self._folder.look_anew()
        return self._folder.stop.exists()

    def _say_started(self) -> None:
        write_json(
            self._folder.started,
            {
                "pid": os.getpid(),
                "session": os.getsid(0),
                "boot": boot_id(),
                "at": self._started_at,
            },
        )

    def _finish(self, status: str, reason: dict[str, str] | None) -> None:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        unit = 1 if sys.platform == "darwin" else 1024
        use = {
            "cpu_seconds": round(children.ru_utime + children.ru_stime, 3),
            "peak_memory_bytes": max(children.ru_maxrss * unit, self._watchdog.peak_memory_bytes),
            "wall_seconds": round(time.monotonic() - self._began, 3),
        }
        result = {
            "run_id": self._plan.get("run_id"),
            "attempt": self._plan.get("attempt"),
            "status": status,
            "reason": reason,
            "use": use,
            "versions": self._versions,
            "started_at": self._started_at,
            "ended_at": now(),
        }
        self._folder.reserve.unlink(missing_ok=True)
        try:
            self._folder.finish(result)
        except OSError:
            # The disk is full: the log gives its place to the result.
            for segment in self._folder.log.iterdir():
                segment.unlink()
            self._folder.finish(result)
        # What is not in the outputs was not asked for.
        remove_tree(self._folder.work)

    def _execute(self) -> None:
        if self._folder.stop.exists():
            raise RunFailed("stopped_by_user", "The run was stopped before it began.")
        try:
            task = NotebookTask.from_json(self._plan["task"])
        except (KeyError, TypeError, ValueError) as error:
            raise RunFailed("internal", f"The plan is not one of a notebook: {error}") from error
        path = self._folder.work / task.notebook
        document = read_notebook(path)
        spec = self._kernelspec(document)
        folder = Path(task.working_folder) if task.working_folder else path.parent
        if not folder.is_dir():
            raise RunFailed("notebook_invalid", f"There is no working folder {folder}.")
        env = {
            **(self._plan.get("env") or {}),
            MARK: f"{self._plan['run_id']}-{self._plan['attempt']}",
        }
        # The kernel starts first: it takes as long as what the rest of this needs to import.
        kernel = self._starter(spec, folder=str(folder), env=env, confinement=self._confinement)
        inputs = Inputs(spec=spec, document=document, task=task, working_folder=folder, env=env)
        conductor = Conductor(self._folder, self._plan, inputs, kernel, self._log)
        conductor.watchdog = self._watchdog
        conductor.stop_asked = self._stop_asked
        try:
            asyncio.run(conductor.conduct())
        finally:
            self._versions = conductor.versions

    def _kernelspec(self, document: dict[str, Any]) -> KernelSpec:
        name = self._plan.get("environment") or kernel_name(document) or DEFAULT
        spec = find_kernelspec(name)
        if spec is None:
            raise RunFailed("environment_missing", f"The environment {name!r} is not installed.")
        return spec
