"""State folders whose controls are ended after each test, however it went."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from himalia.core.model import Run, Status, WorkloadDraft
from himalia.core.names import user_name
from himalia.core.places import Places
from himalia.core.service import Caller, WorkloadService
from himalia.kinds.job import JobSpec
from himalia.remote import RemoteService
from tests.servers.patience import PATIENCE_SECONDS


def control_processes(home: Path) -> list[psutil.Process]:
    """Every process that serves this state folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_control = "himalia.control" in process.cmdline()
            if is_control and process.environ().get("HIMALIA_HOME") == str(home):
                found.append(process)
    return found


@pytest.fixture
def controls(places: Places) -> Callable[[], list[psutil.Process]]:
    """List the controls of this test."""
    return lambda: control_processes(places.home)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A state folder; what still runs for it is killed at the end."""
    home = tmp_path / "home"
    monkeypatch.setenv("HIMALIA_HOME", str(home))
    yield Places(home=home)
    for process in control_processes(home):
        process.kill()
        process.wait(10)
    for started in home.glob("runs/*/*/started.json"):
        with contextlib.suppress(OSError, ValueError, KeyError):
            os.killpg(json.loads(started.read_text())["pid"], signal.SIGKILL)


@pytest_asyncio.fixture
async def service(places: Places) -> AsyncIterator[WorkloadService]:
    """The user's control, started when it is first asked."""
    opened = RemoteService.of_user(places)
    yield opened
    await opened.close()


@pytest.fixture
def caller(tmp_path: Path) -> Caller:
    """The user, with a folder of notebooks."""
    root = tmp_path / "notebooks"
    root.mkdir()
    return Caller(owner=user_name(), root=root)


@pytest.fixture
def start_job(service: WorkloadService, caller: Caller) -> Callable[[str], Awaitable[Run]]:
    """Run one cell as a job."""

    async def start(source: str) -> Run:
        cell = {
            "cell_type": "code",
            "id": "one",
            "source": source,
            "metadata": {},
            "outputs": [],
            "execution_count": None,
        }
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        document = {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": kernel},
            "cells": [cell],
        }
        (caller.root / "nb.ipynb").write_text(json.dumps(document))
        draft = WorkloadDraft[JobSpec](spec=JobSpec(notebook="nb.ipynb"))
        job = await service.workloads.create(caller, "job", draft)  # type: ignore[arg-type]
        assert job.last_run is not None
        return job.last_run

    return start


@pytest.fixture
def until(service: WorkloadService, caller: Caller) -> Callable[..., Awaitable[Run]]:
    """Wait until a run has one of these statuses."""

    async def wait(run_id: str, *statuses: Status) -> Run:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                run = await service.runs.get(caller, run_id)
                if run.status in statuses:
                    return run
                assert not run.status.is_terminal, run
                await asyncio.sleep(0.05)

    return wait
