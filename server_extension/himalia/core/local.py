"""The service in this process: what control runs, and what the tests of the seam run against."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psutil
from typing_extensions import override

from himalia import __version__
from himalia.backends.base import Backend
from himalia.core.execution import RunEnv
from himalia.core.keeper import Keeper
from himalia.core.local_parts import Parts
from himalia.core.local_runs import LocalRuns
from himalia.core.local_schedules import LocalSchedules
from himalia.core.local_usage import LocalUsage
from himalia.core.local_workloads import LocalWorkloads
from himalia.core.loop import employ
from himalia.core.messenger import Messenger, MessengerSettings
from himalia.core.model import Environment, Reason, ServiceStatus, Status
from himalia.core.no_hub import NoHub
from himalia.core.places import Places
from himalia.core.premises import Premises
from himalia.core.profiles import Profile
from himalia.core.reconciler import Reconciler, ReconcilerSettings
from himalia.core.service import Caller, Hub, WorkloadService
from himalia.core.ticker import Ticker
from himalia.kinds.registry import Kinds
from himalia.store.base import Store

_LITTLE_SPACE = 2**30


def _cores() -> int:
    return os.cpu_count() or 1


async def _alone(_duty: str) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """How the local service works."""

    max_running: int = field(default_factory=_cores)
    """Runs that may be on at once; the others wait in the queue."""
    max_unended: int = 10_000
    """Runs that may wait or be on at once; more are refused."""
    smtp_url: str | None = field(default=None, repr=False)
    """See :class:`~himalia.core.messenger.MessengerSettings`."""
    message_delay_seconds: float = 20.0
    """Before the second try of a message."""
    holder: str = "control"
    """Name under which runs are held; where several controls share a store, each has its own."""
    leads: Callable[[str], Awaitable[bool]] = field(default=_alone, repr=False)
    """Tells whether this control has a duty that only one may: ``tick``, ``tidy`` or ``tell``."""
    env: RunEnv | None = field(default=None, repr=False)
    """Gives the variables that a run gets of control, beside its own."""

    def of_reconciler(self, ballast: Path) -> ReconcilerSettings:
        """Return those of the reconciler."""
        return ReconcilerSettings(
            holder=self.holder, max_running=self.max_running, ballast=ballast, env=self.env
        )

    def of_messenger(self) -> MessengerSettings:
        """Return those of the messenger."""
        return MessengerSettings(
            smtp_url=self.smtp_url, first_delay_seconds=self.message_delay_seconds
        )


class LocalService(WorkloadService):
    """The service over a store, a backend and premises, with the loops that keep it going.

    `places` are control's own; only one process may have it open on the same ones.
    """

    def __init__(  # noqa: PLR0913 - all that a service is made of
        self,
        *,
        store: Store,
        backend: Backend,
        premises: Premises,
        kinds: Kinds,
        places: Places,
        settings: LocalSettings | None = None,
    ) -> None:
        self._settings = settings or LocalSettings()
        self._places = places
        self._started_at = datetime.now(UTC)
        leads = self._settings.leads
        reconciler = Reconciler(
            store=store,
            backend=backend,
            premises=premises,
            kinds=kinds,
            settings=self._settings.of_reconciler(places.home / "ballast"),
        )
        messages = self._settings.of_messenger()
        self._messenger = Messenger(store=store, settings=messages, lead=partial(leads, "tell"))
        reconciler.on_end(self._messenger.loop.wake)
        self._parts = Parts(
            store=store,
            backend=backend,
            premises=premises,
            kinds=kinds,
            reconciler=reconciler,
            ticker=Ticker(
                store=store,
                premises=premises,
                wake=reconciler.wake,
                lead=partial(leads, "tick"),
            ),
            keeper=Keeper(
                store=store, backend=backend, premises=premises, lead=partial(leads, "tidy")
            ),
            max_unended=self._settings.max_unended,
            admission=asyncio.Lock(),
        )
        self._closing = AsyncExitStack()
        self.workloads = LocalWorkloads(self._parts)
        self.runs = LocalRuns(self._parts)
        self.schedules = LocalSchedules(self._parts)
        self.usage = LocalUsage(store.team, premises)
        self.hub: Hub = NoHub()

    @property
    def parts(self) -> Parts:
        """What the service is made of, for what a team's control does beside it."""
        return self._parts

    async def open(self) -> None:
        """Open store and backend, and start to work.

        :raises Unavailable: the state folder or the store cannot be used; the text says why.
        """
        await asyncio.to_thread(self._places.prepare)
        async with AsyncExitStack() as stack:
            await self._parts.store.open()
            stack.push_async_callback(self._parts.store.close)
            await self._parts.backend.open()
            stack.push_async_callback(self._parts.backend.close)
            parts = self._parts
            loops = (parts.ticker.loop, self._messenger.loop, parts.keeper.loop)
            employ((parts.reconciler, *loops), stack)
            self._closing = stack.pop_all()

    @override
    async def close(self) -> None:
        await self._closing.aclose()

    @override
    async def status(self, caller: Caller) -> ServiceStatus:
        counts = await self._parts.store.runs.counts(caller.owner)
        free = await self._parts.premises.free_bytes(caller.owner)
        warnings = []
        if free < _LITTLE_SPACE:
            warnings.append(
                Reason(
                    code="disk_full",
                    message=f"Only {free // 2**20} MiB are free where runs are kept.",
                    next_step="Delete old runs, or free space on that disk.",
                )
            )
        queued = counts.get(Status.QUEUED, 0) + counts.get(Status.WAITING, 0)
        return ServiceStatus(
            version=__version__,
            pid=os.getpid(),
            started_at=self._started_at,
            backend=self._parts.backend.name,
            queued=queued,
            running=sum(counts.values()) - queued,
            limit=self._settings.max_running,
            schedules=await self._parts.store.schedules.count(caller.owner),
            pool=await self._parts.backend.pool(caller.owner),
            memory_bytes=psutil.Process().memory_info().rss,
            disk_free_bytes=free,
            warnings=tuple(warnings),
        )

    @override
    async def environments(self, caller: Caller) -> tuple[Environment, ...]:
        return await self._parts.backend.environments(caller.owner)

    @override
    async def profiles(self, caller: Caller) -> tuple[Profile, ...]:
        return await self._parts.backend.profiles(caller.owner)
