"""Watches attempts that run, and tells when one of them may have changed."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from himalia.backends.base import AttemptRef
from himalia.backends.local.processes import Watch
from himalia.runners.attempt import AttemptFolder

_SECONDS = 0.25


@dataclass(slots=True)
class _Attempt:
    folder: AttemptFolder
    watch: Watch | None
    sign: tuple[int, int]


class Vigil:
    """Wakes for the end of a process at once, for progress soon, and for nothing otherwise."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._attempts: dict[AttemptRef, _Attempt] = {}
        self._rounds: asyncio.Task[None] | None = None

    def has(self, ref: AttemptRef) -> bool:
        """Tell whether an attempt is watched, by its process."""
        attempt = self._attempts.get(ref)
        return attempt is not None and attempt.watch is not None

    def keep(self, ref: AttemptRef, pid: int | None, folder: AttemptFolder) -> None:
        """Watch an attempt; without its process, by its files alone."""
        self.leave(ref)
        watch = Watch(pid, self.wake) if pid is not None else None
        self._attempts[ref] = _Attempt(folder, watch, _sign(folder))
        if self._rounds is None or self._rounds.done():
            self._rounds = asyncio.get_running_loop().create_task(self._go_round())

    def leave(self, ref: AttemptRef) -> None:
        """Watch an attempt no longer."""
        attempt = self._attempts.pop(ref, None)
        if attempt is not None and attempt.watch is not None:
            attempt.watch.close()

    def wake(self) -> None:
        """Say that something may have changed."""
        self._changed.set()

    async def changes(self) -> None:
        """Return when something may have changed since the last call."""
        await self._changed.wait()
        self._changed.clear()

    def close(self) -> None:
        """Watch nothing any more."""
        for ref in list(self._attempts):
            self.leave(ref)
        if self._rounds is not None:
            self._rounds.cancel()

    async def _go_round(self) -> None:
        while self._attempts:
            await asyncio.sleep(_SECONDS)
            for attempt in list(self._attempts.values()):
                if attempt.watch is None:
                    # Its process is not known yet: somebody must look again.
                    self.wake()
                else:
                    attempt.watch.poll()
                sign = _sign(attempt.folder)
                if sign != attempt.sign:
                    attempt.sign = sign
                    self.wake()


def _sign(folder: AttemptFolder) -> tuple[int, int]:
    """Return what changes when cells begin and end, and when the runner has come up."""
    size = came_up = -1
    with contextlib.suppress(OSError):
        size = folder.events.stat().st_size
    with contextlib.suppress(OSError):
        came_up = folder.started.stat().st_mtime_ns
    return size, came_up
