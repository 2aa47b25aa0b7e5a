"""A server that starts although nothing can be written to the home."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from himalia.core.homes import RESCUED
from himalia.homes import start
from himalia.homes.start import PAGE, WHY, lead_to, rescue, trouble


def test_a_home_that_can_be_written_to_is_left_as_it_was(tmp_path: Path) -> None:
    assert trouble(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert trouble(tmp_path / "away") == os.strerror(errno.ENOENT)


def test_a_home_that_fills_up_while_it_is_tried_is_told_and_left_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sync(_handle: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    # A server of files with quotas says so at this moment.
    monkeypatch.setattr(start.os, "fsync", sync)
    assert trouble(tmp_path) == os.strerror(errno.EDQUOT)
    assert list(tmp_path.iterdir()) == []


def test_a_rescued_server_writes_nothing_to_the_home_and_still_shows_it() -> None:
    before = {
        "HOME": "/home/jovyan",
        "PATH": "/bin",
        "JUPYTER_CONFIG_DIR": "/home/jovyan/.jupyter",
        "XDG_CACHE_HOME": "/home/jovyan/.cache",
        "JUPYTERHUB_DEFAULT_URL": "/lab",
    }
    after = rescue(before, Path("/home/jovyan"), Path("/tmp/x"), "No space left on device")
    assert after == {
        "HOME": "/tmp/x",
        "PATH": "/bin",
        "JUPYTER_RUNTIME_DIR": "/tmp/x/runtime",
        "JUPYTERHUB_ROOT_DIR": "/home/jovyan",
        "JUPYTERHUB_DEFAULT_URL": PAGE,
        RESCUED: "/home/jovyan",
        WHY: "No space left on device",
    }
    told = rescue({**before, "JUPYTERHUB_ROOT_DIR": "~/work"}, Path("/home/j"), Path("/tmp/x"), "")
    assert told["JUPYTERHUB_ROOT_DIR"] == "/home/j/work"


def test_a_link_leads_to_what_lies_beside_the_home_while_that_is_there(tmp_path: Path) -> None:
    place, link = tmp_path / "place", tmp_path / "link"
    lead_to(place, link)
    assert not link.is_symlink()
    place.mkdir()
    lead_to(place, link)
    lead_to(place, link)
    assert link.readlink() == place
    place.rmdir()
    lead_to(place, link)
    assert not link.is_symlink()
    # What the user called so is the user's.
    link.write_text("mine")
    place.mkdir()
    lead_to(place, link)
    assert link.read_text() == "mine"
