"""Snapshots: input files pinned by their content."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from himalia.core.errors import Conflict, InvalidInput, TooLarge, Unavailable
from himalia.core.pinning import Limits
from himalia.core.snapshots import Snapshots, with_pinned
from himalia.core.spec import Notification, Spec
from himalia.kinds.base import Pin

pytestmark = pytest.mark.asyncio


@pytest.fixture
def place(tmp_path) -> Path:
    place = tmp_path / "home" / "snapshots"
    place.mkdir(parents=True)
    return place


@pytest.fixture
def folder(tmp_path) -> Path:
    folder = tmp_path / "work"
    (folder / "data").mkdir(parents=True)
    (folder / "nb.ipynb").write_text("{}")
    (folder / "data" / "x.csv").write_text("1,2")
    (folder / "data" / ".ipynb_checkpoints").mkdir()
    (folder / "data" / ".ipynb_checkpoints" / "x.csv").write_text("old")
    return folder


def _folders(place: Path) -> list[Path]:
    return [path for path in place.iterdir() if path.is_dir()]


async def test_named_files_and_folders_are_taken_with_their_layout(place, folder):
    snapshots = Snapshots(place)
    snapshot = await snapshots.pin(Pin(folder=folder, files=("nb.ipynb", "data")))
    files = snapshots.path(snapshot.digest)
    assert (files / "data" / "x.csv").read_text() == "1,2"
    assert snapshot.files == 2
    assert snapshot.size_bytes == 5
    assert snapshot.digest.startswith("sha256:")


async def test_folders_of_checkpoints_are_left_out_in_silence(place, folder):
    snapshot = await Snapshots(place).pin(Pin(folder=folder, whole_folder=True))
    assert snapshot.files == 2
    assert snapshot.skipped == ()


async def test_equal_inputs_are_kept_once_and_other_ones_apart(place, folder):
    snapshots = Snapshots(place)
    pin = Pin(folder=folder, whole_folder=True)
    first, again = await snapshots.pin(pin), await snapshots.pin(pin)
    assert first.digest == again.digest
    (folder / "nb.ipynb").chmod(0o755)
    assert (await snapshots.pin(pin)).digest != first.digest
    assert len(_folders(place)) == 2


async def test_many_at_once_make_one_snapshot(place, folder):
    snapshots = Snapshots(place)
    pin = Pin(folder=folder, whole_folder=True)
    made = await asyncio.gather(*(snapshots.pin(pin) for _ in range(8)))
    assert len({snapshot.digest for snapshot in made}) == 1
    assert len(_folders(place)) == 1


async def test_files_keep_whether_they_can_be_executed_and_nothing_else_of_their_mode(
    place, folder
):
    (folder / "run.sh").write_text("")
    (folder / "run.sh").chmod(0o777)
    snapshots = Snapshots(place)
    files = snapshots.path((await snapshots.pin(Pin(folder=folder, whole_folder=True))).digest)
    assert (files / "run.sh").stat().st_mode & 0o777 == 0o700
    assert (files / "nb.ipynb").stat().st_mode & 0o777 == 0o600


async def test_too_many_files_are_refused_with_what_to_do_and_nothing_is_left(place, folder):
    snapshots = Snapshots(place, Limits(max_files=1))
    with pytest.raises(TooLarge, match="Name the ones that the run needs"):
        await snapshots.pin(Pin(folder=folder, whole_folder=True))
    assert _folders(place) == []


async def test_too_many_bytes_are_refused_and_nothing_is_left(place, folder):
    snapshots = Snapshots(place, Limits(max_bytes=4))
    with pytest.raises(TooLarge):
        await snapshots.pin(Pin(folder=folder, whole_folder=True))
    assert _folders(place) == []


async def test_a_full_disk_is_told_and_nothing_is_left(place, folder, monkeypatch):
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="no disk space"):
        await Snapshots(place).pin(Pin(folder=folder, whole_folder=True))
    assert _folders(place) == []


async def test_a_named_file_that_went_away_is_named(place, folder):
    with pytest.raises(InvalidInput, match=r"files: gone\.txt"):
        await Snapshots(place).pin(Pin(folder=folder, files=("gone.txt",)))


async def test_folders_that_are_too_deep_are_left_out_and_told(place, folder):
    deep = folder.joinpath(*(["d"] * 70))
    deep.mkdir(parents=True)
    (deep / "x").write_text("x")
    snapshot = await Snapshots(place).pin(Pin(folder=folder, whole_folder=True))
    (line,) = snapshot.skipped
    assert line.endswith("more than 60 folders deep")


async def test_only_the_first_of_very_many_left_out_are_told(place, folder):
    for index in range(150):
        (folder / f"link{index:03}").symlink_to("/etc/passwd")
    snapshot = await Snapshots(place).pin(Pin(folder=folder, whole_folder=True))
    assert len(snapshot.skipped) == 101
    assert snapshot.skipped[-1] == "… and 50 more"


async def test_names_that_are_no_text_are_kept(place, folder):
    name = os.fsdecode(b"caf\xe9")
    (folder / name).write_text("x")
    snapshots = Snapshots(place)
    snapshot = await snapshots.pin(Pin(folder=folder, whole_folder=True))
    assert (snapshots.path(snapshot.digest) / name).read_text() == "x"


async def test_very_many_files_are_pinned_too(place, folder):
    for index in range(250):
        (folder / f"{index}.txt").write_text(str(index))
    snapshot = await Snapshots(place).pin(Pin(folder=folder, whole_folder=True))
    assert snapshot.files == 252


async def test_what_nothing_needs_is_collected_when_it_is_old(place, folder):
    snapshots = Snapshots(place)
    needed = await snapshots.pin(Pin(folder=folder, files=("nb.ipynb",)))
    old = await snapshots.pin(Pin(folder=folder, files=("data",)))
    young = await snapshots.pin(Pin(folder=folder, whole_folder=True))
    half = place / ".new-0011"
    half.mkdir()
    for path in (snapshots.path(needed.digest).parent, snapshots.path(old.digest).parent, half):
        os.utime(path, (0, 0))
    assert await snapshots.collect({needed.digest}) == 1
    assert {path.name for path in _folders(place)} == {
        digest.removeprefix("sha256:") for digest in (needed.digest, young.digest)
    }


async def test_an_old_snapshot_that_is_pinned_again_is_young_again(place, folder):
    snapshots = Snapshots(place)
    pin = Pin(folder=folder, whole_folder=True)
    first = await snapshots.pin(pin)
    os.utime(snapshots.path(first.digest).parent, (0, 0))
    await snapshots.pin(pin)
    assert await snapshots.collect(set()) == 0


async def test_a_snapshot_keeps_the_spec_that_its_runs_are_made_for(place, folder):
    snapshots = Snapshots(place)
    pin = Pin(folder=folder, files=("nb.ipynb",))
    first = await snapshots.pin(pin, Spec(timeout_seconds=5, tags=("old",)))
    other = await snapshots.pin(pin, Spec(timeout_seconds=9))
    assert first.digest != other.digest
    now = Spec(timeout_seconds=9, tags=("new",))
    assert with_pinned(snapshots.pinned_spec(first.digest), now) == Spec(
        timeout_seconds=5, tags=("new",)
    )


async def test_what_is_no_runs_own_business_is_not_pinned(place, folder):
    hook = Notification(webhook="https://example.org/hook", secret="correct horse")
    snapshot = await Snapshots(place).pin(
        Pin(folder=folder, whole_folder=True), Spec(notify=(hook,))
    )
    assert (
        snapshot.digest
        == (await Snapshots(place).pin(Pin(folder=folder, whole_folder=True), Spec())).digest
    )
    kept = place / snapshot.digest.removeprefix("sha256:") / "spec.json"
    assert "correct horse" not in kept.read_text()


async def test_an_old_snapshot_that_is_held_is_young_again(place, folder):
    snapshots = Snapshots(place)
    snapshot = await snapshots.pin(Pin(folder=folder, whole_folder=True))
    os.utime(snapshots.path(snapshot.digest).parent, (0, 0))
    await snapshots.hold(snapshot.digest)
    assert await snapshots.collect(set()) == 0


async def test_a_snapshot_that_is_gone_cannot_be_held(place):
    with pytest.raises(Conflict, match="Make the job anew"):
        await Snapshots(place).hold("sha256:00")
