"""Threats 39 and 40: a snapshot follows no link out of its folder and waits for nothing."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest
import pytest_asyncio

from himalia.core.snapshots import Snapshots
from himalia.kinds.base import Pin

pytestmark = pytest.mark.asyncio

SECRET = "alice's secret"


@pytest_asyncio.fixture
async def snapshots(tmp_path) -> Snapshots:
    (tmp_path / "home" / "snapshots").mkdir(parents=True)
    return Snapshots(tmp_path / "home" / "snapshots")


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "s.txt").write_text(SECRET)
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    return folder


def _texts(path: Path) -> dict[str, str]:
    return {
        str(file.relative_to(path)): file.read_text() for file in path.rglob("*") if file.is_file()
    }


async def test_039_links_out_of_the_folder_are_left_out_and_told(snapshots, folder):
    (folder / "file").symlink_to("../secret/s.txt")
    (folder / "folder").symlink_to("../secret")
    (folder / "environ").symlink_to("/proc/self/environ")
    (folder / "dangling").symlink_to("nowhere")
    snapshot = await snapshots.pin(Pin(folder=folder, whole_folder=True))
    assert _texts(snapshots.path(snapshot.digest)) == {"mine.txt": "mine"}
    assert [line.split(":")[0] for line in snapshot.skipped] == [
        "dangling",
        "environ",
        "file",
        "folder",
    ]


async def test_039_links_inside_the_folder_are_taken_as_what_they_lead_to(snapshots, folder):
    (folder / "inner").mkdir()
    (folder / "inner" / "link.txt").symlink_to("../mine.txt")
    (folder / "inner" / "up").symlink_to("..")
    snapshot = await snapshots.pin(Pin(folder=folder, whole_folder=True))
    files = snapshots.path(snapshot.digest)
    assert _texts(files) == {"mine.txt": "mine", "inner/link.txt": "mine"}
    assert not any(path.is_symlink() for path in files.rglob("*"))
    assert snapshot.skipped == ("inner/up: a link to a folder that it lies in",)


async def test_039_a_named_link_may_lead_anywhere_below_the_root_but_not_out(snapshots, folder):
    (folder / "link").symlink_to("../secret/s.txt")
    root = folder.parent
    taken = await snapshots.pin(Pin(folder=folder, files=("link",), root=root))
    assert _texts(snapshots.path(taken.digest)) == {"link": SECRET}
    with pytest.raises(Exception, match="leads outside"):
        await snapshots.pin(Pin(folder=folder, files=("link",), root=folder))


async def test_039_links_swapped_in_while_the_copy_runs_are_never_followed(snapshots, folder):
    """A thread swaps a folder and a file for links to the secret, over and over."""
    victim, away = folder / "victim", folder.parent / "away"
    victim.mkdir()
    (victim / "s.txt").write_text("harmless")
    (folder / "z.txt").write_text("harmless")
    is_over = threading.Event()

    def swap() -> None:
        while not is_over.is_set():
            victim.rename(away)
            victim.symlink_to("../secret")
            victim.unlink()
            away.rename(victim)
            (folder / "new").symlink_to("../secret/s.txt")
            (folder / "new").replace(folder / "z.txt")
            (folder / "new").write_text("harmless")
            (folder / "new").replace(folder / "z.txt")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(60):
            snapshot = await snapshots.pin(Pin(folder=folder, whole_folder=True))
            assert SECRET not in _texts(snapshots.path(snapshot.digest)).values()
    finally:
        is_over.set()
        thread.join()


async def test_040_pipes_sockets_and_devices_are_left_out_and_told(snapshots, folder):
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket"))
        snapshot = await snapshots.pin(Pin(folder=folder, whole_folder=True))
    assert _texts(snapshots.path(snapshot.digest)) == {"mine.txt": "mine"}
    assert [line.split(":")[0] for line in snapshot.skipped] == ["pipe", "socket"]


async def test_040_a_hard_link_is_copied_so_that_changes_do_not_reach_the_snapshot(
    snapshots, folder
):
    os.link(folder / "mine.txt", folder / "twin.txt")
    snapshot = await snapshots.pin(Pin(folder=folder, whole_folder=True))
    (folder / "mine.txt").write_text("changed")
    files = snapshots.path(snapshot.digest)
    assert _texts(files) == {"mine.txt": "mine", "twin.txt": "mine"}


async def test_040_the_platforms_own_folder_is_not_taken_into_itself(snapshots, tmp_path, folder):
    (tmp_path / "a.txt").write_text("a")
    snapshot = await snapshots.pin(Pin(folder=tmp_path, whole_folder=True))
    assert not any(name.startswith("home/") for name in _texts(snapshots.path(snapshot.digest)))
    assert "home: Himalia's own files" in snapshot.skipped
