"""The runs that one reconciler holds, and those who want to hear of runs."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from himalia.backends.base import AttemptRef, Observation, Phase
from himalia.core.model import Run
from himalia.core.spec import Spec

_IN_A_ROUND = 500
"""Runs that are observed though there is no news of them: more only keep those with news waiting.
"""


@dataclass(slots=True, kw_only=True, eq=False)
class Work:
    """A held run, and how far its attempt has come. Monotonic times have ``_mono`` names."""

    run: Run
    token: int
    lease_until: datetime
    is_begun: bool
    """Whether the backend may know of the attempt."""
    is_busy: bool = False
    """Whether something is being done with it that nobody else need wait for."""
    spec: Spec | None = None
    grace_seconds: float = 10.0
    seen: Observation = field(default_factory=lambda: Observation(phase=Phase.ABSENT))
    is_overdue: bool = False
    must_end: bool = False
    """Whether the backend has still to be told so."""
    stop_sent_mono: float | None = None
    written_mono: float = 0.0
    """When progress was last stored."""
    unseen_mono: float | None = None
    """Since when nobody could say how it gets on."""
    looked_mono: float = 0.0
    """When it was last observed; 0 asks for it to be observed now."""
    not_before_mono: float = 0.0
    """After trouble: when to look at it again."""
    troubles: int = 0

    @property
    def ref(self) -> AttemptRef:
        """The attempt at the backend."""
        return AttemptRef(owner=self.run.owner, run_id=self.run.id, attempt=self.run.attempt)

    def see(self, seen: Observation) -> None:
        """Take what was observed of the attempt."""
        self.seen, self.looked_mono = seen, time.monotonic()


class Rota:
    """Whose turn it is to be observed: runs of whose owners there is news, at once, and the others
    in rounds, some in each.
    """

    def __init__(self, round_seconds: float) -> None:
        self._round_seconds = round_seconds
        self._round_mono = 0.0
        self._owners: set[str] = set()
        self._is_of_all = False

    def tell(self, owners: Collection[str] | None) -> None:
        """There is news of these owners, or of all."""
        self._is_of_all = self._is_of_all or owners is None
        self._owners.update(owners or ())

    def take(self, works: Sequence[Work]) -> list[Work]:
        """Return those of `works` whose turn it is; it stays theirs until they are seen."""
        now_mono = time.monotonic()
        owners, self._owners = self._owners, set()
        is_of_all, self._is_of_all = self._is_of_all, False
        if is_of_all:
            taken = list(works)
        else:
            taken = [work for work in works if not work.looked_mono or work.run.owner in owners]
        if now_mono >= self._round_mono + self._round_seconds:
            self._round_mono = now_mono
            taken += _longest_ago(works, taken)
        for work in taken:
            work.looked_mono = 0.0
        return taken


def _longest_ago(works: Sequence[Work], taken: Sequence[Work]) -> list[Work]:
    others = set(works).difference(taken)
    return heapq.nsmallest(_IN_A_ROUND, others, key=lambda work: work.looked_mono)


class Listeners:
    """Events that are set when something about a run may have changed."""

    def __init__(self) -> None:
        self._events: dict[str, set[asyncio.Event]] = {}

    @contextmanager
    def listen(self, run_id: str) -> Iterator[asyncio.Event]:
        """Give an event that is set from now on at each change of the run; clear it yourself."""
        event = asyncio.Event()
        events = self._events.setdefault(run_id, set())
        events.add(event)
        try:
            yield event
        finally:
            events.discard(event)
            if not events and self._events.get(run_id) is events:
                del self._events[run_id]

    def tell(self, run_id: str) -> None:
        """Set the events of those who listen to the run."""
        for event in self._events.get(run_id, ()):
            event.set()
