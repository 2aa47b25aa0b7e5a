"""A hub's configuration, as JupyterHub's own classes take it from a file."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jupyterhub.app import JupyterHub
from jupyterhub.crypto import CryptKeeper
from jupyterhub.proxy import ConfigurableHTTPProxy
from jupyterhub.spawner import LocalProcessSpawner
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from himalia.core.errors import Unavailable
from himalia.core.places import Places
from himalia.core.team import Notice
from himalia.handlers.routes import table
from himalia.kinds.registry import load_kinds
from himalia_hub.banner import announce
from himalia_hub.roles import RESOURCES, complete, custom_scopes, server_scopes
from himalia_hub.settings import Himalia
from himalia_hub.spawner import HimaliaSpawner
from himalia_hub.state import State


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Read a configuration of these lines, in which `configure` is imported."""

    def run(*lines: str) -> Config:
        file = tmp_path / "jupyterhub_config.py"
        first = ("from himalia_hub import configure", f"c.Himalia.state = {str(tmp_path / 'st')!r}")
        file.write_text("\n".join(("c = get_config()", *first, *lines)))
        return PyFileConfigLoader(str(file)).load_config()

    return run


def of_spawner(c: Config) -> dict[str, str]:
    """Return the environment that a server gets by the configuration alone."""
    return {
        name: value(None) if callable(value) else value
        for name, value in LocalProcessSpawner(config=c).environment.items()
    }


def test_one_call_sets_the_hub_up(read: Any, tmp_path: Path) -> None:
    c = read("configure(c)")
    hub = JupyterHub(config=c)
    assert hub.spawner_class.__name__ == "HimaliaSpawner"
    assert not hub.cleanup_servers
    assert not hub.cleanup_proxy
    assert hub.db_url == f"sqlite:///{tmp_path}/st/data/hub.sqlite"
    assert hub.tornado_settings["cookie_options"] == {"samesite": "Lax"}
    assert len(CryptKeeper(config=c).keys) == 1
    spawner = LocalProcessSpawner(config=c)
    assert spawner.default_url == "/lab"
    assert "--HubAuth.cache_max_age=5" in spawner.args


def test_control_is_a_service_that_the_hub_runs(read: Any, tmp_path: Path) -> None:
    c = read("configure(c)")
    (service,) = JupyterHub(config=c).services
    assert service["name"] == "himalia"
    assert service["command"][-2:] == ["--config", str(tmp_path / "jupyterhub_config.py")]
    assert of_spawner(c)["HIMALIA_CONTROL_URL"] == f"{service['url']}/services/himalia/"
    assert service["oauth_no_confirm"]
    assert set(service["oauth_client_allowed_scopes"]) == {"admin-ui", "custom:himalia:admin"}


def test_what_the_file_set_before_stays(read: Any) -> None:
    c = read(
        "c.JupyterHub.services = [{'name': 'mine', 'api_token': 'x' * 20}]",
        "c.JupyterHub.load_roles = [{'name': 'mine', 'scopes': ['read:hub']}]",
        "c.JupyterHub.custom_scopes = {'custom:mine:all': {'description': 'All.'}}",
        "c.JupyterHub.template_vars = {'announcement': 'Mine.'}",
        "c.JupyterHub.db_url = 'sqlite:///mine.db'",
        "c.JupyterHub.cookie_max_age_days = 1",
        "c.Spawner.default_url = '/lab/tree/welcome.ipynb'",
        "c.Spawner.environment = {'TEAM': 'blue'}",
        "c.Spawner.args.append('--mine')",
        "configure(c)",
    )
    hub = JupyterHub(config=c)
    assert [service["name"] for service in hub.services] == ["mine", "himalia"]
    assert {"mine", "user", "himalia-control"} <= {role["name"] for role in hub.load_roles}
    assert "custom:mine:all" in hub.custom_scopes
    assert hub.template_vars["announcement"] == "Mine."
    assert hub.db_url == "sqlite:///mine.db"
    assert hub.cookie_max_age_days == 1
    spawner = LocalProcessSpawner(config=c)
    assert spawner.default_url == "/lab/tree/welcome.ipynb"
    assert spawner.environment["TEAM"] == "blue"
    assert spawner.args[0] == "--mine"


