"""Every process killed at random, two hundred times, while users go on submitting."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from himalia.client import AsyncClient
from himalia.control.launcher import stop_control
from himalia.core.errors import Unavailable
from himalia.core.model import Run, Status
from himalia.core.places import Places
from himalia.core.spec import Notification, Retries
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio

KILLS = 200
KILL_SECONDS = 150
USERS = 4
# How long each is left alone after one was killed, at least and at most: control and the warm
# process take longest to come back, and are killed while they do, too.
REST_SECONDS = {
    "control": (0.5, 5.0),
    "pool": (0.5, 4.0),
    "runner": (0.0, 0.5),
    "kernel": (0.0, 0.5),
}
_STATUSES = (Status.SUCCEEDED, Status.FAILED)


class Victims:
    """Finds the processes of one state folder by their role."""

    def __init__(self, places: Places, mark: str) -> None:
        self._places = places
        self._mark = mark

    def all(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {role: [] for role in REST_SECONDS}
        control = self.control()
        runners = self._runners()
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid == os.getpid() or process.environ().get("TMPDIR") != self._mark:
                    continue
                if process.status() != psutil.STATUS_ZOMBIE:
                    found[self._role(process, control, runners)].append(process.pid)
        return found

    def control(self) -> int | None:
        with contextlib.suppress(OSError, ValueError, KeyError):
            return int(json.loads(self._places.control_file.read_text())["pid"])
        return None

    def _runners(self) -> set[int]:
        runners = set()
        for path in self._places.runs.glob("*/*/started.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                runners.add(int(json.loads(path.read_text())["pid"]))
        return runners

    def _role(self, process: psutil.Process, control: int | None, runners: set[int]) -> str:
        command = process.cmdline()
        if process.pid == control or "himalia.control" in command:
            return "control"
        if process.pid in runners:
            return "runner"
        # Kernels are forked from the warm process too, which alone leads its session.
        if "himalia.runners.pool" in command and os.getsid(process.pid) == process.pid:
            return "pool"
        return "kernel"


class User:
    """Submits jobs under keys of its own until an answer came, whatever is killed meanwhile."""

    def __init__(self, number: int, notebooks: list[str], hook: str) -> None:
        self._number = number
        self._notebooks = notebooks
        self._hook = hook
        self._client = AsyncClient()
        self.acknowledged: list[str] = []

    async def work(self, done: asyncio.Event) -> None:
        count = 0
        while not done.is_set():
            run = await self.submit(f"user-{self._number}-{count}")
            count += 1
            # Not more than a few at a time, so that all are through soon after the last kill.
            if count % 3 == 0:
                await self.follow(run.id)

    async def close(self) -> None:
        await self._client.close()

    async def submit(self, key: str) -> Run:
        notebook = random.choice(self._notebooks)
        while True:
            with contextlib.suppress(Unavailable):
                job = await self._client.jobs.create(
                    notebook,
                    idempotency_key=key,
                    retries=Retries(count=20, delay_seconds=0),
                    notify=(Notification(webhook=self._hook),),
                )
                assert job.last_run is not None
                self.acknowledged.append(job.last_run.id)
                return job.last_run
            await asyncio.sleep(0.05)

    async def follow(self, run_id: str) -> Run:
        while True:
            with contextlib.suppress(Unavailable):
                run = await self._client.runs.get(run_id)
                if run.status.is_terminal:
                    return run
            await asyncio.sleep(0.1)


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A temporary folder of this test's own, by which its processes are known."""
    folder = tempfile.mkdtemp(prefix="hk")
    monkeypatch.setenv("TMPDIR", folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    home = tmp_path / "home"
    monkeypatch.setenv("HIMALIA_HOME", str(home))
    places = Places(home=home).prepare()
    (home / "settings.toml").write_text("max_running = 4\npool_size = 2\n")
    return places


async def _kill_at_random(victims: Victims) -> Counter[str]:
    kills: Counter[str] = Counter()
    rested = dict.fromkeys(REST_SECONDS, 0.0)
    deadline = time.monotonic() + KILL_SECONDS
    while kills.total() < KILLS and time.monotonic() < deadline:
        await asyncio.sleep(random.uniform(0, 0.2))
        now = time.monotonic()
        found = await asyncio.to_thread(victims.all)
        roles = [role for role in REST_SECONDS if found[role] and rested[role] <= now]
        if not roles:
            continue
        role = random.choice(roles)
        with contextlib.suppress(ProcessLookupError):
            os.kill(random.choice(found[role]), signal.SIGKILL)
            kills[role] += 1
            rested[role] = now + random.uniform(*REST_SECONDS[role])
    return kills


@pytest.mark.timeout(600)
async def test_090_two_hundred_random_kills_lose_nothing_and_end_nothing_twice(
    places: Places, mark: str, tally: Any, hook: Any
) -> None:
    seed = int.from_bytes(os.urandom(4))
    random.seed(seed)
    print(f"seed {seed}")
    notebooks = [
        str(tally.write_notebook(f"{seconds}.ipynb", f"import time; time.sleep({seconds})"))
        for seconds in (0, 0.2, 0.5)
    ]
    victims = Victims(places, mark)
    users = [User(number, notebooks, hook.url) for number in range(USERS)]
    after = User(USERS, notebooks, hook.url)
    done = asyncio.Event()
    work = [asyncio.create_task(user.work(done)) for user in users]
    try:
        kills = await _kill_at_random(victims)
        done.set()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*work)
            ended = {
                run_id: await user.follow(run_id) for user in users for run_id in user.acknowledged
            }
            # What is submitted when all is quiet again succeeds.
            assert (await after.follow((await after.submit("after")).id)).status == "succeeded"
            while len({body["run"]["id"] for _, body in hook.received}) <= len(ended):  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        print(kills, Counter(run.status.value for run in ended.values()))
        _check(await after._client.runs.list(limit=None), ended, tally, hook)
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        for user in (*users, after):
            await user.close()
        await stop_control()
        await asyncio.to_thread(_end_all, victims)
    assert kills.total() >= KILLS
    assert min(kills[role] for role in REST_SECONDS) > 0


def _check(runs: tuple[Run, ...], ended: dict[str, Run], tally: Any, hook: Any) -> None:
    # Every acknowledged run is there, and no key made two.
    assert len(runs) == len(ended) + 1
    assert set(ended) <= {run.id for run in runs}
    for run in runs:
        assert run.status in _STATUSES, run
        if run.status is Status.FAILED:
            assert run.reason is not None
            assert run.reason.code == "attempts_lost", run
        # A run that ended has not changed since.
        assert run.id not in ended or ended[run.id] == run
    begun, finished = Counter(tally.of("begin")), Counter(tally.of("end"))
    assert max(begun.values()) == max(finished.values()) == 1
    for run in runs:
        if run.status is Status.SUCCEEDED:
            assert finished[f"{run.id}-{run.attempt}"] == 1
    told: dict[str, set[str]] = {}
    for message, body in hook.received:
        told.setdefault(body["run"]["id"], set()).add(message)
    assert {run.id for run in runs} == set(told)
    assert all(len(messages) == 1 for messages in told.values())


def _end_all(victims: Victims) -> None:
    for pids in victims.all().values():
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
