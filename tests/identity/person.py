"""Somebody with a browser's cookies, who signs in at the provider's own pages."""

from __future__ import annotations

import asyncio
import html
import re
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urljoin

import httpx
from typing_extensions import override

from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.visitor import AS_PAGE, Visitor

WITHIN_SECONDS = 10.0
"""In which everything that ends somebody's login has taken effect everywhere."""
_FORM = re.compile(r'<form[^>]*action="([^"]+)"', re.IGNORECASE)
_HIDDEN = re.compile(r'<input[^>]*type="hidden"[^>]*>', re.IGNORECASE)


class _Loopback(httpx.AsyncHTTPTransport):
    """Takes cookies that are only for TLS from a loopback address too, as browsers do."""

    @override
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await super().handle_async_request(request)
        answer.headers = httpx.Headers(
            [
                (name, value.replace(";Secure", "").replace("; Secure", ""))
                for name, value in answer.headers.multi_items()
            ]
        )
        return answer


class Person(Visitor):
    """One browser of one person."""

    def __init__(self, url: str, name: str = "") -> None:
        super().__init__(url, name)
        self.http = httpx.AsyncClient(
            base_url=self.url, timeout=PATIENCE_SECONDS, transport=_Loopback()
        )

    async def go(self, url: str) -> httpx.Response:
        """Open a page through all redirects, at the hub or at the provider."""
        answer = await self.http.get(urljoin(self.url, url), headers=AS_PAGE)
        for _ in range(20):
            if not answer.has_redirect_location:
                return answer
            to = urljoin(str(answer.url), answer.headers["Location"])
            answer = await self.http.get(to, headers=AS_PAGE)
        raise AssertionError(f"{url} redirects for ever")

    async def submit(self, page: httpx.Response, **fields: str) -> httpx.Response:
        """Send the form of a page, with what is hidden in it."""
        found = _FORM.search(page.text)
        assert found is not None, page.text[:2000]
        hidden = {
            _attribute(field, "name"): _attribute(field, "value")
            for field in _HIDDEN.findall(page.text)
        }
        to = urljoin(str(page.url), html.unescape(found[1]))
        answer = await self.http.post(to, data={**hidden, **fields}, headers=AS_PAGE)
        if answer.has_redirect_location:
            return await self.go(urljoin(str(answer.url), answer.headers["Location"]))
        return answer

    async def sign_in(self, password: str = "", *, then: str = "/hub/home") -> httpx.Response:
        """Sign in at the provider's page; return where that leads."""
        page = await self.go(f"/hub/oauth_login?next={then}")
        if str(page.url).startswith(self.url):
            return page  # the provider still knew this browser
        password = password or f"{self.name}-password"
        return await self.submit(page, username=self.name, password=password)

    async def token(self) -> str:
        """Make an API token, as a script would have it."""
        path = f"/hub/api/users/{self.name}/tokens"
        answer = await self.ask("POST", path, json={"note": "script", "expires_in": 3600})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["token"])

    async def is_in(self) -> bool:
        """Tell whether the hub lets this browser in."""
        return (await self.http.get("/hub/home", headers=AS_PAGE)).status_code == 200

    async def may(self, token: str) -> bool:
        """Tell whether the hub takes an API token."""
        answer = await self.ask("GET", "/hub/api/user", xsrf=False, token=token)
        assert answer.status_code in {200, 403}, answer.text
        return answer.status_code == 200


async def seconds_until(condition: Callable[[], Awaitable[bool]]) -> float:
    """Wait until something is so, and return how long that was."""
    begun = time.monotonic()
    while not await condition():
        spent = time.monotonic() - begun
        assert spent < PATIENCE_SECONDS, "it never was so"
        await asyncio.sleep(0.1)
    return time.monotonic() - begun


def _attribute(tag: str, name: str) -> str:
    found = re.search(rf'\b{name}="([^"]*)"', tag)
    return html.unescape(found[1]) if found else ""