def test_whatever_it_set_can_be_set_anew_after_it(read: Any) -> None:
    c = read(
        "c.JupyterHub.spawner_class = 'simple'",
        "configure(c)",
        "c.JupyterHub.spawner_class = 'jupyterhub.spawner.SimpleLocalProcessSpawner'",
        "c.JupyterHub.authenticator_class = 'jupyterhub.auth.NullAuthenticator'",
        "c.JupyterHub.services.append({'name': 'late', 'api_token': 'x' * 20})",
        "c.JupyterHub.services += [{'name': 'later', 'api_token': 'x' * 20}]",
        "c.JupyterHub.services = c.JupyterHub.services + [{'name': 'last', 'api_token': 'x' * 20}]",
        "c.JupyterHub.load_roles = []",
        "c.JupyterHub.cleanup_servers = True",
        "c.Spawner.environment['HIMALIA_CONTROL_URL'] = 'http://elsewhere/'",
        "c.Spawner.environment.update({'TEAM': 'blue'})",
        "c.ConfigurableHTTPProxy.auth_token = 'mine'",
    )
    hub = JupyterHub(config=c)
    assert hub.spawner_class.__name__ == "SimpleLocalProcessSpawner"
    assert hub.authenticator_class.__name__ == "NullAuthenticator"
    assert [one["name"] for one in hub.services] == ["late", "later", "last", "himalia"]
    assert hub.load_roles == []
    assert hub.cleanup_servers
    environment = of_spawner(c)
    assert environment["HIMALIA_CONTROL_URL"] == "http://elsewhere/"
    assert environment["TEAM"] == "blue"
    assert ConfigurableHTTPProxy(config=c, app=hub, hub=None).auth_token == "mine"


def test_settings_may_stand_after_the_call(read: Any, tmp_path: Path) -> None:
    c = read(
        "configure(c)",
        f"c.Himalia.state = {str(tmp_path / 'elsewhere')!r}",
        "c.Himalia.demo = True",
        "c.Himalia.group_admins = {'physics': ['alice', '@professors']}",
    )
    hub = JupyterHub(config=c)
    assert hub.authenticator_class.__name__ == "DemoAuthenticator"
    assert hub.cookie_secret_file == str(tmp_path / "elsewhere/secrets/cookie-secret")
    (role,) = (role for role in hub.load_roles if "physics" in role["name"])
    assert "custom:himalia:admin!group=physics" in role["scopes"]
    assert (role["users"], role["groups"]) == (["alice"], ["professors"])
    assert not (tmp_path / "st").exists()


def test_twice_is_as_once(read: Any) -> None:
    once, twice = read("configure(c)"), read("configure(c)", "configure(c)")
    assert JupyterHub(config=once).services == JupyterHub(config=twice).services
    assert JupyterHub(config=once).load_roles == JupyterHub(config=twice).load_roles
    assert LocalProcessSpawner(config=once).args == LocalProcessSpawner(config=twice).args
    assert of_spawner(once) == of_spawner(twice)


def test_reading_a_configuration_touches_nothing(read: Any, tmp_path: Path) -> None:
    read("configure(c)")
    assert not (tmp_path / "st").exists()


def test_cookies_are_bound_to_their_host_where_users_have_one_behind_tls(read: Any) -> None:
    def prefixed(*lines: str) -> bool:
        return bool(JupyterHub(config=read("configure(c)", *lines)).cookie_host_prefix_enabled)

    assert prefixed("c.JupyterHub.subdomain_host = 'https://hub.example.org'")
    # Without a host each, such a cookie would be everybody's; without TLS, browsers drop it.
    assert not prefixed()
    assert not prefixed("c.JupyterHub.subdomain_host = 'http://hub.localhost:8000'")


