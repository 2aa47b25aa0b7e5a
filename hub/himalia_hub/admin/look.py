"""The hub's own templates, rendered by control."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PrefixLoader,
    TemplateNotFound,
)
from jupyterhub import __version__ as hub_version
from jupyterhub._data import DATA_FILES_PATH
from typing_extensions import override

HERE = Path(__file__).parent
HUB_STATIC = Path(DATA_FILES_PATH) / "static"
STATIC = HERE / "static"


class _Nonces(BaseLoader):
    """Lets the inline scripts of templates run, and no others.

    The sources are changed and not what they make, so that nothing a user named gets a nonce.
    """

    def __init__(self, inner: BaseLoader) -> None:
        self._inner = inner

    @override
    def get_source(
        self, environment: Environment, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        source, name, fresh = self._inner.get_source(environment, template)
        return source.replace("<script", '<script nonce="{{ nonce }}"'), name, fresh


class Look:
    """Pages below a service's address, like the hub's; `paths` are its own template folders."""

    def __init__(self, *, base: str, hub: str, paths: Sequence[str] = ()) -> None:
        self._base = base
        """The service's address, which ends with a slash."""
        self._hub = hub
        """The hub's public address, with its host where that is another one."""
        hubs = FileSystemLoader(str(Path(DATA_FILES_PATH) / "templates"))
        ours = [FileSystemLoader(folder) for folder in (*paths, str(HERE / "templates"))]
        # By the prefix, templates of an admin's extend those of the same name that they replace.
        found = ChoiceLoader([PrefixLoader({"templates": hubs}), *ours, hubs])
        self._environment = Environment(loader=_Nonces(found), autoescape=True)
        self.version = _digest(STATIC)
        """Of our own static files; it is part of their address."""

    @property
    def origin(self) -> str:
        """Where the hub is, for the policy of what a page may load; empty on its own origin."""
        return self._hub.rpartition("://")[0] and "/".join(self._hub.split("/")[:3])

    def render(self, template: str, *, nonce: str, user: str | None, **values: Any) -> str:
        """Render one page.

        :raises TemplateNotFound: neither we nor the hub have such a template.
        """
        found = self._environment.get_template(template)
        if found.name is None:
            raise TemplateNotFound(template)
        return found.render(
            nonce=nonce,
            base_url=self._hub,
            prefix=self._base,
            logo_url=None,
            static_url=self._static_url,
            version_hash=hub_version,
            user=_User(user) if user else None,
            login_url=f"{self._hub}login",
            logout_url=f"{self._hub}logout",
            no_spawner_check=True,
            services=[],
            announcement="",
            service=self._base,
            assets=f"{self._base}static/{self.version}/",
            **values,
        )

    def _static_url(self, path: str, include_version: bool = True) -> str:
        version = f"?v={quote(hub_version)}" if include_version else ""
        return f"{self._base}hub/{path}{version}"


class _User:
    """What the hub's templates ask of a user."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def json_escaped_name(self) -> str:
        """The name within a JavaScript string."""
        return html.escape(json.dumps(self.name)[1:-1], quote=False)


def _digest(folder: Path) -> str:
    found = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file():
            found.update(path.name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]
