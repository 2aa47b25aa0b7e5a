"""What the hub tells as it happens: whose login or token ended, whose groups changed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse

_SILENCE_SECONDS = 15.0
"""The hub says every 5 s that it is alive."""
_MOST_WAITING = 10_000

CONNECTED = ""
"""What comes first: from now on nothing is missed."""


class NotTold(Exception):
    """The hub is there and does not tell; `is_gone` where it is not there."""

    def __init__(self, text: str, *, is_gone: bool) -> None:
        super().__init__(text)
        self.is_gone = is_gone


async def follow(
    api_url: str,
    token: str,
    *,
    on_server: Callable[[str], None] | None = None,
    ssl_options: ssl.SSLContext | None = None,
) -> AsyncIterator[str]:
    """Yield :data:`CONNECTED`, and then names of users whose rights changed: of everybody's with a
    service's token; with a server's of its own user's, who is called ``*``.

    :param api_url: the hub's, ending in ``/hub/api``.
    :param on_server: is told, as JSON, of servers that begin and end; services alone hear of them.
    :param ssl_options: certificates for a hub that takes no others.
    :raises NotTold: the hub ended it, is gone, or has no such address.
    """
    lines: asyncio.Queue[str] = asyncio.Queue(_MOST_WAITING)
    rest = b""

    def take(chunk: bytes) -> None:
        nonlocal rest
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            lines.put_nowait(line.decode())

    request = HTTPRequest(
        f"{api_url.rstrip('/')}/himalia/changes",
        headers={"Authorization": f"token {token}"},
        streaming_callback=take,
        request_timeout=0,
        connect_timeout=5,
        follow_redirects=False,
        ssl_options=ssl_options,
    )
    client = AsyncHTTPClient(force_instance=True)
    ending = asyncio.ensure_future(client.fetch(request, raise_error=True))
    try:
        is_told = False
        while True:
            line = await _next(lines, ending)
            if not is_told:
                is_told = True
                yield CONNECTED
            word, _, name = line.partition(" ")
            if word == "changed":
                yield name or "*"
            elif word == "server" and on_server is not None:
                on_server(name)
    finally:
        ending.cancel()
        client.close()


async def _next(lines: asyncio.Queue[str], ending: asyncio.Future[HTTPResponse]) -> str:
    line = asyncio.ensure_future(lines.get())
    try:
        both: set[asyncio.Future[Any]] = {line, ending}
        await asyncio.wait(both, timeout=_SILENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if line.done():
            return line.result()
        if not ending.done():
            raise NotTold("the hub is silent", is_gone=True)
        try:
            ending.result()
        except HTTPClientError as error:
            is_gone = error.code == 599 or error.code >= 502
            raise NotTold(f"the hub answers {error.code}", is_gone=is_gone) from None
        except OSError as error:
            raise NotTold(type(error).__name__, is_gone=True) from None
        raise NotTold("the hub ended it", is_gone=True)
    finally:
        line.cancel()
