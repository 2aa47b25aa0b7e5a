"""Addresses of servers that are ours alone: one class, whatever is asked of whatever address."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tornado import web
from typing_extensions import override

from himalia import __version__
from himalia.core.errors import MethodNotAllowed, NotFound
from himalia.handlers.base import Api, ApiHandler, addresses, pattern
from himalia.handlers.routes import Route

VERSION_HEADER = "Himalia-Version"
Site = list[tuple[str, type[web.RequestHandler], dict[str, Any]]]


class SiteHandler(ApiHandler):
    """Serves one address: some routes, the OpenAPI document, or nothing at all.

    Who asks is found out before any of it; an address where nothing is tells strangers no more
    than one where something is.
    """

    routes: dict[str, Route]
    is_document: bool

    @override
    def initialize(
        self, api: Api, routes: Sequence[Route] = (), *, is_document: bool = False
    ) -> None:
        super().initialize(api)
        self.routes = {route.method: route for route in routes}
        self.is_document = is_document

    @override
    def set_default_headers(self) -> None:
        self.set_header("Server", "Himalia")
        self.set_header(VERSION_HEADER, __version__)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")

    async def answer(self, route: Route, path: dict[str, str]) -> None:
        """Answer one request to `route`; servers add what they check before."""
        await self.serve(route, path)

    async def _dispatch(self, *_: str, **path: str) -> None:
        method = self.request.method or ""
        if not self.routes and not self.is_document:
            raise NotFound("There is nothing at this address.")
        if self.is_document and method == "GET":
            self.serve_document()
        elif method in self.routes:
            await self.answer(self.routes[method], path)
        else:
            raise MethodNotAllowed(f"{method} is not possible here.")

    get = post = put = patch = delete = head = options = _dispatch


def site(
    routes: Sequence[Route],
    *,
    base: str,
    kind: Callable[[Sequence[Route]], type[SiteHandler]],
    shared: dict[str, Any],
) -> Site:
    """Make every address below `base`: the document's, those of `routes`, and all others.

    `kind` says which class serves the routes of one address; it gets none for the others.
    """
    made: Site = [(f"{base}/openapi.json", kind(()), {**shared, "is_document": True})]
    for path, some in addresses(routes).items():
        made.append((f"{base}/{pattern(path)}", kind(some), {**shared, "routes": some}))
    made.append((f"{base}(?:/.*)?", kind(()), shared))
    return made


def log_nothing(_: web.RequestHandler) -> None:
    """Errors are logged where they happen; ordinary requests are not."""
