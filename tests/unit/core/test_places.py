"""Places: where the state of one user lies."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from himalia.core.errors import Unavailable
from himalia.core.places import Places


def test_the_home_is_himalia_home_where_that_is_set(tmp_path, monkeypatch):
    monkeypatch.setenv("HIMALIA_HOME", str(tmp_path / "state"))
    assert Places.of_user().home == tmp_path / "state"


def test_without_it_the_home_is_in_jupyters_data_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("HIMALIA_HOME", raising=False)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path))
    assert Places.of_user().home == tmp_path / "himalia"


def test_looking_up_places_touches_nothing(tmp_path):
    assert Places(home=tmp_path / "state").socket
    assert list(tmp_path.iterdir()) == []


def test_the_folders_are_for_their_owner_alone(tmp_path):
    (tmp_path / "state").mkdir(mode=0o755)
    places = Places(home=tmp_path / "state").prepare()
    for folder in (places.home, places.snapshots, places.runs):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    home = tmp_path / "state"
    home.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: home.stat().st_uid + 1)
    with pytest.raises(Unavailable, match="belongs to another user"):
        Places(home=home).prepare()


def test_a_home_that_is_a_file_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "state").write_text("")
    with pytest.raises(Unavailable, match="HIMALIA_HOME"):
        Places(home=tmp_path / "state").prepare()


def test_the_socket_lies_in_the_home_where_the_path_is_short():
    assert Places(home=Path("/srv/state")).socket == Path("/srv/state/control.sock")


def test_a_long_home_has_a_socket_elsewhere_always_the_same_one():
    deep = Path("/", *("folder" for _ in range(30)))
    socket = Places(home=deep).socket
    assert len(os.fsencode(socket)) < 100
    assert socket == Places(home=deep).socket
    assert socket != Places(home=deep / "other").socket