def test_users_do_not_meet_in_the_hubs_own_state_folder(
    read: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = of_spawner(read("configure(c)"))
    homes = []
    for user in ("alice", "bob"):
        monkeypatch.setenv("HIMALIA_HOME", str(tmp_path / "of-the-hub"))
        for name in ("JUPYTER_DATA_DIR", "XDG_DATA_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path / user))
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        homes.append(Places.of_user().home)
    assert homes[0].is_relative_to(tmp_path / "alice")
    assert homes[1].is_relative_to(tmp_path / "bob")


def test_users_get_every_resource_of_the_interface_and_only_their_own() -> None:
    (user,) = (role for role in complete([], {}) if role["name"] == "user")
    routes = table(load_kinds().values())
    assert {f"himalia:{resource}" for resource in RESOURCES} == {one.resource for one in routes}
    for resource in RESOURCES:
        assert f"custom:himalia:{resource}!user" in user["scopes"]
        assert custom_scopes()[f"custom:himalia:{resource}"]["subscopes"] == [
            f"custom:himalia:{resource}:read"
        ]
    assert not any("admin" in scope for scope in user["scopes"])
    # What the file says of the role is added to, not replaced.
    (own,) = (
        role
        for role in complete([{"name": "user", "scopes": ["self", "shares!user"]}], {})
        if role["name"] == "user"
    )
    assert {"shares!user", "custom:himalia:jobs!user"} <= set(own["scopes"])


def test_a_servers_token_is_no_more_than_a_session_needs() -> None:
    assert {scope.partition("!")[2] for scope in server_scopes()} == {"user", "server"}
    assert not any("admin" in scope or scope == "tokens!" for scope in server_scopes())


@pytest.mark.parametrize("group", ["a", "Physics & Friends", "ß" * 80, "--", "x" * 300])
def test_roles_of_group_admins_have_names_that_jupyterhub_takes(group: str) -> None:
    role = complete([], {group: ["alice"]})[-1]
    assert re.fullmatch(r"[a-z][a-z0-9\-_~.]{1,253}[a-z0-9]", role["name"])
    others = {complete([], {other: []})[-1]["name"] for other in ("a b", "a-b", "A-B", "a--b")}
    assert len(others) == 4


def test_secrets_are_made_once_and_nobody_else_reads_them(tmp_path: Path) -> None:
    state = State(tmp_path / "st")
    first = state.secret("control-token")
    assert State(tmp_path / "st").secret("control-token") == first
    assert len({state.secret(name) for name in ("control-token", "proxy-token", "crypt-key")}) == 3
    assert stat.S_IMODE((state.secrets / "control-token").stat().st_mode) == 0o600
    assert stat.S_IMODE(state.secrets.stat().st_mode) == 0o700
    assert stat.S_IMODE(state.data.stat().st_mode) == 0o700
    assert stat.S_IMODE(state.folder.stat().st_mode) == 0o711
    (state.secrets / "control-token").chmod(0o644)
    with pytest.raises(Unavailable, match="may be read by others"):
        state.secret("control-token")


def test_a_state_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "st").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match=r"c\.Himalia\.state"):
        State(tmp_path / "st").prepare()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_ports_are_chosen_once(tmp_path: Path) -> None:
    assert State(tmp_path).port("control") == State(tmp_path).port("control")


def test_the_banner_is_shown_as_text_and_goes_when_it_is_taken_away(
    read: Any, tmp_path: Path
) -> None:
    c = read("configure(c)")
    show = JupyterHub(config=c).template_vars["announcement"]
    assert show(None) == ""
    state = State(tmp_path / "st").prepare()
    announce(state, Notice(banner="<b>Tonight</b>", is_draining=True))
    assert show(None).startswith("&lt;b&gt;Tonight&lt;/b&gt;<br>Nothing new starts")
    announce(state, Notice())
    assert show(None) == ""
    announce(state, Notice(banner="Back."))
    os.truncate(state.notice, 3)
    assert show(None) == ""


def test_a_wrong_database_is_refused_without_showing_its_password() -> None:
    with pytest.raises(ValueError, match="postgresql://") as caught:
        Himalia(store_url="mysql://me:secret@host/db")
    assert "secret" not in str(caught.value)


def test_all_spawners_go_by_the_same_settings() -> None:
    c = Config()
    c.Himalia.python = "/opt/some/bin/python"
    first, second = HimaliaSpawner(config=c), HimaliaSpawner(config=c)
    assert first.himalia is second.himalia
    assert first.himalia.python == "/opt/some/bin/python"
    assert HimaliaSpawner(config=Config()).himalia.python != "/opt/some/bin/python"


def test_a_hub_remembers_few_sets_of_scopes() -> None:
    """JupyterHub's own thousand of each kind were a third of the memory of a busy hub."""
    code = (
        "import gc; from jupyterhub.app import JupyterHub; from traitlets.config import Config\n"
        "from jupyterhub._memoize import LRUCache; from himalia_hub import configure\n"
        "kept = [one for one in gc.get_objects() if isinstance(one, LRUCache)]\n"
        "configure(Config())\n"
        "print(len(kept), max(one.maxsize for one in kept))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    kinds, most = map(int, done.stdout.split())
    assert kinds > 5
    assert most == 128
