"""A hub's configuration with ``platform = "kubernetes"``, as JupyterHub's own classes take it."""

from __future__ import annotations

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
from himalia_hub.settings import Himalia
from himalia_hub.state import State

SECRETS = ("cookie-secret", "crypt-key", "proxy-token", "control-token", "namespaces-token")


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A folder as Kubernetes mounts it: others may read it, and nobody may write."""
    folder = tmp_path / "secrets"
    folder.mkdir()
    for number, name in enumerate(SECRETS):
        (folder / name).write_text(f"{number:064x}")
        (folder / name).chmod(0o444)
    return folder


@pytest.fixture
def c(tmp_path: Path, secrets: Path) -> Config:
    """What the file says that the chart writes."""
    file = tmp_path / "jupyterhub_config.py"
    lines = (
        "c = get_config()",
        "from himalia_hub import configure",
        "configure(c)",
        'c.Himalia.platform = "kubernetes"',
        f"c.Himalia.state = {str(tmp_path / 'state')!r}",
        f"c.Himalia.secrets = {str(secrets)!r}",
        'c.Kubernetes.release_namespace = "jhub"',
    )
    file.write_text("\n".join(lines))
    return PyFileConfigLoader(str(file)).load_config()


def test_sessions_are_pods_and_control_and_proxy_run_elsewhere(c: Config) -> None:
    hub = JupyterHub(config=c)
    assert hub.spawner_class.__name__ == "HimaliaKubeSpawner"
    (service,) = hub.services
    assert service["url"] == "http://control.jhub:8300"
    assert "command" not in service
    assert service["api_token"] == f"{3:064x}"
    spawner = LocalProcessSpawner(config=c)
    found: Any = spawner.environment["HIMALIA_CONTROL_URL"]
    assert found(None) == "http://control.jhub:8300/services/himalia/"
    assert spawner.start_timeout == 600
    proxy = ConfigurableHTTPProxy(config=c, app=hub, hub=None)
    assert not proxy.should_start
    assert proxy.auth_token == f"{2:064x}"


def test_secrets_come_from_where_they_are_mounted(c: Config, tmp_path: Path) -> None:
    hub = JupyterHub(config=c)
    # A file of them would have to be the hub's alone; this one is not its own.
    assert hub.cookie_secret == bytes.fromhex(f"{0:064x}")
    assert CryptKeeper(config=c).keys == [bytes.fromhex(f"{1:064x}")]
    state = State.of(Himalia(config=c)).prepare()
    assert not (tmp_path / "state/secrets").exists()
    assert state.data.is_dir()


def test_a_secret_that_was_not_given_is_named_and_not_made(c: Config, secrets: Path) -> None:
    state = State.of(Himalia(config=c))
    with pytest.raises(Unavailable, match="control-cookies"):
        state.secret("control-cookies")
    (secrets / "short").write_text("1234")
    with pytest.raises(Unavailable, match="shorter than 32"):
        state.secret("short")
