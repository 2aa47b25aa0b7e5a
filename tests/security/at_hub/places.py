"""What there is to be walked over: the hub, control and a session, from their own tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.servers.visitor import Visitor
from tests.servers.walk import UNSAFE, Row, addresses, recorded

PLACES = {
    "hub": ("-m jupyterhub ", "/hub"),
    "control": ("-m himalia_hub.control", "/services/himalia"),
    "session": ("jupyterhub.singleuser", "/user/alice"),
}
"""What is in the command line, and what all addresses begin with."""

PUBLIC = {
    # The hub: how one gets in and out, whether it is up, and how it looks.
    "LoginHandler",
    "LogoutHandler",
    "HealthCheckHandler",
    "RootAPIHandler",
    "ProxyErrorHandler",
    "LogoHandler",
    "CacheControlStaticFilesHandler",
    # Control: whether it is up, and how its pages look.
    "Live",
    "Ready",
    "_Files",
    # A session: its version, the way out, and the files of JupyterLab itself.
    "JupyterHubLogoutHandler",
    "APIVersionHandler",
    "FileFindHandler",
    "ThemesHandler",
}
"""Handlers that answer everybody: they tell nothing of anybody."""

ONWARD = {
    "AddSlashHandler",
    "TrailingSlashHandler",
    "NotebooksRedirectHandler",
    "PrefixRedirectHandler",
    "RedirectWithParams",
    "RootHandler",
}
"""Handlers that only say which other address was meant."""

FAULTY = {
    # JupyterHub 6.1: a removed method is called with an argument that it does not take; a form
    # that is not one, or comes with a query, is not caught. Nobody gets in by it.
    ("POST", "TokenAPIHandler"),
    ("POST", "OAuthTokenHandler"),
}
"""Routes of others that answer 500 to what is wrong."""

SILENT = {
    # jupyterlab-server 2.28: who has not logged in waits for an answer that never comes.
    "LicensesHandler",
    # jupyter-server 2.21: its robots.txt is set up without a path, and the connection is dropped.
    "PublicStaticFileHandler",
    # Ours: tells of changes for as long as somebody listens, and has tests of its own.
    "ChangesHandler",
}
"""Handlers whose answers do not end, or do not come."""

_FORM = {"username": "walter", "password": "wrong"}

LEAVING = {"LogoutHandler", "JupyterHubLogoutHandler", "ShutdownHandler", "ShutdownAPIHandler"}
"""Handlers after which nobody could walk on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One request of a walk, and its answer."""

    method: str
    path: str
    row: Row
    answer: httpx.Response

    @property
    def status(self) -> int:
        return self.answer.status_code

    @property
    def is_served(self) -> bool:
        """Whether the handler does anything at this method."""
        return self.method in self.row.methods

    def __str__(self) -> str:
        where = self.answer.headers.get("Location", "")
        return f"{self.method} {self.path} ({self.row.handler}): {self.status} {where}"


class Walk:
    """Goes to every address of a place, in the name of somebody."""

    def __init__(self, routes: Path) -> None:
        self._routes = routes

    def addresses(
        self, place: str, values: Mapping[str, str] | None = None, *, name: str = "alice"
    ) -> dict[str, Row]:
        """Return every address of a place, where names of users are `name`."""
        program, prefix = PLACES[place]
        rows = recorded(self._routes, program, prefix)
        found = addresses(rows, {"1": name, "user_name": name, "name": "a/b.txt", **(values or {})})
        return {
            path: row
            for path, row in found.items()
            if (path == prefix or path.startswith(f"{prefix}/")) and row.handler not in SILENT
        }

    async def over(
        self,
        place: str,
        visitor: Visitor,
        methods: Iterable[str],
        *,
        query: str = "",
        name: str = "alice",
        without: Iterable[str] = (),
        **options: Any,
    ) -> AsyncIterator[Step]:
        """Yield every step."""
        left_out = set(without)
        for path, row in self.addresses(place, name=name).items():
            for method in methods:
                if row.handler not in left_out:
                    body = _body(method, row)
                    answer = await visitor.ask(method, path + query, **body, **options)
                    yield Step(method=method, path=path, row=row, answer=answer)


def _body(method: str, row: Row) -> dict[str, Any]:
    """Return what a route takes at least, so that it is not refused for that alone."""
    if method not in UNSAFE:
        return {}
    # JupyterHub's login answers 500 to no form at all.
    return {"data": _FORM} if row.handler == "LoginHandler" else {"json": {}}
