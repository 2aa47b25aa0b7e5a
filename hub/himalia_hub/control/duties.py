"""Which of several controls on one store does what only one may do."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from himalia.core.errors import Unavailable
from himalia.core.loop import Lead, Loop
from himalia.store.team import LeaderStore

HOLD_SECONDS = 10.0
"""After this a dead control's duties are free to take."""
_RENEW_SECONDS = 3.0
_END_SECONDS = 3.0
_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Answer:
    is_mine: bool
    asked_mono: float


class Duties:
    """What this control leads, asked of the store at most every few seconds for each duty."""

    def __init__(self, leaders: Callable[[], LeaderStore], holder: str) -> None:
        self._leaders = leaders
        self._holder = holder
        self._answers: dict[str, _Answer] = {}
        self._loop = Loop("alive", self._say_alive)

    @property
    def mine(self) -> tuple[str, ...]:
        """Which duties this control had when it last asked."""
        now = time.monotonic()
        return tuple(
            duty
            for duty, answer in self._answers.items()
            if answer.is_mine and now - answer.asked_mono < HOLD_SECONDS
        )

    async def leads(self, duty: str) -> bool:
        """Tell whether `duty` is this control's, and take it where nobody has it.

        :raises Unavailable: the store does not answer; then nobody knows.
        """
        now_mono = time.monotonic()
        known = self._answers.get(duty)
        if known is not None and now_mono - known.asked_mono < _RENEW_SECONDS:
            return known.is_mine
        now = datetime.now(UTC)
        until = now + timedelta(seconds=HOLD_SECONDS)
        try:
            is_mine = await self._leaders().lead(duty, self._holder, now, until)
        except Unavailable:
            self._answers.pop(duty, None)
            raise
        if is_mine != (known is not None and known.is_mine):
            _log.info("%s: %s", duty, "mine now" if is_mine else "another control's")
        self._answers[duty] = _Answer(is_mine=is_mine, asked_mono=now_mono)
        return is_mine

    def lead(self, duty: str) -> Lead:
        """Return `leads` for one duty, as loops take it."""
        return partial(self.leads, duty)

    async def run(self) -> None:
        """Keep saying that this control is alive, until `stop`."""
        await self._loop.run()

    async def stop(self) -> None:
        """Leave all duties to others at once."""
        await self._loop.stop()
        self._answers.clear()
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await self._leaders().resign(self._holder)

    async def _say_alive(self) -> float:
        await self.leads(f"alive:{self._holder}")
        return _RENEW_SECONDS
