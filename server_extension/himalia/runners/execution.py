"""nbconvert's own execution of a notebook: bounded, watched, and saved as it goes."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable
from typing import Any

from himalia.runners.attempt import now
from himalia.runners.document import prepare_nbformat
from himalia.runners.events import EventWriter
from himalia.runners.failure import RunFailed, plain
from himalia.runners.kernel import Kernel
from himalia.runners.log import LogWriter

prepare_nbformat()

from nbclient.exceptions import (  # noqa: E402 - after nbformat was made light
    CellExecutionError,
    CellTimeoutError,
    DeadKernelError,
)
from nbconvert.preprocessors.execute import ExecutePreprocessor  # noqa: E402

STREAM_LIMIT = 1_000_000
"""Characters of a cell's stream outputs that the executed notebook keeps."""
TOTAL_LIMIT = 50_000_000
"""Bytes, about, of all outputs that the executed notebook keeps."""
_SAVE_SECONDS = 2.0
_DRAIN_SECONDS = 0.1
_IOPUB_SECONDS = 15


class Execution(ExecutePreprocessor):
    """Runs a notebook's cells in a kernel that is already there."""

    def __init__(  # noqa: PLR0913 - what a run is made of, each by its name
        self,
        notebook: Any,
        kernel: Kernel,
        *,
        log: LogWriter,
        events: EventWriter,
        cell_timeout_seconds: float | None,
        save: Callable[[], None],
    ) -> None:
        super().__init__(  # type: ignore[no-untyped-call]
            timeout_func=lambda _cell: cell_timeout_seconds, iopub_timeout=_IOPUB_SECONDS
        )
        self.nb = notebook
        self.kernel = kernel
        self.kc = kernel.client
        self.run_log = log
        self.events = events
        self.save = save
        self.cause: RunFailed | None = None
        self._cell_timeout = cell_timeout_seconds
        self._silent = False
        self._streamed = 0
        self._kept = 0
        self._saved_at = time.monotonic()
        self._save_cost = 0.0

    def end(self, cause: RunFailed) -> None:
        """End the execution at once, for a reason from outside."""
        self.cause = self.cause or cause
        if self.task_poll_for_reply is not None:
            self.task_poll_for_reply.cancel()

    async def run(self, *, first: int, kept: list[Any]) -> None:
        """Run every cell; those before `first` silently, with their outputs taken from `kept`.

        :raises RunFailed: a cell failed, the kernel died or :meth:`end` was called.
        """
        executable = [index for index, cell in enumerate(self.nb.cells) if self._is_run(cell)]
        self.events.total(len(executable))
        try:
            for index in executable:
                if self.cause is not None:
                    raise self.cause
                self._silent = index < first
                await self._run_cell(index)
                if self._silent:
                    cell = self.nb.cells[index]
                    cell.outputs = kept[index].get("outputs", [])
                    cell.execution_count = kept[index].get("execution_count")
                self._save_now_and_then()
        finally:
            self.set_widgets_metadata()

    def _is_run(self, cell: Any) -> bool:
        skipped = self.skip_cells_with_tag in (cell.metadata.get("tags") or [])
        return cell.cell_type == "code" and bool(cell.source.strip()) and not skipped

    async def _run_cell(self, index: int) -> None:
        cell = self.nb.cells[index]
        began = time.monotonic()
        self._streamed = 0
        self._report(index, cell, "running", None)
        state = "failed"
        try:
            await self.async_execute_cell(cell, index, execution_count=self.code_cells_executed + 1)
            state = "done"
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            raise self.cause or self._failure(index, error) from error
        finally:
            self._report(index, cell, state, time.monotonic() - began)

    def _failure(self, index: int, error: Exception) -> RunFailed:
        number = sum(cell.cell_type == "code" for cell in self.nb.cells[: index + 1])
        where = f"Code cell {number}"
        if isinstance(error, CellTimeoutError):
            return RunFailed(
                "cell_timed_out", f"{where} ran for longer than {self._cell_timeout:g} s."
            )
        if isinstance(error, CellExecutionError):
            text = f"{where} failed: {error.ename}: {plain(error.evalue)}"
            return RunFailed(_code(error), text)
        return RunFailed(
            "kernel_died", f"The kernel {self.kernel.end_in_words()} in {where.lower()}."
        )

    def _report(self, index: int, cell: Any, state: str, seconds: float | None) -> None:
        name = plain(cell.source.strip().partition("\n")[0], 80)
        event = {"index": index, "state": state, "at": now(), "seconds": seconds, "name": name}
        self.events.cell(event)

    def _save_now_and_then(self) -> None:
        began = time.monotonic()
        # A notebook that takes long to write is written less often.
        if began - self._saved_at > max(_SAVE_SECONDS, 20 * self._save_cost):
            self.save()
            self._saved_at = time.monotonic()
            self._save_cost = self._saved_at - began

    def output(self, outs: list[Any], msg: dict[str, Any], display_id: Any, cell_index: int) -> Any:
        """Keep an output within the bounds, and join what one stream wrote in pieces."""
        content = msg["content"]
        kind = msg["msg_type"]
        self._log(kind, content)
        if kind == "stream":
            content["text"] = self._bounded(content["text"])
            if not content["text"]:
                return None
        elif not self._fits(content):
            note = "[An output was left out: the notebook's outputs have reached their limit.]\n"
            msg = {**msg, "msg_type": "stream", "content": {"name": "stderr", "text": note}}
            msg["header"] = {**msg["header"], "msg_type": "stream"}
            display_id = None
        out = super().output(outs, msg, display_id, cell_index)
        if out is not None and out.output_type == "stream" and len(outs) > 1:
            before = outs[-2]
            if before.output_type == "stream" and before.name == out.name:
                before.text += out.text
                outs.pop()
        self._save_now_and_then()
        return out

    def _log(self, kind: str, content: dict[str, Any]) -> None:
        if self._silent:
            return
        if kind == "stream":
            self.run_log.write(content["text"])
        elif kind == "error":
            self.run_log.write(plain("\n".join(content.get("traceback") or []), 20_000) + "\n")

    def _bounded(self, text: str) -> str:
        room = min(STREAM_LIMIT - self._streamed, TOTAL_LIMIT - self._kept)
        if room <= 0:
            return ""
        self._streamed += len(text)
        self._kept += len(text)
        if len(text) <= room:
            return text
        return text[:room] + "\n[The rest of this cell's text was left out of the notebook.]\n"

    def _fits(self, content: dict[str, Any]) -> bool:
        size = sum(len(str(value)) for value in content.get("data", {}).values())
        if self._kept + size > TOTAL_LIMIT:
            return False
        self._kept += size
        return True

    async def _async_check_alive(self) -> None:
        if self.kernel.poll():
            raise DeadKernelError("Kernel died")

    async def _async_poll_kernel_alive(self) -> None:
        await self.kernel.ended.wait()
        # What it sent last may still be on its way.
        await asyncio.sleep(_DRAIN_SECONDS)
        if self.task_poll_for_reply is not None:
            self.task_poll_for_reply.cancel()


def _code(error: CellExecutionError) -> str:
    if error.ename.endswith("MemoryError"):  # numpy and torch have their own
        return "out_of_memory"
    if f"[Errno {errno.ENOSPC}]" in error.evalue:
        return "disk_full"
    return "cell_failed"
