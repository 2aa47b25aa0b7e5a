"""A hub's control killed again and again, while two users go on submitting through the proxy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.hub import Hub
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.asyncio, pytest.mark.faults]
KILLS = 6
_AGAIN_SECONDS = 0.2
_ENDED = {"succeeded", "failed", "stopped", "skipped"}
_TALLY = """
import os
line = f"{os.environ['HIMALIA_ATTEMPT']}\\n".encode()
file = os.open(os.path.expanduser("~/tally.txt"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
os.write(file, line)
os.fsync(file)
"""


class Submitter:
    """A user at the hub, who asks again under the same key until an answer came."""

    def __init__(self, hub: Hub, name: str, token: str) -> None:
        self.name = name
        self.acknowledged: dict[str, str] = {}
        self.refused: Counter[int] = Counter()
        self._hub = hub
        self._http = httpx.AsyncClient(
            base_url=f"{hub.url}/services/himalia/api/",
            headers={"Authorization": f"token {token}"},
            timeout=PATIENCE_SECONDS,
            trust_env=False,
        )
        self.home = Path()

    async def prepare(self) -> None:
        """See that there is a home, and put the notebook into it."""
        await self.ask("GET", "environments")
        (self.home,) = (self._hub.state / "homes").glob(f"{self.name}-*")
        python = {"name": "python3", "display_name": "Python", "language": "python"}
        cell = {
            "cell_type": "code",
            "id": "c0",
            "metadata": {},
            "source": _TALLY,
            "outputs": [],
            "execution_count": None,
        }
        notebook = {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": python},
            "cells": [cell],
        }
        path = self.home / "tally.ipynb"
        path.write_text(json.dumps(notebook))
        owner = self.home.stat()
        os.chown(path, owner.st_uid, owner.st_gid)

    async def work(self, done: asyncio.Event) -> None:
        number = 0
        while not done.is_set():
            key = f"{self.name}-{number}"
            body = {"name": key, "spec": {"notebook": str(self.home / "tally.ipynb")}}
            answer = await self.ask("POST", "jobs", json=body, headers={"Idempotency-Key": key})
            self.acknowledged[key] = answer["last_run"]["id"]
            number += 1
            await asyncio.sleep(0.3)

    async def ended(self) -> dict[str, Any]:
        """Wait for all runs, and return how each ended."""
        found = {}
        for run_id in self.acknowledged.values():
            while (run := await self.ask("GET", f"runs/{run_id}"))["status"] not in _ENDED:  # noqa: ASYNC110
                await asyncio.sleep(_AGAIN_SECONDS)
            found[run_id] = run
        return found

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await self._http.request(method, path, **options)
                if answer.is_success:
                    return answer.json()
                self.refused[answer.status_code] += 1
                # The proxy says 503 where nobody listens; nothing else may be said.
                assert answer.status_code == 503, answer.text[:500]
            await asyncio.sleep(_AGAIN_SECONDS)

    async def close(self) -> None:
        await self._http.aclose()


async def _submitter(hub: Hub, name: str) -> Submitter:
    async with await hub.visitor(name) as visitor:
        answer = await visitor.ask("POST", f"/hub/api/users/{name}/tokens", json={})
        return Submitter(hub, name, answer.json()["token"])


async def _kill_control(hub: Hub) -> int:
    kills = 0
    end = time.monotonic() + PATIENCE_SECONDS
    while kills < KILLS and time.monotonic() < end:
        await asyncio.sleep(random.uniform(0.5, 3.0))
        with contextlib.suppress(LookupError, ProcessLookupError):
            hub.kill("control")
            kills += 1
    return kills


@pytest.mark.timeout(600)
async def test_089_090_whatever_was_acknowledged_runs_to_one_end() -> None:
    seed = int.from_bytes(os.urandom(4))
    random.seed(seed)
    print(f"seed {seed}")
    async with Hub() as hub:
        users = [await _submitter(hub, name) for name in ("alice", "bob")]
        try:
            for user in users:
                await user.prepare()
            done = asyncio.Event()
            work = [asyncio.create_task(user.work(done)) for user in users]
            kills = await _kill_control(hub)
            done.set()
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asyncio.gather(*work)
                ended = {user.name: await user.ended() for user in users}
            assert kills == KILLS
            for user in users:
                await _check(user, ended[user.name])
        finally:
            for user in users:
                await user.close()


async def _check(user: Submitter, ended: dict[str, Any]) -> None:
    assert len(user.acknowledged) >= 3, user.refused
    # No key made two, and no acknowledged run was lost.
    listed: list[Any] = []
    page: dict[str, Any] = {"next_cursor": ""}
    while page["next_cursor"] is not None:
        cursor = {"cursor": page["next_cursor"]} if page["next_cursor"] else {}
        page = await user.ask("GET", "runs", params={"limit": 100, **cursor})
        listed += page["items"]
    assert {run["id"] for run in listed} == set(user.acknowledged.values())
    assert len(listed) == len(user.acknowledged)
    tally = Counter((user.home / "tally.txt").read_text().split())
    for run_id, run in ended.items():
        assert run["status"] == "succeeded", run
        assert tally[f"{run_id}-{run['attempt']}"] == 1
    # Control's death is no reason to run anything twice: what runs is not control's child.
    assert sum(tally.values()) == len(ended), tally
