"""Lives of a control that dies at a named point, one after the other over one state folder.

A program of the tests: ``python -m tests.faults.lives HOME ROOT HOOK POINTS``. Everything is
imported once; each life is a fork that opens the real service, does what a user does, and kills
itself where the point says: before or after a call of the store or the backend. The last life has
no such point and works until there is nothing to do. What every life saw is printed as JSON.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from himalia.backends.local.backend import LocalBackend
from himalia.core.local import LocalService, LocalSettings
from himalia.core.local_premises import LocalPremises
from himalia.core.model import Overlap, RunDraft, ScheduleDraft, WorkloadDraft
from himalia.core.places import Places
from himalia.core.service import Caller, RunQuery
from himalia.core.spec import Condition, Dependency, Notification, Retention
from himalia.kinds.registry import load_kinds
from himalia.store.sql import SqlStore
from tests.servers.patience import PATIENCE_SECONDS

_log = logging.getLogger("lives")

NOT_REACHED, TOO_LONG = 7, 8


class Doom:
    """Kills this process at one point, once that is armed."""

    def __init__(self, point: str | None) -> None:
        self._point = point
        self.is_armed = False

    def pass_by(self, label: str, when: str) -> None:
        if self.is_armed and self._point == f"{label}:{when}":
            os.kill(os.getpid(), signal.SIGKILL)


class Doomed:
    """Shows an object's methods, each of which may be the last thing this process does."""

    def __init__(self, real: Any, prefix: str, doom: Doom) -> None:
        self._real, self._prefix, self._doom = real, prefix, doom

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not inspect.iscoroutinefunction(found):
            return found

        async def doomed(*args: Any, **kwargs: Any) -> Any:
            label = f"{self._prefix}.{name}"
            if label == "holds.change":
                label = f"{label}.{args[2].status.value}"
            self._doom.pass_by(label, "before")
            result = await found(*args, **kwargs)
            # A claim of nothing is no point of interest.
            if result or result is None or label != "holds.claim":
                self._doom.pass_by(label, "after")
            return result

        return doomed


class DoomedStore(Doomed):
    def __init__(self, real: SqlStore, doom: Doom) -> None:
        super().__init__(real, "store", doom)
        for part in ("workloads", "runs", "holds", "schedules", "messages"):
            setattr(self, part, Doomed(getattr(real, part), part, doom))


