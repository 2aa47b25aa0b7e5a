"""A disk that fills up under everything, and is freed again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from himalia.client import AsyncClient
from himalia.control.launcher import stop_control
from himalia.core.errors import Unavailable
from himalia.core.model import Run, Status
from tests.servers.environment import ROOT
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio

DISK_MIB = 160


class Disk:
    """A small disk with a file that takes what is free of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(65_536))
        with self._filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0")

    def free(self) -> None:
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    options = f"size={DISK_MIB}m,mode=0700"
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)],
        check=False,
        capture_output=True,
    )
    if mount.returncode:
        pytest.skip("only root may mount a small disk")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest_asyncio.fixture
async def client(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AsyncClient]:
    home = disk.folder / "home"
    home.mkdir(mode=0o700)
    (home / "settings.toml").write_text("pool_size = 0\n")
    monkeypatch.setenv("HIMALIA_HOME", str(home))
    client = AsyncClient()
    yield client
    await client.close()
    await stop_control()


async def _run(client: AsyncClient, notebook: Path) -> Run:
    made = await client.jobs.create(str(notebook))
    assert made.last_run is not None
    return made.last_run


async def _wait(client: AsyncClient, run: Run, *statuses: Status) -> Run:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (run := await client.runs.get(run.id)).status not in statuses:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return run


async def _fill_up(client: AsyncClient, notebook: Path) -> None:
    """Submit until it is refused: a file system may still have room for a few rows."""
    for _ in range(50):
        await _run(client, notebook)


ENDS = (Status.SUCCEEDED, Status.FAILED, Status.STOPPED)


async def test_096_a_full_disk_refuses_work_clearly_and_keeps_answering(
    client: AsyncClient, disk: Disk, tally: Any
) -> None:
    notebook = tally.write_notebook()
    before = await _wait(client, await _run(client, notebook), *ENDS)
    assert before.status is Status.SUCCEEDED
    disk.fill()
    with pytest.raises(Unavailable, match=r"space|full"):
        await _fill_up(client, notebook)
    assert before in await client.runs.list(limit=None)
    assert {warning.code for warning in (await client.status()).warnings} == {"disk_full"}
    disk.free()
    for run in await client.runs.list(limit=None):
        assert (await _wait(client, run, *ENDS)).status is Status.SUCCEEDED
    after = await _wait(client, await _run(client, notebook), *ENDS)
    assert after.status is Status.SUCCEEDED


async def test_096_a_queued_run_waits_for_space_and_then_runs(
    client: AsyncClient, disk: Disk, tally: Any
) -> None:
    block = disk.folder / "block"
    job = await client.jobs.create(str(tally.write_notebook()), run=False)
    # Enough is left for rows, not for a run.
    block.write_bytes(bytes(shutil.disk_usage(disk.folder).free - 3 * 2**20))
    run = await client.runs.start(job.id)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (run := await client.runs.get(run.id)).reason is None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert run.status is Status.QUEUED
    assert "disk" in run.reason.message
    assert run.reason.next_step
    block.unlink()
    assert (await _wait(client, run, *ENDS)).status is Status.SUCCEEDED


async def test_096_a_run_that_fills_the_disk_fails_and_is_never_a_success(
    client: AsyncClient, disk: Disk, tally: Any
) -> None:
    greedy = tally.write_notebook("greedy.ipynb", "open('big', 'wb').write(bytes(2**28))")
    ended = await _wait(client, await _run(client, greedy), *ENDS)
    assert ended.status is Status.FAILED
    assert ended.reason is not None
    assert ended.reason.code in {"disk_full", "cell_failed"}
    assert ended.reason.next_step
    await client.runs.delete(ended.id)
    small = await _wait(client, await _run(client, tally.write_notebook()), *ENDS)
    assert small.status is Status.SUCCEEDED


async def test_096_results_that_do_not_fit_any_more_are_no_success(
    client: AsyncClient, disk: Disk, tally: Any
) -> None:
    sleeping = "import time\nwhile not __import__('os').path.exists({!r}): time.sleep(.05)"
    signal = tally.folder / "go"
    slow = tally.write_notebook("slow.ipynb", sleeping.format(str(signal)))
    run = await _run(client, slow)
    await _wait(client, run, Status.RUNNING)
    disk.fill()
    signal.touch()
    await asyncio.sleep(3)
    with contextlib.suppress(Unavailable):
        assert (await client.runs.get(run.id)).status is not Status.SUCCEEDED
    disk.free()
    ended = await _wait(client, run, *ENDS)
    if ended.status is Status.SUCCEEDED:
        # It kept trying, or was tried again: then the whole result is there.
        names = [output.name for output in await client.runs.outputs(run.id)]
        assert "slow.ipynb" in names
    else:
        assert ended.reason is not None
        assert ended.reason.next_step


async def test_096_files_that_may_not_grow_refuse_work_and_lose_nothing(
    tmp_path: Path, tally: Any
) -> None:
    tally.write_notebook()
    program = (sys.executable, "-m", "tests.faults.quota")
    places = (str(tmp_path / "home"), str(tally.folder))
    done = await asyncio.create_subprocess_exec(
        *program, *places, stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        out, _ = await done.communicate()
    seen = json.loads(out)
    assert seen["refusals"]
    assert all(message.endswith(".") for message in seen["refusals"])
    assert set(seen["statuses"]) == {"succeeded"}
    assert seen["listed"] == len(seen["statuses"]) - 1
    assert seen["runs"] == len(seen["statuses"])
