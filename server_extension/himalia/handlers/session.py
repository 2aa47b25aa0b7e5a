"""The routes in a Jupyter server: its login, its authorizer, its XSRF check."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import authorized as _authorized
from jupyter_server.base.handlers import APIHandler
from tornado import web
from typing_extensions import override

from himalia.core.errors import Forbidden, MethodNotAllowed, NotFound, Unauthenticated
from himalia.core.names import user_name
from himalia.core.service import Caller
from himalia.handlers.base import Api, ApiHandler, addresses, pattern
from himalia.handlers.routes import Route

_OF_JUPYTER = frozenset({"token", "_xsrf", "no_track_activity"})
_ACTIONS = {"GET": "read", "POST": "write", "PUT": "write", "PATCH": "write", "DELETE": "write"}
_PREFIX = "/himalia/api"
_Method = Callable[..., Awaitable[None]]


def _guarded(action: str, resource: str) -> Callable[[_Method], _Method]:
    """Let in whom Jupyter's login knows and its authorizer allows."""

    def decorate(method: _Method) -> _Method:
        made: _Method = web.authenticated(_authorized(action=action, resource=resource)(method))  # type: ignore[assignment]
        return made

    return decorate


class SessionHandler(ApiHandler, APIHandler):
    """Serves one address to whom Jupyter lets in."""

    root: Path
    auth_resource = "himalia:service"

    @override
    def initialize(self, api: Api, root: Path) -> None:  # type: ignore[override]
        super().initialize(api)
        self.root = root

    @override
    async def prepare(self) -> None:  # type: ignore[override]
        await super().prepare()
        site = self.request.headers.get("Sec-Fetch-Site", "none")
        embeds = self.request.headers.get("Sec-Fetch-Mode", "navigate") != "navigate"
        if site in ("cross-site", "same-site") and embeds and not self.token_authenticated:
            raise Forbidden("Pages of other sites may not read this.")

    @override
    def caller(self) -> Caller:
        return Caller(owner=user_name(), root=self.root)

    @override
    def query(self) -> Mapping[str, Sequence[bytes]]:
        """Leave out what means something to Jupyter, and the number that JupyterLab adds to
        every address against caches.
        """
        return {
            name: values
            for name, values in self.request.query_arguments.items()
            if name not in _OF_JUPYTER and not (name.isdecimal() and values == [b""])
        }

    @override
    def end(self, content: bytes, media_type: str) -> None:
        self.finish(content, set_content_type=media_type)

    @override
    def get_login_url(self) -> str:
        raise Unauthenticated("Log in to the Jupyter server, or send its token.")

    @override
    def write_error(self, status_code: int, **kwargs: Any) -> None:
        ApiHandler.write_error(self, status_code, **kwargs)

    @override
    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        ApiHandler.log_exception(self, typ, value, tb)


class Elsewhere(SessionHandler):
    """Any other address below ours."""

    @_guarded("read", "himalia:service")
    async def _refuse(self, *_: str) -> None:
        raise NotFound("There is nothing at this address.")

    get = post = put = patch = delete = head = _refuse


class DocumentHandler(SessionHandler):
    """The OpenAPI document."""

    @_guarded("read", "himalia:service")
    async def get(self) -> None:
        """Send it."""
        self.serve_document()

    @_guarded("read", "himalia:service")
    async def _refuse(self) -> None:
        raise MethodNotAllowed(f"{self.request.method} is not possible here.")

    post = put = patch = delete = head = _refuse


def session_handlers(
    routes: Sequence[Route], api: Api, *, root: Path
) -> list[tuple[str, type[web.RequestHandler], dict[str, Any]]]:
    """Make the handlers of every route, below a Jupyter server's base address."""
    shared = {"api": api, "root": root}
    made: list[tuple[str, type[web.RequestHandler], dict[str, Any]]] = [
        (f"{_PREFIX}/openapi.json", DocumentHandler, shared)
    ]
    for path, some in addresses(routes).items():
        made.append((f"{_PREFIX}/{pattern(path)}", _handler(some), shared))
    made.append((f"{_PREFIX}(?:/.*)?", Elsewhere, shared))
    return made


def _handler(routes: Sequence[Route]) -> type[SessionHandler]:
    """Make the class for one address.

    One a path: what a decorator of Jupyter's is not told, it keeps from its first request.
    """
    methods: dict[str, Any] = {route.method.lower(): _method(route) for route in routes}
    for other in {"get", "post", "put", "patch", "delete", "head"} - methods.keys():
        methods[other] = _not_allowed(routes[0].resource)
    name = "".join(part.strip("{}").capitalize() for part in routes[0].path.split("/"))
    attributes = {**methods, "auth_resource": routes[0].resource, "__doc__": routes[0].path}
    return type(f"{name}Handler", (SessionHandler,), attributes)


def _method(route: Route) -> _Method:
    @_guarded(_ACTIONS[route.method], route.resource)
    async def method(self: SessionHandler, **path: str) -> None:
        await self.serve(route, path)

    return method


def _not_allowed(resource: str) -> _Method:
    @_guarded("read", resource)
    async def method(self: SessionHandler, **_: str) -> None:
        raise MethodNotAllowed(f"{self.request.method} is not possible here.")

    return method
