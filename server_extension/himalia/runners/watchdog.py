"""Looks now and then at what a run's processes take, and tells when it is too much."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from himalia.runners.failure import RunFailed

_SECONDS = 0.5
_FLOOR = 64 * 2**20
"""Bytes that runs leave free for the service, which must write how they ended."""


@dataclass(slots=True, kw_only=True)
class Watchdog:
    """Watches the descendants of this process."""

    folder: Path
    memory_bytes: int | None
    processes: int | None
    peak_memory_bytes: int = 0

    async def watch(self) -> RunFailed:
        """Return why the run must end, when it must."""
        while True:
            await asyncio.sleep(_SECONDS)
            problem = await asyncio.to_thread(self.look)
            if problem is not None:
                return problem

    def look(self) -> RunFailed | None:
        """Measure once."""
        import psutil  # noqa: PLC0415 - short runs do without

        children = psutil.Process().children(recursive=True)
        if self.processes is not None and len(children) > self.processes:
            freeze(children)
            return RunFailed(
                "too_many_processes", f"The run started more than {self.processes} processes."
            )
        taken = _memory(children, exact=False)
        if self.memory_bytes is not None and taken > self.memory_bytes:
            # Pages shared between processes were counted for each of them.
            taken = _memory(children, exact=True)
        self.peak_memory_bytes = max(self.peak_memory_bytes, taken)
        if self.memory_bytes is not None and taken > self.memory_bytes:
            limit = self.memory_bytes / 2**20
            return RunFailed("out_of_memory", f"The run took more than {limit:.0f} MiB of memory.")
        if is_full(self.folder):
            return RunFailed("disk_full", "The disk is full.")
        return None


def _memory(processes: list["psutil.Process"], *, exact: bool) -> int:  # type: ignore[name-defined]  # noqa: F821, UP037
    import psutil  # noqa: PLC0415

    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if exact and hasattr(os, "pidfd_open"):
                total += process.memory_full_info().pss
            else:
                total += process.memory_info().rss
    return total


def freeze(processes: list["psutil.Process"]) -> None:  # type: ignore[name-defined]  # noqa: F821, UP037
    """Stop processes, so that they start no further ones while they are killed."""
    import psutil  # noqa: PLC0415

    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.suspend()


def is_full(folder: Path) -> bool:
    """Tell whether a disk has no more room for runs."""
    usage = shutil.disk_usage(folder)
    return usage.free < min(_FLOOR, usage.total // 20)


def oom_kills() -> int:
    """Count the processes that the system has killed for want of memory."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
