"""Addresses of a part that is loaded when one of them is first asked for.

The admin page's login is JupyterHub's, and brings half of JupyterHub with it into memory; sessions
and jobs, which control is for, need none of that.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from tornado.httputil import (
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerRequest,
    ResponseStartLine,
)
from tornado.routing import Matcher, Router
from tornado.web import Application
from typing_extensions import override

_PAGES = ("static/", "hub/")
_ADMIN = "api/admin/"
_log = logging.getLogger("himalia.control")


class OfVisitors(Matcher):
    """Matches the admin page below `base`, and what it asks with its visitor's cookie."""

    def __init__(self, base: str) -> None:
        self._base = base

    @override
    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        if not request.path.startswith(self._base):
            return None
        rest, sent = request.path.removeprefix(self._base), request.headers
        if rest in {"", "oauth_callback"}:
            # The hub asks for our address when it starts, to see whether we are up.
            is_browser = "Cookie" in sent or "text/html" in sent.get("Accept", "")
            return {} if is_browser else None
        if rest.startswith(_ADMIN):
            return {} if "Cookie" in sent and "Authorization" not in sent else None
        return {} if rest.startswith(_PAGES) else None


class Opening(Router):
    """Serves a part that is made for the first who asks; others are served meanwhile."""

    def __init__(self, make: Callable[[], Awaitable[Application]]) -> None:
        self._make = make
        self._making: asyncio.Task[Application] | None = None

    @override
    def find_handler(self, request: HTTPServerRequest, **_: Any) -> HTTPMessageDelegate:
        return _Waiting(request, self._opened)

    async def _opened(self) -> Application:
        if self._making is None or (self._making.done() and self._making.exception()):
            self._making = asyncio.ensure_future(self._make())
        # One that goes away does not take it from the others.
        return await asyncio.shield(self._making)


class _Waiting(HTTPMessageDelegate):
    """A request that is handed on, when the part is there, as it came."""

    def __init__(
        self, request: HTTPServerRequest, opened: Callable[[], Awaitable[Application]]
    ) -> None:
        self._request = request
        self._opened = opened
        self._chunks: list[bytes] = []
        self._is_gone = False
        self._inner: HTTPMessageDelegate | None = None
        self._handing_on: asyncio.Task[None] | None = None

    @override
    def data_received(self, chunk: bytes) -> None:
        self._chunks.append(chunk)

    @override
    def finish(self) -> None:
        self._handing_on = asyncio.ensure_future(self._hand_on())

    @override
    def on_connection_close(self) -> None:
        self._is_gone = True
        if self._inner is not None:
            self._inner.on_connection_close()

    async def _hand_on(self) -> None:
        try:
            application = await self._opened()
        except Exception:  # noqa: BLE001 - logged, and tried again by the next
            _log.exception("the admin page cannot be opened")
            self._refuse()
            return
        if self._is_gone:
            return
        self._inner = application.find_handler(self._request)
        for chunk in self._chunks:
            self._inner.data_received(chunk)
        self._inner.finish()

    def _refuse(self) -> None:
        connection = self._request.connection
        if connection is None or self._is_gone:
            return
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        head = ResponseStartLine("HTTP/1.1", status, status.phrase)
        connection.write_headers(head, HTTPHeaders({"Content-Length": "0"}))
        connection.finish()
