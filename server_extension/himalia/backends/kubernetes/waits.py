"""Attempts whose pods do not run yet: why, and whether there is still hope."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from himalia.backends.base import AttemptRef
from himalia.backends.kubernetes.api import Api, Object, Refusal
from himalia.backends.kubernetes.states import why_waiting
from himalia.core.errors import Unavailable
from himalia.core.model import Reason

_USUAL_SECONDS = 4.0
"""A pod may take to come up, before anybody asks why."""
_ASK_SECONDS = 10.0
"""Between two such questions about one pod."""

_YOUNG_SECONDS = 60.0
_SOON_SECONDS, _LATER_SECONDS = 2.0, 15.0


@dataclass(slots=True, kw_only=True)
class _Wait:
    since_mono: float
    asked_mono: float = 0.0
    told: Reason | None = None
    """What its events tell."""


class Waits:
    """Remembers who waits for what."""

    def __init__(self, api: Api, most_seconds: float) -> None:
        self._api = api
        self._most_seconds = most_seconds
        self._waits: dict[AttemptRef, _Wait] = {}

    @property
    def pause_seconds(self) -> float | None:
        """Return how soon somebody should look again, if anybody waits; what is young changes."""
        if not self._waits:
            return None
        youngest = max(wait.since_mono for wait in self._waits.values())
        return _SOON_SECONDS if time.monotonic() - youngest < _YOUNG_SECONDS else _LATER_SECONDS

    @property
    def owners(self) -> frozenset[str]:
        """Return who waits."""
        return frozenset(ref.owner for ref in self._waits)

    def forget(self, ref: AttemptRef) -> None:
        """An attempt waits no more."""
        self._waits.pop(ref, None)

    async def reason(self, ref: AttemptRef, pod: Object, path: str) -> Reason | None:
        """Return why a pod does not run yet; its events are asked for only when it takes long."""
        now = time.monotonic()
        wait = self._waits.setdefault(ref, _Wait(since_mono=now))
        found = why_waiting(pod)
        if found is not None:
            # What it says itself may be over at any time, and is what counts while it lasts.
            wait.told = None
            return found
        if now - wait.since_mono > _USUAL_SECONDS and now - wait.asked_mono > _ASK_SECONDS:
            wait.asked_mono = now
            wait.told = why_waiting(pod, await self._events(pod, path)) or wait.told
        return wait.told

    async def _events(self, pod: Object, path: str) -> list[Object]:
        metadata = pod["metadata"]
        fields = f"involvedObject.name={metadata['name']},involvedObject.uid={metadata['uid']}"
        try:
            listed = await self._api.get(
                f"{path.removesuffix('/pods')}/events", [("fieldSelector", fields)]
            )
        except (Refusal, Unavailable):
            # They only explain.
            return []
        found: list[Object] = listed.get("items") or []
        return found

    def is_too_long(self, ref: AttemptRef, pod: Object) -> bool:
        """Tell whether a pod has had its time, by the cluster's clock or by this one."""
        wait = self._waits.get(ref)
        here = time.monotonic() - wait.since_mono if wait is not None else 0.0
        made = datetime.fromisoformat(str(pod["metadata"]["creationTimestamp"]))
        return max(here, (datetime.now(UTC) - made).total_seconds()) > self._most_seconds

    def in_vain(self, reason: Reason | None) -> Reason:
        """Say that a run failed because its pod did not come up."""
        minutes = max(round(self._most_seconds / 60), 1)
        return Reason(
            code=reason.code if reason is not None else "not_started",
            message=f"It did not start within {minutes} min. "
            f"{reason.message if reason is not None else 'Nobody knows why.'}",
            next_step="Run it again when this is mended, or tell an admin.",
        )
