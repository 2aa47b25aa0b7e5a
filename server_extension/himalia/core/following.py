"""A run followed live: its changes, its cells and its log, from any event on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace

from himalia.backends.base import AttemptRef, LogPart
from himalia.core.errors import InvalidInput
from himalia.core.local_parts import Parts
from himalia.core.model import Run, RunEvent
from himalia.core.service import Caller

_POLL_SECONDS = 0.1
"""Between looks at the cells and the log of a run that is on."""
_ROW_SECONDS = 0.5
"""Between looks at the store, where nobody tells of a change."""
_LOG_CHUNK = 65_536
_MAX_NUMBER = 10**15


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far somebody has followed a run."""

    attempt: int = 0
    revision: int = -1
    cells: int = 0
    """Position at the backend."""
    skip: int = 0
    """Cell events after that position that were seen, too."""
    log: int = 0

    @classmethod
    def of(cls, text: str | None) -> Cursor:
        """Read the id of an event (:raises InvalidInput: it is none)."""
        if text is None:
            return cls()
        words = text.split(".")
        # int() takes more than ASCII digits.
        if len(words) != 5 or not all(word.isascii() and word.isdigit() for word in words):
            raise InvalidInput.of("after", "this is not the id of an event")
        attempt, revision, cells, skip, log = (min(int(word[:16]), _MAX_NUMBER) for word in words)
        return cls(attempt=attempt, revision=revision, cells=cells, skip=skip, log=log)

    def __str__(self) -> str:
        numbers = (self.attempt, max(self.revision, 0), self.cells, self.skip, self.log)
        return ".".join(map(str, numbers))


class Following:
    """One listener's passage through the events of a run."""

    def __init__(self, parts: Parts, caller: Caller, run_id: str, after: str | None) -> None:
        self._parts = parts
        self._owner = caller.owner
        self._run_id = run_id
        self._cursor = Cursor.of(after)

    async def events(self) -> AsyncIterator[RunEvent]:
        """Yield the run as it is, then what happens, then ``end``."""
        shown: tuple[int, int | None] | None = None
        with self._parts.reconciler.listen(self._run_id) as changed:
            changed.set()
            look_again_mono = 0.0
            while True:
                if changed.is_set() or time.monotonic() >= look_again_mono:
                    changed.clear()
                    # Before cells and log, so that those of an ended run are all there is.
                    run = await self._parts.store.runs.get(self._owner, self._run_id)
                    look_again_mono = time.monotonic() + _ROW_SECONDS
                if shown != (run.revision, run.position):
                    shown = (run.revision, run.position)
                    self._move_to(run)
                    yield self._event("run", run=run)
                async for event in self._news(run):
                    yield event
                if run.status.is_terminal:
                    yield self._event("end")
                    return
                pause = _POLL_SECONDS if run.attempt else _ROW_SECONDS
                with suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), pause)

    def _move_to(self, run: Run) -> None:
        if run.attempt != self._cursor.attempt:
            self._cursor = Cursor(attempt=run.attempt)
        self._cursor = replace(self._cursor, revision=run.revision)

    async def _news(self, run: Run) -> AsyncIterator[RunEvent]:
        if run.attempt == 0:
            return
        ref = AttemptRef(owner=run.owner, run_id=run.id, attempt=run.attempt)
        async for event in self._cells(ref):
            yield event
        while True:
            part = await self._parts.backend.log(ref, offset=self._cursor.log, limit=_LOG_CHUNK)
            is_all = part.next_offset - part.offset < _LOG_CHUNK
            text, _, end = decode_log(part, is_complete=is_all and run.status.is_terminal)
            if text:
                self._cursor = replace(self._cursor, log=end)
                yield self._event("log", log=text)
            if is_all or not text:
                return

    async def _cells(self, ref: AttemptRef) -> AsyncIterator[RunEvent]:
        while True:
            start, seen = self._cursor.cells, self._cursor.skip
            events, end = await self._parts.backend.events(ref, after=start)
            for index, cell in enumerate(events[seen:], seen + 1):
                # Who comes back with this id gets the rest of these.
                self._cursor = replace(self._cursor, skip=index)
                yield self._event("cell", cell=cell)
            if end == start:
                return
            self._cursor = replace(self._cursor, cells=end, skip=max(seen - len(events), 0))

    def _event(self, type_: str, **content: object) -> RunEvent:
        return RunEvent.model_validate({"id": str(self._cursor), "type": type_, **content})


def decode_log(part: LogPart, *, is_complete: bool) -> tuple[str, int, int]:
    """Decode part of a log; return the text, and the offsets where it begins and ends.

    A character that the part cuts at its beginning is left out, one cut at its end is left for the
    next part, unless nothing follows (`is_complete`).
    """
    data, start = part.data, part.offset
    lead = 0
    while start and lead < min(3, len(data)) and data[lead] & 0xC0 == 0x80:
        lead += 1
    data = data[lead:]
    tail = 0 if is_complete else _cut_tail(data)
    whole = data[: len(data) - tail]
    return whole.decode("utf-8", errors="replace"), start + lead, start + lead + len(whole)


def _cut_tail(data: bytes) -> int:
    """Return how many bytes at the end begin a character that is not all there."""
    for back in range(1, min(3, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 == 0x80:
            continue
        needed = 4 if byte >= 0xF0 else 3 if byte >= 0xE0 else 2 if byte >= 0xC0 else 1
        return back if needed > back else 0
    return 0
