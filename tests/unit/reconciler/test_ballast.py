"""Space kept back: taken where there is plenty, given up when the end of a run does not fit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from himalia.core.ballast import Ballast
from himalia.core.errors import Unavailable
from himalia.core.model import Status
from himalia.core.names import attempt_name


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Megabytes that the disk seems to have."""
    free = [1000]
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: Usage(2**40, 2**40 - free[0] * 2**20, free[0] * 2**20)
    )
    return free


def test_space_is_kept_back_once_and_given_up_only_on_a_full_disk(
    tmp_path: Path, free: list[int]
) -> None:
    ballast = Ballast(tmp_path / "ballast")
    ballast.take()
    assert (tmp_path / "ballast").stat().st_blocks * 512 >= 8 * 2**20
    assert not ballast.give_up()
    free[0] = 0
    assert ballast.give_up()
    assert list(tmp_path.iterdir()) == []
    assert not ballast.give_up()


def test_no_space_is_kept_back_where_there_is_little(tmp_path: Path, free: list[int]) -> None:
    free[0] = 30
    Ballast(tmp_path / "ballast").take()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.asyncio
async def test_a_runs_end_is_written_with_the_space_that_was_kept_back(
    world: Any, free: list[int]
) -> None:
    ballast = world.places.home / "ballast"
    run = await world.submit()
    world.reconciler()
    await world.until_status(run, Status.RUNNING)
    await world.until(ballast.exists)
    change = world.store.holds.change

    async def full(*args: Any) -> Any:
        if ballast.exists():
            raise Unavailable("The disk is full.")
        return await change(*args)

    world.store.holds.change = full
    free[0] = 0
    world.cluster.end(attempt_name(run.id, 1))
    await world.until_status(run, Status.SUCCEEDED)
