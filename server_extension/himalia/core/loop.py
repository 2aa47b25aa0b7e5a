"""Work that is done again and again, whatever goes wrong in it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, suppress
from typing import Protocol

from himalia.core.errors import Unavailable

_log = logging.getLogger(__name__)

Lead = Callable[[], Awaitable[bool]]
"""Tells whether this process, of several alike, is the one that does something now."""

_FOLLOWER_PAUSE = 2.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


class Worker(Protocol):
    """Works until it is told to stop."""

    async def run(self) -> None:
        """Work until :meth:`stop`."""

    async def stop(self) -> None:
        """Work no more."""


async def alone() -> bool:
    """Lead always: there is no other."""
    return True


def employ(workers: Iterable[Worker], until: AsyncExitStack) -> None:
    """Have `workers` work until the stack is unwound; the last one is stopped first."""
    for worker in workers:
        task = asyncio.create_task(worker.run(), name=type(worker).__name__)
        until.push_async_callback(asyncio.wait, {task})
        until.push_async_callback(worker.stop)


class Loop:
    """Calls `step` when it is woken and when the pause that `step` asked for is over.

    An exception never ends the loop: it is logged, and `step` is called again after a pause that
    grows from 0.1 to 5 seconds. While `lead` says no, `step` is not called.
    """

    def __init__(
        self, name: str, step: Callable[[], Awaitable[float]], lead: Lead | None = None
    ) -> None:
        self._name = name
        self._step = step
        self._lead = lead or alone
        self._wake = asyncio.Event()
        self._is_stopping = False
        self._task: asyncio.Task[None] | None = None
        self._failures = 0

    def wake(self) -> None:
        """Have `step` called as soon as the present call is done."""
        self._wake.set()

    async def run(self) -> None:
        """Run until :meth:`stop`; ends at once where that was called before."""
        if self._is_stopping:
            return
        self._task = asyncio.create_task(self._steps(), name=self._name)
        try:
            await asyncio.wait({self._task})
        finally:
            self._task.cancel()

    async def stop(self, grace_seconds: float = 5.0) -> None:
        """Let the present call of `step` end, within `grace_seconds`, and make no other."""
        self._is_stopping = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=grace_seconds)
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _steps(self) -> None:
        while not self._is_stopping:
            self._wake.clear()
            pause = await self._guarded_step()
            if self._failures:
                # Being woken does not shorten this pause, so that trouble cannot take a core.
                await asyncio.sleep(pause)
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()

    async def _guarded_step(self) -> float:
        try:
            pause = await self._step() if await self._lead() else _FOLLOWER_PAUSE
        except Unavailable as error:
            self._failures += 1
            _log.warning("%s: not now: %s", self._name, error.message)
        except Exception:  # noqa: BLE001 - logged, and the rest goes on
            self._failures += 1
            _log.exception("%s: unexpected trouble; going on", self._name)
        else:
            if self._failures:
                _log.info("%s: works again", self._name)
            self._failures = 0
            return pause
        return min(_FIRST_PAUSE * 2.0 ** min(self._failures - 1, 10), _LONGEST_PAUSE)
