"""Closes what is open to somebody who may not be here any more; kernels live on.

Jupyter servers ask the hub who somebody is when a request begins, and remember the answer. A
WebSocket begins once and stays for days. So the guard knows every open request, hears from the
hub what changed, and then asks anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
import weakref
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from tornado.web import HTTPError, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from himalia.changes import CONNECTED, NotTold, follow

_POLL_SECONDS = 4.0
_REMEMBERED_SECONDS = 300
_AGAIN_SECONDS = 1.0
_TO_SAY_GOODBYE_SECONDS = 0.5
_POLICY = 1008


def guard(server: Any) -> Guard | None:
    """Guard a Jupyter server that a hub started; another has nothing to guard."""
    hub_auth = getattr(server.identity_provider, "hub_auth", None)
    if hub_auth is None:
        return None
    made = Guard(server.identity_provider, hub_auth, server.log)
    made.begin()
    return made


class Guard:
    """Knows what is open in one Jupyter server, and ends it in time."""

    def __init__(self, identity_provider: Any, hub_auth: Any, log: logging.Logger) -> None:
        self._provider = identity_provider
        self._hub_auth = hub_auth
        self._log = log
        self._open: weakref.WeakSet[RequestHandler] = weakref.WeakSet()
        self._work: set[asyncio.Task[None]] = set()
        self._is_told = False
        self._identify = identity_provider.get_user
        self._owner = os.environ.get("JUPYTERHUB_USER")

    def begin(self) -> None:
        """See every request from now on; the work starts with the first."""
        self._provider.get_user = self._seen

    def end(self) -> None:
        """Stop the work."""
        for task in self._work:
            task.cancel()

    @property
    def connections(self) -> int:
        """How many WebSockets and streams are open."""
        return len(self._handlers())

    async def _seen(self, handler: RequestHandler) -> Any:
        if not self._work:
            for work in (self._listen(), self._poll()):
                self._work.add(asyncio.create_task(work))
        user = await self._identify(handler)
        if user is not None:
            self._open.add(handler)
        return user

    async def _listen(self) -> None:
        while True:
            try:
                async for name in follow(self._hub_auth.api_url, self._hub_auth.api_token):
                    if name == CONNECTED:
                        self._is_told = True
                        self._hub_auth.cache.max_age = _REMEMBERED_SECONDS
                    await self._look(self._handlers())
            except NotTold as ended:
                # While there is no hub nobody can have been let out by it: what it said holds.
                self._is_told = ended.is_gone
                seconds = _REMEMBERED_SECONDS if ended.is_gone else _POLL_SECONDS
                self._hub_auth.cache.max_age = seconds
                self._log.debug("The hub does not tell of changes: %s", ended)
            await asyncio.sleep(_AGAIN_SECONDS if self._is_told else 10 * _AGAIN_SECONDS)

    async def _poll(self) -> None:
        """Ask for those of whom the hub does not tell: visitors, and scripts with tokens."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            handlers = self._handlers()
            if self._is_told:
                handlers = [one for one in handlers if self._is_stranger(one)]
                self._forget_strangers()
            if handlers:
                await self._look(handlers)

    def _handlers(self) -> list[RequestHandler]:
        return [handler for handler in list(self._open) if _is_open(handler)]

    def _is_stranger(self, handler: RequestHandler) -> bool:
        return self._is_strange(getattr(handler, "_cached_hub_user", None))

    def _is_strange(self, model: Any) -> bool:
        return not (model and model.get("name") == self._owner and model.get("session_id"))

    def _forget_strangers(self) -> None:
        cache = self._hub_auth.cache
        for key, model in list(cache.values.items()):
            if self._is_strange(model):
                cache.pop(key, None)

    async def _look(self, handlers: Iterable[RequestHandler]) -> None:
        """Ask the hub about every token in use, and close what is open with a bad one."""
        self._hub_auth.cache.clear()
        by_token: dict[str, list[RequestHandler]] = defaultdict(list)
        for handler in handlers:
            by_token[self._token(handler)].append(handler)
        answers = await asyncio.gather(*(self._may(token) for token in by_token))
        gone = [
            handler
            for may, opened in zip(answers, by_token.values(), strict=True)
            for handler in opened
            if not may
        ]
        if gone:
            self._log.warning("Closing %d connections whose login has ended", len(gone))
            await _close(gone)

    def _token(self, handler: RequestHandler) -> str:
        token = ""
        if getattr(handler, "_token_authenticated", False):
            token = self._hub_auth.get_token(handler, in_cookie=False) or ""
        return token or self._hub_auth.get_token(handler) or ""

    async def _may(self, token: str) -> bool:
        if not token:
            return False
        try:
            model = await self._hub_auth.user_for_token(token, use_cache=False, sync=False)
        except HTTPError:
            return True  # the hub does not answer: it is asked again when it is back
        scopes = self._hub_auth.access_scopes
        return model is not None and bool(self._hub_auth.check_scopes(scopes, model))


def _is_open(handler: RequestHandler) -> bool:
    if isinstance(handler, WebSocketHandler):
        return handler.ws_connection is not None
    # Those that stream; an ordinary answer is over before anybody looks.
    return not handler._finished and handler.request.request_time() > 1  # noqa: SLF001


async def _close(handlers: Iterable[RequestHandler]) -> None:
    """Say goodbye, and hang up on whoever does not hang up."""
    left = []
    for handler in handlers:
        if isinstance(handler, WebSocketHandler):
            connection = handler.ws_connection
            with suppress(WebSocketClosedError):
                handler.close(_POLICY, "Your login has ended. Sign in again.")
            left.append(getattr(connection, "stream", None))
        else:
            left.append(getattr(handler.request.connection, "stream", None))
    await asyncio.sleep(_TO_SAY_GOODBYE_SECONDS)
    for stream in left:
        if stream is not None and not stream.closed():
            stream.close()
