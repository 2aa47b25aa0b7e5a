"""Leads a kernel through a notebook: executes, stops in time, and keeps what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from himalia.runners.attempt import AttemptFolder, write_json
from himalia.runners.collection import collect
from himalia.runners.confinement import end_children
from himalia.runners.console import Console
from himalia.runners.document import to_version_4, write_notebook
from himalia.runners.environments import KernelSpec
from himalia.runners.events import EventWriter
from himalia.runners.failure import RunFailed
from himalia.runners.kernel import Kernel
from himalia.runners.log import LogWriter
from himalia.runners.parameters import inject
from himalia.runners.resumption import Resumption
from himalia.runners.task import NotebookTask
from himalia.runners.watchdog import Watchdog, oom_kills

if TYPE_CHECKING:
    from himalia.runners.execution import Execution

_START_SECONDS = 120.0
_EXIT_SECONDS = 5.0
_INTERRUPT_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What an execution is made of."""

    spec: KernelSpec
    document: dict[str, Any]
    task: NotebookTask
    working_folder: Path
    env: dict[str, str]


class Conductor:
    """Runs one notebook in one kernel."""

    def __init__(
        self,
        folder: AttemptFolder,
        plan: dict[str, Any],
        inputs: Inputs,
        kernel: Kernel,
        log: LogWriter,
    ) -> None:
        self._folder = folder
        self._inputs = inputs
        self._kernel = kernel
        self._log = log
        self._timeout: float | None = plan.get("timeout_seconds")
        self._grace: float = plan.get("grace_seconds") or 0.0
        self._began = time.monotonic()
        self._oom_kills = oom_kills()
        self._language_info: dict[str, Any] = {}
        self._notebook: Any = None
        self.watchdog = Watchdog(folder=folder.path, memory_bytes=None, processes=None)
        self.stop_asked = asyncio.Event()
        self.versions: dict[str, str] = {}

    @property
    def _output(self) -> Path:
        return self._folder.outputs / Path(self._inputs.task.notebook).name

    async def conduct(self) -> None:
        """Run the notebook and keep what came of it.

        :raises RunFailed: for whatever reason it did not run to its end.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop_asked.set)
        console = Console(self._log, is_echo=self._inputs.spec.language == "python")
        self._kernel.watch(console.write)
        failure: RunFailed | None = None
        try:
            await self._run()
        except RunFailed as failed:
            failure = self._explained(failed)
        if failure is not None and failure.code == "kernel_died":
            console.release()
        is_orderly = failure is None or failure.code == "cell_failed"
        await self._kernel.shut_down(_EXIT_SECONDS if is_orderly else 0.0)
        # Nothing may still write to the files that are kept now.
        end_children()
        if self._notebook is not None:
            await asyncio.to_thread(self._keep, failure)
        if failure is not None:
            raise failure

    async def _run(self) -> None:
        self._notebook = to_version_4(self._inputs.document)
        self._save_early()
        task = self._inputs.task
        language = self._inputs.spec.language
        inject(self._notebook, task.parameters, language)
        resumption = Resumption.of(task.resume, self._output.name, self._notebook)
        await self._supervise(asyncio.create_task(self._execute(resumption)))

    async def _execute(self, resumption: Resumption) -> None:
        info = await self._kernel.connect(_START_SECONDS)
        self._language_info = info["content"].get("language_info") or {}
        self._notebook.metadata["language_info"] = self._language_info
        from himalia.runners.execution import Execution  # noqa: PLC0415 - while the kernel starts

        self._execution: Execution | None = Execution(
            self._notebook,
            self._kernel,
            log=self._log,
            events=EventWriter(self._folder.events),
            cell_timeout_seconds=self._inputs.task.cell_timeout_seconds,
            save=self._save_early,
        )
        await self._execution.run(first=resumption.first, kept=resumption.cells)

    async def _supervise(self, work: asyncio.Task[None]) -> None:
        """Await the work, and end it when the time, the user or the machine says so."""
        self._execution = None
        guards = (
            asyncio.create_task(self._until_stopped()),
            asyncio.create_task(self._until_late()),
            asyncio.create_task(self.watchdog.watch()),
        )
        try:
            await asyncio.wait({work, *guards}, return_when=asyncio.FIRST_COMPLETED)
            cause = next((guard.result() for guard in guards if guard.done()), None)
            if cause is None or work.done():
                await work
                return
            self._log.line(cause.message)
            await self._end(work, cause)
            raise cause
        finally:
            for guard in guards:
                guard.cancel()

    async def _end(self, work: asyncio.Task[None], cause: RunFailed) -> None:
        execution = self._execution
        if execution is not None:
            execution.cause = cause
        if cause.code in ("stopped_by_user", "timed_out") and execution is not None:
            await self._interrupt(work)
        if not work.done():
            self._kernel.signal(signal.SIGKILL)
            if execution is not None:
                execution.end(cause)
            else:
                work.cancel()
        with contextlib.suppress(RunFailed, asyncio.CancelledError):
            await work

    async def _interrupt(self, work: asyncio.Task[None]) -> None:
        """Interrupt until it is heard: a kernel that just begins a cell does not hear it yet."""
        deadline = time.monotonic() + self._grace / 2
        while not work.done() and (left := deadline - time.monotonic()) > 0:
            await self._kernel.interrupt()
            await asyncio.wait({work}, timeout=min(_INTERRUPT_SECONDS, left))

    async def _until_stopped(self) -> RunFailed:
        await self.stop_asked.wait()
        return RunFailed("stopped_by_user", "The run was stopped.")

    async def _until_late(self) -> RunFailed:
        if self._timeout is None:
            await asyncio.Event().wait()
        timeout = self._timeout or 0.0
        await asyncio.sleep(max(0.0, timeout - (time.monotonic() - self._began)))
        return RunFailed("timed_out", f"The run took longer than {timeout:g} s.")

    def _explained(self, failure: RunFailed) -> RunFailed:
        """Tell a kernel that the system killed for its memory from one that just died."""
        was_killed = self._kernel.status == -signal.SIGKILL
        if failure.code == "kernel_died" and was_killed and oom_kills() > self._oom_kills:
            return RunFailed("out_of_memory", "The system ended the kernel: memory ran out.")
        return failure

    def _save_early(self) -> None:
        # What is there so far; a disk that is full now is reported at the end.
        with contextlib.suppress(OSError):
            write_notebook(self._notebook, self._output)

    def _keep(self, failure: RunFailed | None) -> None:
        """Write the executed notebook, the exports and the files."""
        from himalia.runners.versions import versions  # noqa: PLC0415

        task = self._inputs.task
        roles = {self._output.name: "notebook"}
        try:
            write_notebook(self._notebook, self._output)
        except OSError:
            self._folder.reserve.unlink(missing_ok=True)
            write_notebook(self._notebook, self._output)
        self.versions = versions(self._inputs.spec, self._language_info, self._inputs.env)
        try:
            if failure is None:
                self._export(roles)
            collect(self._inputs.working_folder, task.outputs, self._folder.outputs, set(roles))
        except (RunFailed, OSError):
            # Why the notebook itself failed comes first.
            if failure is None:
                raise
        finally:
            write_json(self._folder.roles, roles)

    def _export(self, roles: dict[str, str]) -> None:
        for name in self._inputs.task.formats:
            from himalia.runners.export import export  # noqa: PLC0415 - only when asked for

            stem = self._output.stem
            for written in export(self._notebook, name, stem, self._folder.outputs):
                roles.setdefault(written, "export")
