"""The routes over control's Unix socket: the system says who asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tornado import httputil, web
from typing_extensions import override

from himalia import __version__
from himalia.core.errors import MethodNotAllowed, NotFound
from himalia.core.service import Caller
from himalia.handlers.base import Api, ApiHandler, addresses, pattern
from himalia.handlers.decoding import ROOT_HEADER, decode_root
from himalia.handlers.routes import Route

PREFIX = "/himalia/api"
VERSION_HEADER = "Himalia-Version"
Identify = Callable[[httputil.HTTPServerRequest], str]
"""Gives the owner that a request comes from (:raises Forbidden: nobody we serve)."""


class ControlHandler(ApiHandler):
    """Serves one address to processes of the user that control runs as."""

    identify: Identify
    owner: str
    routes: dict[str, Route]

    @override
    def initialize(  # type: ignore[override]
        self, api: Api, identify: Identify, routes: Sequence[Route] = ()
    ) -> None:
        super().initialize(api)
        self.identify = identify
        self.routes = {route.method: route for route in routes}

    @override
    def set_default_headers(self) -> None:
        self.set_header("Server", "Himalia")
        self.set_header(VERSION_HEADER, __version__)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")

    @override
    def prepare(self) -> None:
        self.owner = self.identify(self.request)

    @override
    def caller(self) -> Caller:
        sent = self.request.headers.get(ROOT_HEADER, "/")
        return Caller(owner=self.owner, root=decode_root(sent))

    async def _answer(self, **path: str) -> None:
        route = self.routes.get(self.request.method or "")
        if route is None:
            raise MethodNotAllowed(f"{self.request.method} is not possible here.")
        await self.serve(route, path)

    get = post = put = patch = delete = head = options = _answer


class ControlDocumentHandler(ControlHandler):
    """The OpenAPI document."""

    @override
    async def _answer(self, **path: str) -> None:
        if self.request.method != "GET":
            raise MethodNotAllowed(f"{self.request.method} is not possible here.")
        self.serve_document()

    get = post = put = patch = delete = head = options = _answer


class ControlElsewhere(ControlHandler):
    """Any other address."""

    @override
    async def _answer(self, *_: str, **path: str) -> None:
        raise NotFound("There is nothing at this address.")

    get = post = put = patch = delete = head = options = _answer


def control_application(
    routes: Sequence[Route], api: Api, *, identify: Identify
) -> web.Application:
    """Make the application that control serves to whom `identify` knows."""
    shared = {"api": api, "identify": identify}
    handlers: list[Any] = [(f"{PREFIX}/openapi.json", ControlDocumentHandler, shared)]
    handlers += [
        (f"{PREFIX}/{pattern(path)}", ControlHandler, {**shared, "routes": some})
        for path, some in addresses(routes).items()
    ]
    return web.Application(
        handlers,
        default_handler_class=ControlElsewhere,
        default_handler_args=shared,
        log_function=log_nothing,
    )


def log_nothing(_: web.RequestHandler) -> None:
    """Errors are logged where they happen; ordinary requests are not."""
