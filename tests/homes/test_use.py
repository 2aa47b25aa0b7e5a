"""How full a home is, and what fills it."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from himalia.core.errors import InvalidInput, NotFound
from himalia.core.homes import Gauge, walk
from himalia.homes.filling import contents, remove

MIB = 2**20


def fill(path: Path, mebibytes: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(1024) * (1024 * mebibytes))
    return path


def far() -> float:
    return time.monotonic() + 60


def test_a_walk_counts_each_file_once_and_follows_no_link(tmp_path: Path) -> None:
    outside = fill(tmp_path / "outside/big.bin", 8)
    home = tmp_path / "home"
    first = fill(home / "a/b/data.bin", 3)
    (home / "a/again.bin").hardlink_to(first)
    (home / "link").symlink_to(outside.parent, target_is_directory=True)
    found = walk(home, until_mono=far())
    assert 3 * MIB <= found.size_bytes < 4 * MIB
    assert found.is_whole


def test_a_walk_that_takes_too_long_says_that_there_is_more(tmp_path: Path) -> None:
    for number in range(20):
        fill(tmp_path / f"{number}/x.bin", 0)
    assert not walk(tmp_path, until_mono=far(), most=10).is_whole
    assert not walk(tmp_path, until_mono=time.monotonic() - 1).is_whole
    deep = tmp_path.joinpath(*["d"] * 250)
    deep.mkdir(parents=True)
    assert not walk(tmp_path, until_mono=far()).is_whole


@pytest.mark.asyncio
async def test_an_agreed_size_is_compared_with_what_was_counted(tmp_path: Path) -> None:
    fill(tmp_path / "data.bin", 9)
    gauge = Gauge(tmp_path, size_bytes=10 * MIB - 2**18)
    use = await gauge.read()
    assert use.used_bytes is not None
    assert use.size_bytes == 10 * MIB - 2**18
    assert 9 * MIB <= use.used_bytes < 10 * MIB
    assert use.free_bytes == use.size_bytes - use.used_bytes
    assert use.is_almost_full
    assert not use.is_at_least
    # It is not counted anew for everybody who asks.
    (tmp_path / "data.bin").unlink()
    assert (await gauge.read()).used_bytes == use.used_bytes
    gauge.forget()
    emptied = await gauge.read()
    assert emptied.used_bytes is not None
    assert emptied.used_bytes < MIB
    assert not emptied.is_almost_full


@pytest.mark.asyncio
async def test_without_one_it_is_what_the_file_system_says(tmp_path: Path) -> None:
    use = await Gauge(tmp_path).read()
    assert use.size_bytes is not None
    assert use.used_bytes is not None
    assert 0 < use.used_bytes < use.size_bytes
    away = await Gauge(tmp_path / "away").read()
    assert (away.size_bytes, away.used_bytes, away.free_bytes) == (None, None, None)


def test_the_largest_come_first_whatever_they_are_called(tmp_path: Path) -> None:
    fill(tmp_path / "small.bin", 1)
    fill(tmp_path / "folder/inner/large.bin", 4)
    odd = os.fsdecode(b"\xff\xfe odd")
    fill(tmp_path / odd, 2)
    found = contents(tmp_path, ())
    assert [one.name for one in found.items] == ["folder", odd, "small.bin"]
    assert [one.is_folder for one in found.items] == [True, False, False]
    assert found.items[0].size_bytes >= 4 * MIB
    assert [one.name for one in contents(tmp_path, ("folder", "inner")).items] == ["large.bin"]
    with pytest.raises(NotFound):
        contents(tmp_path, ("away",))


def test_what_is_deleted_lies_below_the_home_and_through_no_link(tmp_path: Path) -> None:
    home, outside = tmp_path / "home", tmp_path / "outside"
    kept = fill(outside / "kept.txt", 1)
    fill(home / "folder/x/y.bin", 1)
    (home / "link").symlink_to(outside, target_is_directory=True)
    (home / "folder/out").symlink_to(outside, target_is_directory=True)
    with pytest.raises(NotFound):
        remove(home, ("link", "kept.txt"))
    for wrong in ((), ("..", "outside"), ("folder", ".."), ("",), ("a/b",), ("x\0",)):
        with pytest.raises((InvalidInput, NotFound)):
            remove(home, wrong)
    with pytest.raises(NotFound):
        remove(home, ("away.txt",))
    remove(home, ("link",))
    remove(home, ("folder",))
    assert list(home.iterdir()) == []
    assert kept.exists()


@pytest.mark.asyncio
async def test_several_may_ask_at_once(tmp_path: Path) -> None:
    fill(tmp_path / "data.bin", 1)
    gauge = Gauge(tmp_path, size_bytes=10 * MIB)
    found = await asyncio.gather(*(gauge.read() for _ in range(5)))
    assert len({use.used_bytes for use in found}) == 1
