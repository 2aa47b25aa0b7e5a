"""The configuration that ``himalia-hub`` runs: what was asked for, around the file of an admin."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from himalia.core.errors import InvalidInput
from himalia_hub.hosts import subdomain_host
from himalia_hub.later import Later
from himalia_hub.readiness import why_not
from himalia_hub.settings import Himalia
from himalia_hub.state import State

SUPERVISOR = "himalia-start"
"""Name of the supervisor among the hub's services."""

_HEAD = """\
# Written by himalia-hub at each start: what is changed here is lost.
c = get_config()
"""
_IN_BIND_URL = ("base_url", "ip", "port")
"""What would say in its own way what the address to listen on says: JupyterHub takes either."""
_TAIL = """
from himalia_hub import configure

configure(c)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was asked for on the command line; None where the file, or a default, decides."""

    config: Path | None = None
    state: str | None = None
    bind_url: str | None = None
    store_url: str | None = None
    python: str | None = None
    is_demo: bool = False
    stops_sessions: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where the hub and its proxy listen, and from which configuration."""

    config: Path
    state: State
    bind_url: str
    hub_url: str
    """Of the hub's own port."""
    api_url: str
    """Where the proxy takes orders."""
    base_url: str
    public_url: str
    """Where browsers find the hub."""
    is_demo: bool
    has_hosts: bool
    """Whether each user has a host of their own."""
    ssl_key: str = ""
    ssl_cert: str = ""
    problem: str | None = None
    """Why users' servers could not start."""


def write(wish: Wish) -> Plan:
    """Write the configuration into the state folder and say what it comes to.

    :raises InvalidInput: there is no such file, or it is broken.
    :raises Unavailable: the state folder cannot be used.
    """
    if wish.config is not None and not wish.config.is_file():
        raise InvalidInput(f"There is no configuration {wish.config}.")
    found = _read(wish.config)
    settings = Himalia(config=found)
    state = State(Path(wish.state).absolute() if wish.state else settings.folder).prepare()
    file = state.data / "jupyterhub_config.py"
    hub_url = f"http://127.0.0.1:{state.port('hub')}"
    api_url = f"http://127.0.0.1:{state.port('proxy-api')}"
    base_url = _base_url(wish, found)
    bind_url = _bind_url(wish, found, base_url)
    forced: dict[str, object] = {
        "JupyterHub.bind_url": bind_url,
        "JupyterHub.hub_bind_url": hub_url,
        "ConfigurableHTTPProxy.should_start": False,
        "ConfigurableHTTPProxy.api_url": api_url,
        "Himalia.config_file": str(file),
        "Himalia.state": str(state.folder),
    }
    forced |= _asked(wish)
    _save(file, _text(wish, forced, state))
    hub = found.JupyterHub
    return Plan(
        config=file,
        state=state,
        bind_url=bind_url,
        hub_url=hub_url,
        api_url=api_url,
        base_url=base_url,
        public_url=_public_url(found, bind_url, base_url),
        is_demo=_is_open(found) and (wish.is_demo or settings.demo),
        has_hosts=bool(hub.get("subdomain_host")),
        ssl_key=str(hub.get("ssl_key", "")),
        ssl_cert=str(hub.get("ssl_cert", "")),
        problem=_problem(found, wish.python or settings.python, is_root=settings.is_root),
    )


def _problem(found: Config, python: str, *, is_root: bool) -> str | None:
    chosen = found.JupyterHub.get("spawner_class")
    if chosen is not None and not isinstance(chosen, Later):
        return None  # Somebody else's spawner has needs of its own.
    return why_not(python, is_root=is_root)


def _is_open(found: Config) -> bool:
    """Tell whether the choice of authenticator was left to `configure`."""
    chosen = found.JupyterHub.get("authenticator_class")
    return chosen is None or isinstance(chosen, Later)


def _asked(wish: Wish) -> dict[str, object]:
    asked: dict[str, object] = {}
    if wish.is_demo:
        asked["Himalia.demo"] = True
    if wish.python:
        asked["Himalia.python"] = wish.python
    if wish.store_url:
        asked["Himalia.store_url"] = wish.store_url
    if wish.stops_sessions:
        asked["JupyterHub.cleanup_servers"] = True
    return asked


