"""The one reconciler: it makes what is observed at the backend agree with what the store wants.

It holds runs under leases. Each loop below does one thing, is repeated whatever goes wrong, and
can be interrupted anywhere by the end of the process: what was done is found again from the store
and the backend alone.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from himalia.backends.base import AttemptRef, Backend, Observation
from himalia.core.ballast import Ballast
from himalia.core.errors import Unavailable
from himalia.core.execution import Execution, NotNow, RunEnv, one_runs_trouble
from himalia.core.holding import Listeners, Rota, Work
from himalia.core.loop import Loop
from himalia.core.model import Run, Status, Target
from himalia.core.passage import Passage
from himalia.core.premises import Premises
from himalia.kinds.base import Kind
from himalia.store.base import Change, Held, Store

_log = logging.getLogger(__name__)

_RESEND_STOP_SECONDS = 30.0


def utc_now() -> datetime:
    """Return the present time."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcilerSettings:
    """How a reconciler works."""

    holder: str
    """Name under which runs are held. Where only one process can be control it stays the same
    over restarts, so that a new one takes over at once what the old one held."""
    max_running: int
    """Runs that may be started at once; the others wait in the queue."""
    ballast: Path
    """File that keeps back space on the disk of the store."""
    lease_seconds: float = 10.0
    observe_seconds: float = 1.0
    """Between looks at the backend where it tells of no change."""
    sweep_seconds: float = 5.0
    """Between looks at the store where nobody tells of a new run."""
    clock: Callable[[], datetime] = utc_now
    env: RunEnv | None = None


