"""A hub's configuration, as traitlets gives it to JupyterHub's classes."""

from __future__ import annotations

from pathlib import Path

import pytest
from traitlets import Dict, Unicode
from traitlets.config import Config, Configurable

from himalia.core.places import Places
from himalia_hub import configure


class Spawner(Configurable):
    """Takes its settings as JupyterHub's own Spawner does."""

    default_url = Unicode("").tag(config=True)
    environment = Dict().tag(config=True)


def test_sessions_open_jupyterlab() -> None:
    c = Config()
    configure(c)
    assert Spawner(config=c).default_url == "/lab"


def test_what_the_administrator_set_before_stays() -> None:
    c = Config()
    c.Spawner.default_url = "/lab/tree/welcome.ipynb"
    c.Spawner.environment = {"TEAM": "blue"}
    configure(c)
    spawner = Spawner(config=c)
    assert spawner.default_url == "/lab/tree/welcome.ipynb"
    assert spawner.environment["TEAM"] == "blue"


def test_twice_is_as_once() -> None:
    once, twice = Config(), Config()
    configure(once)
    configure(twice)
    configure(twice)
    assert Spawner(config=once).environment == Spawner(config=twice).environment


def test_users_do_not_meet_in_the_hubs_own_state_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    c = Config()
    configure(c)
    homes = []
    for user in ("alice", "bob"):
        monkeypatch.setenv("HIMALIA_HOME", str(tmp_path / "of-the-hub"))
        for name in ("JUPYTER_DATA_DIR", "XDG_DATA_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path / user))
        for name, value in Spawner(config=c).environment.items():
            monkeypatch.setenv(name, value)
        homes.append(Places.of_user().home)
    assert homes[0].is_relative_to(tmp_path / "alice")
    assert homes[1].is_relative_to(tmp_path / "bob")
