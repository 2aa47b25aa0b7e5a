"""What attempts left in their folders here, wherever their runners are."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from typing_extensions import override

from himalia.backends.base import AttemptRef, Backend, LogPart
from himalia.backends.local.environments import list_environments
from himalia.backends.local.outputs import list_outputs, open_output
from himalia.core.errors import NotFound
from himalia.core.model import CellEvent, Environment, Output
from himalia.runners.attempt import AttemptFolder, remove_tree
from himalia.runners.events import read_cells
from himalia.runners.log import read_log

_CHUNK = 256 * 1024


class FolderReading(Backend):
    """The part of a backend that reads attempts' folders on this machine."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs

    def _folder(self, ref: AttemptRef) -> AttemptFolder:
        return AttemptFolder(self._runs / ref.run_id / str(ref.attempt))

    @override
    async def open(self) -> None:
        await asyncio.to_thread(self._runs.mkdir, mode=0o700, parents=True, exist_ok=True)

    @override
    async def log(self, ref: AttemptRef, *, offset: int, limit: int) -> LogPart:
        folder = self._folder(ref).log
        data, begin, end = await asyncio.to_thread(read_log, folder, offset=offset, limit=limit)
        return LogPart(data=data, offset=begin, next_offset=end)

    @override
    async def events(self, ref: AttemptRef, *, after: int) -> tuple[tuple[CellEvent, ...], int]:
        found = await asyncio.to_thread(read_cells, self._folder(ref).events)
        cells = tuple(CellEvent.model_validate(event) for event in found[after:])
        return cells, max(after, len(found))

    @override
    async def outputs(self, ref: AttemptRef) -> tuple[Output, ...]:
        return await asyncio.to_thread(list_outputs, self._folder(ref))

    @override
    async def read_output(self, ref: AttemptRef, name: str) -> AsyncIterator[bytes]:
        file = await asyncio.to_thread(open_output, self._folder(ref), name)
        if file is None:
            raise NotFound(f"The run left no file {name!r}.")
        with file:
            while data := await asyncio.to_thread(file.read, _CHUNK):
                yield data

    @override
    async def environments(self, owner: str) -> tuple[Environment, ...]:
        return await asyncio.to_thread(list_environments)


def remove_folder(path: Path) -> None:
    """Delete an attempt's folder, and its run's when it was the last one there."""
    with contextlib.suppress(FileNotFoundError):
        remove_tree(path)
    with contextlib.suppress(OSError):
        path.parent.rmdir()
