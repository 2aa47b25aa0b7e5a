"""The routes over control's Unix socket: the system says who asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tornado import httputil, web
from typing_extensions import override

from himalia.core.service import Caller
from himalia.handlers.base import Api
from himalia.handlers.decoding import ROOT_HEADER, decode_root
from himalia.handlers.dispatch import SiteHandler, log_nothing, site
from himalia.handlers.routes import Route

PREFIX = "/himalia/api"
Identify = Callable[[httputil.HTTPServerRequest], str]
"""Gives the owner that a request comes from (:raises Forbidden: nobody we serve)."""


class ControlHandler(SiteHandler):
    """Serves one address to processes of the user that control runs as."""

    identify: Identify
    owner: str

    @override
    def initialize(self, api: Api, identify: Identify, **served: Any) -> None:  # type: ignore[override]
        super().initialize(api, **served)
        self.identify = identify

    @override
    def prepare(self) -> None:
        self.owner = self.identify(self.request)

    @override
    def caller(self) -> Caller:
        sent = self.request.headers.get(ROOT_HEADER, "/")
        return Caller(owner=self.owner, root=decode_root(sent))


def control_application(
    routes: Sequence[Route], api: Api, *, identify: Identify
) -> web.Application:
    """Make the application that control serves to whom `identify` knows."""
    shared = {"api": api, "identify": identify}
    return web.Application(
        list[Any](site(routes, base=PREFIX, kind=lambda _: ControlHandler, shared=shared)),
        default_handler_class=ControlHandler,
        default_handler_args=shared,
        log_function=log_nothing,
    )
