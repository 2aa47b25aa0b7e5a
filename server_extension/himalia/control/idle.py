"""Tells when a control that nobody needs can end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from himalia.handlers.streams import Streams
from himalia.store.base import Store

_FAR = timedelta(days=365)
_LONGEST_STEP_SECONDS = 30.0
_ANSWER_STEP_SECONDS = 0.02


class Idleness:
    """Waits until nothing runs, ticks or is to be sent, and nobody asked for a while."""

    def __init__(
        self,
        *,
        store: Store,
        streams: Streams,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._streams = streams
        self._seconds = seconds
        self._clock = clock
        self._asked_mono = clock()
        self._asking = 0

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Stay at least until this is left: somebody is being answered."""
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            self._asked_mono = self._clock()

    async def answered(self, seconds: float) -> None:
        """Wait until those that asked have their answers, for so long; those that follow a run
        never have, and will ask again.
        """
        end = self._clock() + seconds
        while self._asking > self._streams.count and self._clock() < end:  # noqa: ASYNC110 - two counts that many change
            await asyncio.sleep(_ANSWER_STEP_SECONDS)

    async def wait(self) -> None:
        """Return when control can end; never, when that was chosen."""
        if not self._seconds:
            await asyncio.Event().wait()
        while True:
            left = self._asked_mono + self._seconds - self._clock()
            if left <= 0 and not await self._is_needed():
                return
            await asyncio.sleep(min(_LONGEST_STEP_SECONDS, max(left, self._seconds / 10)))

    async def _is_needed(self) -> bool:
        if self._asking or sum((await self._store.runs.counts()).values()):
            return True
        if await self._store.schedules.count():
            return True
        return bool(await self._store.messages.due(datetime.now(UTC) + _FAR, 1))
