"""The extension in its server: found, light, and set by traits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import himalia
from himalia.quiet import silence
from tests.servers.patience import PATIENCE_SECONDS

_LOADS = """
import sys
import jupyter_server.serverapp
before = set(sys.modules)
from himalia import _jupyter_server_extension_points
print(_jupyter_server_extension_points()[0]["app"].name)
print(*sorted(set(sys.modules) - before))
"""


def test_jupyter_finds_the_extension_and_the_panel():
    (point,) = himalia._jupyter_server_extension_points()
    assert (point["module"], point["app"].name) == ("himalia.extension", "himalia")
    assert himalia._jupyter_labextension_paths() == [
        {"src": "labextension", "dest": "@himalia/lab"}
    ]


def test_the_shipped_configuration_enables_it():
    shipped = Path(himalia.__file__).parent.parent / "jupyter-config/himalia.json"
    said = json.loads(shipped.read_text())
    assert said == {"ServerApp": {"jpserver_extensions": {"himalia": True}}}


def test_a_server_whose_user_runs_no_jobs_loads_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-c", _LOADS],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_SECONDS,
    )
    name, loaded = done.stdout.splitlines()
    assert name == "himalia"
    heavy = {"httpx", "sqlalchemy", "nbconvert", "nbclient", "ipykernel", "IPython", "alembic"}
    tops = {module.partition(".")[0] for module in loaded.split()}
    assert not tops & heavy
    assert not {"himalia.remote", "himalia.store", "himalia.backends"} & set(loaded.split())


@pytest.mark.parametrize("chosen", [True, False])
def test_the_state_folder_can_be_chosen(
    jp_configurable_serverapp, jp_server_config, tmp_path, control_home, chosen
):
    if chosen:
        jp_server_config["HimaliaExtension"] = {"home": str(tmp_path / "chosen")}
    app = jp_configurable_serverapp(config=jp_server_config)
    (extension,) = app.extension_manager.extension_apps["himalia"]
    assert extension._places().home == (tmp_path / "chosen" if chosen else control_home)


def test_every_setting_of_the_extension_is_explained():
    (point,) = himalia._jupyter_server_extension_points()
    own = point["app"].class_own_traits(config=True)
    assert set(own) == {"announcements", "home", "report_seconds"}
    assert all(trait.help.strip() for trait in own.values())


def test_news_are_left_out_of_pages_beside_what_other_extensions_say_of_them():
    settings: dict[str, Any] = {"page_config_hook": lambda _, page: {**page, "y": 2}}
    silence(settings)
    page = settings["page_config_hook"](None, {"disabledExtensions": ["others"]})
    news = "@jupyterlab/apputils-extension:announcements"
    assert page == {"disabledExtensions": ["others", news], "y": 2}