def _read(config: Path | None) -> Config:
    """Run the admin's file as JupyterHub will, for what it says of addresses and the state."""
    if config is None:
        return Config()
    try:
        # Without what `configure` derives: that is worked out in the hub.
        found: Config = PyFileConfigLoader(str(config.absolute())).load_config()
    except Exception as error:
        raise InvalidInput(f"{config} is broken: {error!r}.") from error
    return found


def _text(wish: Wish, forced: dict[str, object], state: State) -> str:
    parts = [_HEAD]
    if wish.config is not None:
        path = str(wish.config.absolute())
        parts.append(f"with open({path!r}, encoding='utf-8') as file:\n")
        parts.append(f"    exec(compile(file.read(), {path!r}, 'exec'))\n")
    parts += [f"c.JupyterHub.pop({name!r}, None)\n" for name in _IN_BIND_URL]
    parts += [f"c.{name} = {value!r}\n" for name, value in forced.items()]
    parts.append(_TAIL)
    service = {"name": SUPERVISOR, "api_token": state.secret("start-token"), "display": False}
    role = {"name": SUPERVISOR, "scopes": ["proxy"], "services": [SUPERVISOR]}
    parts.append(f"c.JupyterHub.services.append({service!r})\n")
    parts.append(f"c.JupyterHub.load_roles.append({role!r})\n")
    return "".join(parts)


def _base_url(wish: Wish, found: Config) -> str:
    """Return the path of everything: as it is set, or that of where to listen."""
    hub = found.JupyterHub
    paths = (urlsplit(str(url)).path for url in (wish.bind_url or "", hub.get("bind_url", "")))
    said = (path.strip("/") for path in (str(hub.get("base_url", "")), *paths))
    path = next(filter(None, said), "")
    return f"/{path}/" if path else "/"


def _bind_url(wish: Wish, found: Config, base_url: str) -> str:
    hub = found.JupyterHub
    host = str(hub.get("ip", "127.0.0.1"))
    by_parts = f"http://{f'[{host}]' if ':' in host else host}:{hub.get('port', 8000)}"
    where = urlsplit(str(wish.bind_url or hub.get("bind_url") or by_parts))
    if where.scheme in {"http", "https"}:
        where = where._replace(scheme="https" if hub.get("ssl_cert") else "http")
    return where._replace(path=base_url if base_url != "/" else "").geturl()


def _public_url(found: Config, bind_url: str, base_url: str) -> str:
    """Return the address to open, as far as the configuration tells it."""
    if public := str(found.JupyterHub.get("public_url", "")):
        return public
    if host := subdomain_host(found):
        return f"{host}{base_url}"
    parts = urlsplit(bind_url)
    name = parts.hostname if parts.hostname not in {None, "", "0.0.0.0", "::"} else "127.0.0.1"  # noqa: S104 - compared
    shown = f"[{name}]" if ":" in str(name) else name
    return f"{parts.scheme}://{shown}{f':{parts.port}' if parts.port else ''}{base_url}"


def _save(file: Path, text: str) -> None:
    """Write a file that nobody else reads: it may name a database's password."""
    new = file.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(text)
    new.replace(file)


def proxy_arguments(plan: Plan) -> list[str]:
    """Return what the proxy's command line says; its token goes by the environment."""
    public, api = urlsplit(plan.bind_url), urlsplit(plan.api_url)
    port = public.port or (443 if public.scheme == "https" else 80)
    arguments = [
        *("--ip", public.hostname or "0.0.0.0", "--port", str(port)),  # noqa: S104 - as asked for
        *("--api-ip", str(api.hostname), "--api-port", str(api.port)),
        *("--error-target", f"{plan.hub_url}{plan.base_url}hub/error"),
        *("--log-level", "warn"),
    ]
    if plan.has_hosts:
        arguments.append("--host-routing")
    if plan.ssl_key:
        arguments += ["--ssl-key", plan.ssl_key]
    if plan.ssl_cert:
        arguments += ["--ssl-cert", plan.ssl_cert]
    return arguments
