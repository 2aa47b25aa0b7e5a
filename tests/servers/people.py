"""People with accounts of their own on this machine, for tests of what one may see of another.

The accounts are real where the tests run as root; elsewhere all are this one, with homes apart.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from himalia.agents.account import Account
from himalia.agents.backend import AgentBackend
from himalia.agents.fleet import Agents
from himalia.agents.premises import AgentPremises
from himalia.agents.settings import AgentSettings
from himalia.core.local import LocalService, LocalSettings
from himalia.core.model import Run, RunDraft, Status, Workload, WorkloadDraft
from himalia.core.names import new_id, owner_id
from himalia.core.places import Places
from himalia.core.service import Caller
from himalia.core.spec import Spec
from himalia.kinds.job import JobSpec
from himalia.kinds.registry import load_kinds
from himalia.store.sql import SqlStore
from himalia_hub.accounts import Accounts
from himalia_hub.settings import Himalia
from tests.servers.environment import server_python
from tests.servers.patience import PATIENCE_SECONDS


class People:
    """Makes people, each with an owner's id, an account and a home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Himalia(state=str(folder / "state"), account_shell="/bin/sh")
        self._accounts = Accounts(self.settings)
        self._owners: dict[str, str] = {}

    def owner(self, name: str) -> str:
        """Return the owner's id of a person."""
        unique = f"{name}-{self.folder.name}"
        return self._owners.setdefault(name, owner_id(unique, datetime.now(UTC)))

    def account(self, name: str) -> Account:
        """Return the account of a person, made when it is first asked for."""
        return self._accounts.of(self.owner(name), name)

    async def of_owner(self, owner: str) -> Account:
        """Return the account of an owner: as fleets of agents ask for it."""
        names = {known: name for name, known in self._owners.items()}
        return self.account(names.get(owner) or owner.partition("-")[0])

    def root(self, name: str) -> Path:
        """Make an empty folder in the person's home, and the person's own."""
        return self.give(name, self.account(name).home / "work" / new_id("dir"))

    def give(self, name: str, folder: Path) -> Path:
        """Make a folder the person's own, with all that is in it."""
        account = self.account(name)
        folder.mkdir(parents=True, exist_ok=True)
        if account.uid is not None and account.gid is not None:
            for path in (folder.parent, folder, *folder.rglob("*")):
                os.chown(path, account.uid, account.gid, follow_symlinks=False)
        return folder

    def close(self) -> None:
        """Remove the accounts, with all that runs under them."""
        for owner in self._owners.values():
            self._accounts.retire(owner, "")
        left = [entry for entry in pwd.getpwall() if entry.pw_dir.startswith(f"{self.folder}/")]
        for entry in left:
            subprocess.run(["userdel", entry.pw_name], check=True, capture_output=True)
        shutil.rmtree(self.folder)


def quick(**changes: object) -> AgentSettings:
    """Return settings of agents for tests, whose owners run too little to warm anything up."""
    usual: dict[str, object] = {"python": server_python(), "idle_seconds": 20.0, "pool_size": 0}
    return AgentSettings(**(usual | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def people() -> Iterator[People]:
    """People who are there until all tests have ended."""
    folder = Path(tempfile.mkdtemp(prefix="himalia-people-"))
    folder.chmod(0o711)
    found = People(folder)
    yield found
    found.close()


@asynccontextmanager
async def served(
    people: People, folder: Path, settings: AgentSettings | None = None
) -> AsyncIterator[tuple[LocalService, Agents]]:
    """Give a service over agents of `people`, whose own state lies in `folder`, and the agents."""
    agents = Agents(people.of_owner, settings or quick())
    kinds = load_kinds()
    places = Places(home=folder / "control").prepare()
    service = LocalService(
        store=SqlStore(places.store, kinds.decode_spec),
        backend=AgentBackend(agents),
        premises=AgentPremises(agents),
        kinds=kinds,
        places=places,
        settings=LocalSettings(max_running=4),
    )
    await service.open()
    try:
        yield service, agents
    finally:
        await service.close()


class Resident:
    """One of the people, who asks a service."""

    def __init__(self, people: People, service: LocalService, name: str) -> None:
        self.account = people.account(name)
        self.owner = people.owner(name)
        self._service = service
        self._people = people
        self._name = name
        self.caller = Caller(owner=self.owner, root=people.root(name), name=name)

    async def job(self, *sources: str, run: bool = True, **spec: Any) -> Workload[Spec]:
        """Make a job of these cells, which runs unless told otherwise."""
        self.write(*sources)
        draft = WorkloadDraft[Spec](spec=JobSpec(notebook="n.ipynb", **spec), run=run)
        return await self._service.workloads.create(self.caller, "job", draft)

    async def start(self, workload: Workload[Spec]) -> Run:
        """Run a job."""
        return await self._service.runs.start(self.caller, "job", workload.id, RunDraft())

    def write(self, *sources: str) -> None:
        """Write the notebook of these cells into the folder that paths start at."""
        empty = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
        cells = [
            {**empty, "id": f"c{index}", "source": source} for index, source in enumerate(sources)
        ]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        document = {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": kernel},
            "cells": cells,
        }
        (self.caller.root / "n.ipynb").write_text(json.dumps(document))

    async def until(self, run: Run | None, *statuses: Status) -> Run:
        """Wait until a run has one of these statuses."""
        assert run is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                now = await self._service.runs.get(self.caller, run.id)
                if now.status in statuses:
                    return now
                assert not now.status.is_terminal, now
                await asyncio.sleep(0.05)

    async def ended(self, run: Run | None) -> Run:
        """Wait for the end of a run."""
        return await self.until(run, *(status for status in Status if status.is_terminal))

    async def said(self, run: Run) -> str:
        """Return what a run's log says."""
        return (await self._service.runs.log(self.caller, run.id)).text
