"""Programs that are started again whenever they end, as children of an asyncio program."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from himalia_hub.keep import said

_log = logging.getLogger("himalia.kept")
_LONGEST_PAUSE_SECONDS = 10.0
_STEADY_SECONDS = 5.0
"""A program that ran for this long is started again at once when it ends."""
_PR_SET_PDEATHSIG = 1


class Kept:
    """One program that is started again whenever it ends, until it is stopped."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        end_seconds: float = 15.0,
    ) -> None:
        self.name = name
        self.starts = 0
        self.endings = 0
        """How often it ended by itself."""
        self._command = command
        self._env = env
        self._end_seconds = end_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._is_stopping = False

    @property
    def pid(self) -> int | None:
        """Of the process that runs, if one does."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def run(self) -> None:
        """Keep it running until `stop` is called."""
        failures = 0
        while not self._is_stopping:
            began = time.monotonic()
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                env=None if self._env is None else dict(self._env),
                start_new_session=True,
                preexec_fn=_end_with_parent(),
            )
            self.starts += 1
            if self._is_stopping:  # …while it was being started
                self._process.terminate()
            status = await self._process.wait()
            if self._is_stopping:
                return
            self.endings += 1
            failures = 0 if time.monotonic() - began > _STEADY_SECONDS else failures + 1
            pause = min(_LONGEST_PAUSE_SECONDS, 0.1 * 2**failures) if failures else 0.0
            _log.warning("%s ended (%s); it is started again", self.name, said(status))
            await asyncio.sleep(pause)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end, and make it end if it does not."""
        self._is_stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(number)
            try:
                await asyncio.wait_for(process.wait(), self._end_seconds)
            except TimeoutError:
                process.kill()
                await process.wait()


def _end_with_parent() -> Callable[[], None] | None:
    """Return what makes a new process be told to end when this one dies, however it dies."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    return partial(libc.prctl, _PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