class Reconciler:
    """Starts queued runs, follows them, and stores how they end, exactly once each."""

    def __init__(
        self,
        *,
        store: Store,
        backend: Backend,
        premises: Premises,
        kinds: Mapping[str, Kind[Any]],
        settings: ReconcilerSettings,
    ) -> None:
        self._store = store
        self._backend = backend
        self._settings = settings
        self._clock = settings.clock
        self._end_callbacks: list[Callable[[], None]] = []
        self._works: dict[str, Work] = {}
        self._listeners = Listeners()
        self._rota = Rota(settings.observe_seconds)
        self._execution = Execution(
            store=store,
            backend=backend,
            kinds=kinds,
            premises=premises,
            clock=settings.clock,
            env=settings.env,
        )
        self._passage = Passage(store)
        self._ballast = Ballast(settings.ballast)
        self._has_taken_over = False
        self._swept_mono = 0.0
        self._tasks: set[asyncio.Task[None]] = set()
        self.claims: Counter[str] = Counter()
        """Runs ``claimed`` and ``taken_over``; and claims that found ``none``, had no room
        (``full``) or ``failed``."""
        self._claims = Loop("claim runs", self._claim)
        self._leases = Loop("renew leases", self._renew)
        self._stops = Loop("stop runs", self._stop_asked)
        self._looks = Loop("observe runs", self._look)
        self._news = Loop("hear of changes", self._hear)
        self._flows = Loop("judge waiting runs", self._judge)

    @property
    def running(self) -> int:
        """How many runs are held."""
        return len(self._works)

    async def run(self) -> None:
        """Work until :meth:`stop`. The store and the backend must be open."""
        await asyncio.gather(*(loop.run() for loop in self._loops()))

    def wake(self) -> None:
        """Have runs that were queued, made waiting, or asked to stop, dealt with now."""
        self._claims.wake()
        self._stops.wake()
        self._flows.wake()

    async def stop(self) -> None:
        """Stop working; what runs goes on, and whoever takes it over finds it again."""
        await self._news.stop(grace_seconds=0.0)
        await asyncio.gather(*(loop.stop() for loop in self._loops()))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)
        for task in tuple(self._tasks):
            task.cancel()

    def listen(self, run_id: str) -> AbstractContextManager[asyncio.Event]:
        """Give an event that is set whenever the run, or what it shows, may have changed."""
        return self._listeners.listen(run_id)

    def on_end(self, callback: Callable[[], None]) -> None:
        """Have `callback` called after each stored end of a run."""
        self._end_callbacks.append(callback)

    def _loops(self) -> tuple[Loop, ...]:
        return (self._claims, self._leases, self._stops, self._looks, self._news, self._flows)

    def _lease_end(self) -> datetime:
        return self._clock() + timedelta(seconds=self._settings.lease_seconds)

    # Claiming and holding

    async def _claim(self) -> float:
        await self._take_over()
        free = self._settings.max_running - len(self._works)
        if free > 0:
            until = self._lease_end()
            try:
                claimed = await self._store.holds.claim(
                    self._settings.holder, now=self._clock(), lease_until=until, limit=free
                )
            except Unavailable:
                self.claims["failed"] += 1
                raise
            self.claims.update(claimed=len(claimed), none=not claimed)
            for held in claimed:
                work = self._hold(held, until, is_begun=False)
                self._aside(work, self._start(work))
        else:
            self.claims["full"] += 1
        return self._execution.seconds_to_retry(at_most=self._settings.sweep_seconds)

    async def _take_over(self) -> None:
        now_mono = time.monotonic()
        if self._has_taken_over and now_mono < self._swept_mono + self._settings.sweep_seconds:
            return
        until = self._lease_end()
        taken = await self._store.holds.take_over(
            self._settings.holder,
            now=self._clock(),
            lease_until=until,
            own=not self._has_taken_over,
        )
        self._has_taken_over = True
        self._swept_mono = now_mono
        self.claims["taken_over"] += len(taken)
        for held in taken:
            _log.info("taking over %s, attempt %d", held.run.id, held.run.attempt)
            self._hold(held, until, is_begun=True)
        if taken:
            self._looks.wake()
            self._stops.wake()

    def _hold(self, held: Held, until: datetime, *, is_begun: bool) -> Work:
        work = self._works.get(held.run.id)
        if work is not None and work.run.attempt == held.run.attempt:
            work.run, work.token, work.lease_until = held.run, held.token, until
            return work
        work = Work(run=held.run, token=held.token, lease_until=until, is_begun=is_begun)
        self._works[held.run.id] = work
        self._listeners.tell(held.run.id)
        return work

    def _drop(self, work: Work) -> None:
        if self._works.get(work.run.id) is work:
            del self._works[work.run.id]
        self._listeners.tell(work.run.id)
        self._claims.wake()

    async def _renew(self) -> float:
        until = self._lease_end()
        held = [(work, work.token) for work in self._works.values()]
        if held:
            lost = await self._store.holds.renew(
                self._settings.holder, [(work.run.id, token) for work, token in held], until
            )
            for work, token in held:
                if work.token != token:
                    continue
                if work.run.id in lost:
                    _log.warning("%s is held by another now; leaving it alone", work.run.id)
                    self._drop(work)
                else:
                    work.lease_until = until
        return self._settings.lease_seconds / 4

    # Starting and stopping

    def _aside(self, work: Work, action: Coroutine[Any, Any, None]) -> None:
        """Do something with one run that the others do not wait for."""
        work.is_busy = True
        task = asyncio.create_task(self._done_aside(work, action), name=f"act on {work.run.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _done_aside(self, work: Work, action: Coroutine[Any, Any, None]) -> None:
        try:
            await self._guarded(work, action)
        except Unavailable as error:
            # The store's: the loop that looks after works comes back to it.
            _log.warning("%s: not now: %s", work.run.id, error.message)
            work.not_before_mono = time.monotonic() + 1.0
        finally:
            work.is_busy, work.looked_mono = False, 0.0
            self._looks.wake()

    async def _start(self, work: Work) -> None:
        change = await self._execution.start(work)
        if change is not None:
            await self._write(work, change)
        elif work.is_begun:
            self._stops.wake()

    async def _stop_asked(self) -> float:
        if not self._works:
            return 60.0
        for run in await self._store.holds.stopping(self._settings.holder):
            work = self._works.get(run.id)
            if work is None or work.run.attempt != run.attempt:
                continue
            work.run = run
            now_mono = time.monotonic()
            sent = work.stop_sent_mono
            if work.is_busy or (sent is not None and now_mono < sent + _RESEND_STOP_SECONDS):
                continue
            self._aside(work, self._send_stop(work))
        return 2.0

    async def _send_stop(self, work: Work) -> None:
        with one_runs_trouble():
            await self._backend.stop(work.ref)
        work.stop_sent_mono = time.monotonic()
        work.is_begun = True
        if work.run.status in {Status.STARTING, Status.RUNNING}:
            await self._write(work, Change(status=Status.STOPPING))

    # Observing

    async def _hear(self) -> float:
        owners = await self._backend.changes()
        self._rota.tell(owners)
        self._looks.wake()
        for run_id, work in self._works.items():
            if owners is None or work.run.owner in owners:
                self._listeners.tell(run_id)
        return 0.02

    async def _look(self) -> float:
        now_mono = time.monotonic()
        ready = [
            work
            for work in self._works.values()
            if not work.is_busy and work.not_before_mono <= now_mono
        ]
        for work in ready:
            if not work.is_begun:
                self._aside(work, self._start(work))
            elif work.spec is None:
                self._aside(work, self._execution.learn(work))
        begun = {
            work.ref: work
            for work in self._rota.take([one for one in ready if one.is_begun and not one.is_busy])
        }
        if begun:
            seen = await self._observe(begun)
            for ref, work in begun.items():
                # A start or a takeover may have come in between.
                if not work.is_busy and work.ref == ref and self._works.get(ref.run_id) is work:
                    if ref in seen:
                        work.see(seen[ref])
                    await self._guarded(work, self._act(work, is_seen=ref in seen))
        return self._settings.observe_seconds if self._works else 60.0

    async def _observe(self, works: Mapping[AttemptRef, Work]) -> dict[AttemptRef, Observation]:
        try:
            return await self._backend.observe(tuple(works))
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - logged, and the rest goes on
            _log.exception("observing %d runs at once; trying one by one", len(works))
        seen: dict[AttemptRef, Observation] = {}
        for ref, work in works.items():
            await self._guarded(work, self._observe_one(ref, seen))
        return seen

    async def _observe_one(self, ref: AttemptRef, seen: dict[AttemptRef, Observation]) -> None:
        seen.update(await self._backend.observe((ref,)))

    async def _act(self, work: Work, *, is_seen: bool) -> None:
        execution = self._execution
        change = await execution.follow(work) if is_seen else execution.unseen(work)
        if change is not None:
            await self._write(work, change)
        elif not work.is_begun:
            self._aside(work, self._start(work))
        if work.must_end and not work.is_busy:
            self._aside(work, self._execution.end(work))

    # Writing

    async def _write(self, work: Work, change: Change) -> None:
        token = work.token
        try:
            written = await self._store.holds.change(work.run.id, token, change)
        except Unavailable:
            if not await asyncio.to_thread(self._ballast.give_up):
                raise
            written = await self._store.holds.change(work.run.id, token, change)
        if written is None:
            if work.token == token:
                _log.warning("%s: another has dealt with it; leaving it alone", work.run.id)
                self._drop(work)
            return
        if written.status is Status.QUEUED and written.target is Target.STOP:
            # The request came while the retry was being written.
            written = await self._store.runs.request_stop(written.owner, written.id, self._clock())
        work.run, work.troubles = written, 0
        if written.status is Status.QUEUED or written.status.is_terminal:
            self._settled(work, written)
        self._listeners.tell(written.id)

    def _settled(self, work: Work, run: Run) -> None:
        self._drop(work)
        if run.status.is_terminal:
            _log.info("%s: %s", run.id, run.status.value)
            self._execution.forget(run.id)
            self._flows.wake()
            self._tell_ends()

    def _tell_ends(self) -> None:
        for callback in self._end_callbacks:
            callback()

    async def _guarded(self, work: Work, action: Coroutine[Any, Any, None]) -> None:
        """Keep the trouble with one run from the others; only the store's passes through."""
        try:
            await action
        except Unavailable:
            raise
        except NotNow as error:
            _log.warning("%s: not now: %s", work.run.id, error)
            work.not_before_mono = time.monotonic() + 1.0
        except Exception:  # noqa: BLE001 - logged, and the rest goes on
            work.troubles += 1
            work.not_before_mono = time.monotonic() + min(0.2 * 2**work.troubles, 5.0)
            _log.exception("trouble number %d with run %s", work.troubles, work.run.id)
            await self._give_up(work)

    async def _give_up(self, work: Work) -> None:
        try:
            change = await self._execution.give_up(work)
            if change is not None:
                await self._write(work, change)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - logged, and the rest goes on
            _log.exception("giving up run %s", work.run.id)

    async def _judge(self) -> float:
        await asyncio.to_thread(self._ballast.take)
        settled = await self._passage.judge()
        for run in settled:
            self._listeners.tell(run.id)
        if settled:
            self._claims.wake()
            self._tell_ends()
        return 30.0