class Life:
    """One control, and the user who drives it."""

    def __init__(self, home: Path, root: Path, hook: str, point: str | None) -> None:
        self.home, self.hook, self.point = home, hook, point
        self.doom = Doom(point)
        self.kinds = load_kinds()
        places = Places(home=home).prepare()
        self.store: Any = DoomedStore(SqlStore(places.store, self.kinds.decode_spec), self.doom)
        backend: Any = Doomed(LocalBackend(places, pool_size=0), "backend", self.doom)
        backend.name = "local"
        self.service = LocalService(
            store=self.store,
            backend=backend,
            premises=LocalPremises(places, self.kinds),
            kinds=self.kinds,
            places=places,
            # A life is shorter than the pause after a message that its two predecessors died with.
            settings=LocalSettings(max_running=4, message_delay_seconds=1.0),
        )
        self.caller = Caller(owner="tester", root=root)

    def spec(self, **fields: Any) -> Any:
        return self.kinds["job"].spec_type(**{"notebook": "tally.ipynb", **fields})

    async def set_up(self) -> None:
        """Make the definitions that all lives share, with a few ended runs to be cleaned up."""
        notify = (Notification(webhook=self.hook),)
        first = await self.make("first", run=False, notify=notify)
        after = (Dependency(workload_id=first.id, on=Condition.END),)
        await self.make("second", run=False, after=after)
        kept = await self.make("kept", run=False, retention=Retention(keep_runs=1))
        ticked = await self.make("ticked", run=False)
        schedule = await self.service.schedules.create(
            self.caller,
            ScheduleDraft(workload_id=ticked.id, cron="0 0 1 1 *", overlap=Overlap.QUEUE),
        )
        for number in range(3):
            await self.start(kept.id, f"kept-{number}")
        ids = {"first": first.id, "ticked": ticked.id, "schedule": schedule.id, "kept": kept.id}
        (self.home / "ids.json").write_text(json.dumps(ids))
        await self.drain()

    async def make(self, key: str, *, run: bool, **fields: Any) -> Any:
        draft = WorkloadDraft(name=key, spec=self.spec(**fields), run=run)
        return await self.service.workloads.create(self.caller, "job", draft, idempotency_key=key)

    async def start(self, workload_id: str, key: str) -> Any:
        return await self.service.runs.start(
            self.caller, "job", workload_id, RunDraft(), idempotency_key=key
        )

    async def ask(self, key: str) -> str:
        """Ask for a run under a key, and return its id; asking again must give the same."""
        if key.startswith("create"):
            return str((await self.make(key, run=True)).last_run.id)
        if key.startswith("slow"):
            return str((await self.make(key, run=True, notebook="slow.ipynb")).last_run.id)
        return str((await self.start(self.ids()["first"], key)).id)

    async def acknowledged(self, key: str) -> str:
        note(self.home / "intents", key)
        run_id = await self.ask(key)
        note(self.home / "acks", f"{key} {run_id}")
        return run_id

    def ids(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.home / "ids.json").read_text())
        return found

    async def live(self, number: int) -> None:
        point = self.point or ""
        self.doom.is_armed = point.startswith(
            ("workloads.", "runs.insert", "holds.take_over", "runs.delete", "backend.remove")
        )
        await self.service.open()
        for key in unacknowledged(self.home):
            await self.acknowledged(key)
        if self.point is not None:
            if point.startswith("workloads."):
                await self.acknowledged(f"create-{number}")
            if point.startswith("schedules."):
                await self.make_due(number)
            await self.acknowledged(f"start-{number}")
            self.doom.is_armed = True
            if "stop" in point:
                await self.stop(f"slow-{number}")
        await self.drain()

    async def stop(self, key: str) -> None:
        run_id = await self.acknowledged(key)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await self.service.runs.get(self.caller, run_id)).status != "running":  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        note(self.home / "stops", run_id)
        await self.service.runs.stop(self.caller, run_id)

    async def make_due(self, number: int) -> None:
        schedule = await self.quiet_schedule()
        # No two lives take the same tick.
        past = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
        await self.store.schedules.replace(schedule.model_copy(update={"next_tick_at": past}))
        self.doom.is_armed = True
        note(self.home / "ticks", past.isoformat())
        self.service._parts.ticker.loop.wake()

    async def quiet_schedule(self) -> Any:
        """Return the schedule once the tick of an earlier life was dealt with."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                found = await self.service.schedules.get(self.caller, self.ids()["schedule"])
                if found.next_tick_at is None or found.next_tick_at > datetime.now(UTC):
                    return found
                await asyncio.sleep(0.02)

    async def drain(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await self.store.runs.counts() or await self.messages():  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def messages(self) -> Any:
        return await self.store.messages.due(datetime.now(UTC) + timedelta(days=1), 1)

    async def report(self) -> list[Any]:
        runs: list[Any] = []
        cursor = None
        while True:
            query = RunQuery(limit=100, cursor=cursor)
            page = await self.service.runs.list(self.caller, query)
            runs += [run.model_dump(mode="json") for run in page.items]
            cursor = page.next_cursor
            if cursor is None:
                return runs


def note(path: Path, line: str) -> None:
    with path.open("a") as file:
        file.write(line + "\n")
        file.flush()
        os.fsync(file.fileno())


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def unacknowledged(home: Path) -> list[str]:
    known = {line.split()[0] for line in lines(home / "acks")}
    return [key for key in dict.fromkeys(lines(home / "intents")) if key not in known]


def in_fork(work: Callable[[], Any]) -> int:
    """Run `work` in a fork; return its exit status, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            asyncio.run(work())
            status = NOT_REACHED
        except TimeoutError:
            _log.exception("a life took too long")
            status = TOO_LONG
        except BaseException:  # noqa: BLE001 - told by the exit status
            _log.exception("a life went wrong")
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main(home: Path, root: Path, hook: str, points: list[str]) -> None:
    logging.basicConfig(level=logging.WARNING, filename=home / "lives.log")
    load_kinds()  # imported here, once for all forks

    async def set_up() -> None:
        life = Life(home, root, hook, None)
        await life.service.open()
        await life.set_up()
        await life.service.close()

    async def end() -> None:
        life = Life(home, root, hook, None)
        await life.live(0)
        (home / "report.json").write_text(json.dumps(await life.report()))
        await life.service.close()

    exits = {"set up": in_fork(set_up)}
    for number, point in enumerate(points):
        exits[point] = in_fork(lambda p=point, n=number: Life(home, root, hook, p).live(n))
    exits["end"] = in_fork(end)
    (home / "exits.json").write_text(json.dumps(exits))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4:])
