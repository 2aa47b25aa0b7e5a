"""The keeper goes through the premises of all whose agents are up, one owner's trouble aside."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from himalia.core.errors import NotFound
from himalia.core.names import new_id
from tests.servers.people import People, Resident, quick, served

pytestmark = pytest.mark.asyncio


async def test_left_over_folders_and_snapshots_go_for_each_owner_by_itself(
    people: People, tmp_path: Path
) -> None:
    async with served(people, tmp_path) as (service, agents):
        alice, bob = (Resident(people, service, name) for name in ("alice", "bob"))
        needed = (await alice.job("1", run=False)).snapshot
        job = await bob.job("2", run=False)
        assert needed is not None
        assert job.snapshot is not None
        await service.workloads.delete(bob.caller, "job", job.id)
        folders = {}
        for person, snapshot in ((alice, needed), (bob, job.snapshot)):
            state = person.account.state(person.owner)
            kept = state / "snapshots" / snapshot.digest.removeprefix("sha256:")
            os.utime(kept, (time.time() - 7200,) * 2)
            left = state / "runs" / new_id("run") / "1"
            people.give(person.caller.name, left)
            folders[person.owner] = (kept, left.parent)
        await service.parts.keeper.tidy()
        assert [path.exists() for path in folders[alice.owner]] == [True, False]
        assert [path.exists() for path in folders[bob.owner]] == [False, False]
        assert set(agents.owners()) == {alice.owner, bob.owner}


async def test_an_agent_that_hangs_keeps_nobody_elses_files(people: People, tmp_path: Path) -> None:
    async with served(people, tmp_path, quick(answer_seconds=2.0)) as (service, agents):
        alice, bob = (Resident(people, service, name) for name in ("alice", "bob"))
        for person in (alice, bob):
            await person.job("1", run=False)
        left = people.give("bob", bob.account.state(bob.owner) / "runs" / new_id("run") / "1")
        hanging = agents.pid(alice.owner)
        assert hanging is not None
        os.kill(hanging, signal.SIGSTOP)
        await service.parts.keeper.tidy()
        assert not left.exists()
        assert alice.owner not in agents.owners(), "and one that hangs is ended"
        assert not psutil.pid_exists(hanging)


async def test_a_deleted_run_takes_its_files_with_it(people: People, tmp_path: Path) -> None:
    async with served(people, tmp_path) as (service, agents):
        alice = Resident(people, service, "alice")
        run = await alice.ended((await alice.job("1")).last_run)
        folder = alice.account.state(alice.owner) / "runs" / run.id
        assert json.loads((folder / "1" / "result.json").read_text())["run_id"] == run.id
        await agents.end(alice.owner)
        await service.runs.delete(alice.caller, run.id)
        assert not folder.exists()
        with pytest.raises(NotFound):
            await service.runs.get(alice.caller, run.id)
