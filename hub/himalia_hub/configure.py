"""One call in ``jupyterhub_config.py`` that gives a hub's users Himalia."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Self

from traitlets.config import Config

from himalia_hub import departure, discretion, entrance, hosts, roles
from himalia_hub.banner import Banner
from himalia_hub.kubernetes.settings import Kubernetes
from himalia_hub.later import Later, LaterList, entries_of, items_of
from himalia_hub.readiness import warn_of
from himalia_hub.settings import Himalia
from himalia_hub.state import State

_COOKIE_DAYS = 7.0
_KEEP = Path(__file__).with_name("keep.py")
_TOKEN_CACHE_SECONDS = 5
"""How long a session may go by what the hub said of a token; ours within 10 s in all."""
_OPENER = "Cross-Origin-Opener-Policy"
_START_SECONDS = 120
"""For a server on a busy machine; one that ends before says so at once."""
_POD_SECONDS = 600
"""For a pod that waits for another machine, or for its image; what it waits for is shown."""
_PROXY_CHECK_SECONDS = 1
"""How often the hub looks whether a proxy of its own still runs."""


def configure(c: Config) -> None:
    """Set up authenticator, spawner, roles, control and security of a JupyterHub.

    Call it as ``configure(c)`` in ``jupyterhub_config.py``. What the file set before stays, and
    whatever this sets can be set anew after it; ``c.Himalia.…`` may stand before or after.
    Calling it twice is as once.
    """
    if isinstance(c.JupyterHub.get("services"), LaterList):
        return
    file = sys._getframe(1).f_globals.get("__file__", "jupyterhub_config.py")  # noqa: SLF001
    discretion.keep()
    departure.guard()
    entrance.furnish()
    _set_hub(c, Path(file).absolute())
    _set_security(c)
    _set_spawner(c)


def _set_hub(c: Config, file: Path) -> None:
    hub = c.JupyterHub
    _first(hub, "spawner_class", Later(c, _spawner))
    _first(hub, "authenticator_class", Later(c, _authenticator))
    # Sessions and the proxy outlive the hub's process, so that restarting it interrupts nobody.
    _first(hub, "cleanup_servers", False)
    _first(hub, "cleanup_proxy", False)
    _first(hub, "db_url", Later(c, lambda its, _: f"sqlite:///{_state(its).data}/hub.sqlite"))
    pid_file = Later(c, lambda its, _: str(_state(its).data / "proxy.pid"))
    _first(c.ConfigurableHTTPProxy, "pid_file", pid_file)
    _first(c.ConfigurableHTTPProxy, "check_running_interval", _PROXY_CHECK_SECONDS)
    # A pod of its own.
    proxy_starts = Later(c, lambda its, _: None if its.is_machine else False)
    _first(c.ConfigurableHTTPProxy, "should_start", proxy_starts)
    # With certificates, parts of a hub in a cluster take nobody without one.
    _first(hub, "proxy_class", Later(c, _proxy))
    _first(c.JupyterHubHTTPClient, "connector_options", Later(c, _connector))
    hub.custom_scopes = roles.custom_scopes() | entries_of(hub.custom_scopes)
    hub.template_vars = {"announcement": Banner(c)} | entries_of(hub.template_vars)
    hub.template_paths = [*items_of(hub.template_paths), str(hosts.TEMPLATES)]
    hub.load_roles = LaterList(
        items_of(hub.load_roles), c, lambda some, its: roles.complete(some, its.group_admins)
    )
    hub.services = LaterList(
        items_of(hub.services), c, lambda some, its: [*some, *_services(some, its, c, file)]
    )


def _set_security(c: Config) -> None:
    hub = c.JupyterHub
    _first(hub, "cookie_secret_file", Later(c, lambda its, _: _cookie_secret(its)))
    _first(hub, "cookie_secret", Later(c, lambda its, _: _given_cookie_secret(its)))
    _first(hub, "cookie_max_age_days", _COOKIE_DAYS)
    # Bound to one host each: a sibling's page can neither set nor read them.
    _first(hub, "cookie_host_prefix_enabled", Later(c, lambda _, its: hosts.has_own_https(its)))
    _first(c.CryptKeeper, "keys", Later(c, lambda its, _: [_key(its)]))
    proxy_token = Later(c, lambda its, _: _state(its).secret("proxy-token"))
    _first(c.ConfigurableHTTPProxy, "auth_token", proxy_token)
    settings = entries_of(hub.tornado_settings)
    settings["cookie_options"] = {"samesite": "Lax"} | settings.get("cookie_options", {})
    # A page that opens one of the hub's gets no hold of it.
    settings["headers"] = {_OPENER: "same-origin"} | settings.get("headers", {})
    hub.tornado_settings = settings


def _set_spawner(c: Config) -> None:
    _first(c.Spawner, "default_url", "/lab")
    seconds = Later(c, lambda its, _: _START_SECONDS if its.is_machine else _POD_SECONDS)
    _first(c.Spawner, "start_timeout", seconds)
    _first(c.Spawner, "server_token_scopes", roles.server_scopes())
    ours = {
        # A state folder in the hub's own environment would be handed to every session, so that
        # all users met at one control; an empty name means the default, in each user's home.
        "HIMALIA_HOME": "",
        "HIMALIA_CONTROL_URL": ControlUrl(c),
    }
    c.Spawner.environment = ours | entries_of(c.Spawner.environment)
    arguments = items_of(c.Spawner.args)
    if not any("cache_max_age" in argument for argument in arguments):
        arguments.append(f"--HubAuth.cache_max_age={_TOKEN_CACHE_SECONDS}")
    c.Spawner.args = arguments


class ControlUrl:
    """Where sessions find control; JupyterHub asks for each server that it starts."""

    def __init__(self, c: Config) -> None:
        self._c = c
        self._url = ""

    def __call__(self, _: object) -> str:
        """Return the address: on this machine, or in the cluster."""
        if not self._url:
            origin = _control_origin(Himalia(config=self._c), self._c)
            self._url = f"{origin}/services/{roles.SERVICE}/"
        return self._url

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # A copy would go by a copy of the file's configuration.
        return self


def _first(section: Config, name: str, value: object) -> None:
    """Set a trait that the file has not set."""
    if name not in section:
        section[name] = value


def _state(settings: Himalia) -> State:
    return State.of(settings).prepare()


def _spawner(settings: Himalia, c: Config) -> str:
    hosts.warn_of(c)
    if not settings.is_machine:
        return "himalia_hub.kubernetes.spawner.HimaliaKubeSpawner"
    warn_of(settings)
    return "himalia_hub.spawner.HimaliaSpawner"


def _authenticator(settings: Himalia, _: Config) -> str | None:
    if settings.oidc_issuer:
        return "himalia_hub.identity.authenticator.OidcAuthenticator"
    return "himalia_hub.demo.DemoAuthenticator" if settings.demo else None


def _control_origin(settings: Himalia, c: Config) -> str:
    if not settings.is_machine:
        return str(Kubernetes(config=c).control_url).rstrip("/")
    return f"http://127.0.0.1:{_state(settings).port('control')}"


def _parts_origin(c: Config) -> str:
    return str(Kubernetes(config=c).control_parts_url).rstrip("/")


def _tls_folder(settings: Himalia, c: Config) -> str:
    return "" if settings.is_machine else str(Kubernetes(config=c).tls_folder)


def _proxy(settings: Himalia, c: Config) -> str | None:
    return "himalia_hub.kubernetes.proxy.InnerTlsProxy" if _tls_folder(settings, c) else None


def _connector(settings: Himalia, c: Config) -> dict[str, Any] | None:
    """Return what the hub asks its proxy and control with."""
    if not _tls_folder(settings, c):
        return None
    from himalia_hub.kubernetes.inner_tls import client_of  # noqa: PLC0415 - a cluster's alone

    return {"ssl": client_of(Kubernetes(config=c))}


def _services(some: list[Any], settings: Himalia, c: Config, file: Path) -> list[dict[str, Any]]:
    if any(service.get("name") == roles.SERVICE for service in some):
        return []
    origin = _control_origin(settings, c)
    service = {
        "name": roles.SERVICE,
        "url": origin if settings.is_machine else _parts_origin(c),
        "api_token": _state(settings).secret("control-token"),
        "oauth_no_confirm": True,
        "oauth_client_allowed_scopes": [roles.HUB_ADMIN, roles.ADMIN],
    }
    if settings.is_machine:
        config = settings.config_file or str(file)
        control = [sys.executable, "-m", "himalia_hub.control", "--config", config]
        service |= {
            # JupyterHub looks after its services every half minute; this does at once.
            # By its path, and without what is installed: a module would bring all of this package
            # with it into memory.
            "command": [sys.executable, "-I", "-S", str(_KEEP), "--", *control],
        }
    return [service]


def _cookie_secret(settings: Himalia) -> str | None:
    if settings.secrets:
        return None
    state = _state(settings)
    state.secret("cookie-secret")
    return str(state.secrets / "cookie-secret")


def _given_cookie_secret(settings: Himalia) -> bytes | None:
    return bytes.fromhex(_state(settings).secret("cookie-secret")) if settings.secrets else None


def _key(settings: Himalia) -> bytes:
    return bytes.fromhex(_state(settings).secret("crypt-key"))
