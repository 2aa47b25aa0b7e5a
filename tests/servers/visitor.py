"""Somebody at a hub, with the cookies that a browser would have, and none of its safeguards."""

from __future__ import annotations

import ssl
from http.cookiejar import DefaultCookiePolicy
from http.cookies import SimpleCookie
from types import TracebackType
from typing import Any, Self

import httpx

from tests.servers.hosts import LocalHosts
from tests.servers.patience import PATIENCE_SECONDS


class Visitor:
    """Asks one hub; cookies are kept by host and path as a browser does."""

    def __init__(self, url: str, name: str = "", *, trust: ssl.SSLContext | bool = True) -> None:
        self.url = url.rstrip("/")
        self.name = name
        self.http = httpx.AsyncClient(
            base_url=self.url,
            transport=LocalHosts(verify=trust),
            follow_redirects=False,
            timeout=PATIENCE_SECONDS,
            trust_env=False,
        )
        # Python's own policy sends a host's cookies to every host below it, as no browser does.
        policy = DefaultCookiePolicy(strict_ns_domain=DefaultCookiePolicy.DomainStrictNonDomain)
        self.http.cookies.jar.set_policy(policy)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.http.aclose()

    async def log_in(self, password: str) -> Self:
        """Log in by the hub's own form."""
        await self.http.get("/hub/login")
        form = {
            "username": self.name,
            "password": password,
            "_xsrf": self.xsrf("/hub/login") or "",
        }
        answer = await self.http.post("/hub/login", data=form)
        assert answer.status_code == 302, (answer.status_code, answer.text[-2000:])
        return self

    async def enter(self, path: str) -> httpx.Response:
        """Open a page as a browser does that is logged in at the hub: through all redirects."""
        answer = await self.http.get(path, headers=AS_PAGE)
        for _ in range(20):
            if not answer.has_redirect_location:
                return answer
            answer = await self.http.get(
                answer.url.join(answer.headers["Location"]), headers=AS_PAGE
            )
        raise AssertionError(f"{path} redirects for ever")

    def cookies(self, path: str) -> str:
        """Return the header of the cookies that are sent to `path`, those of longer paths first."""
        return str(self.http.build_request("GET", path).headers.get("Cookie", ""))

    def xsrf(self, path: str) -> str | None:
        """Return the value of the ``_xsrf`` cookie that is sent to `path`."""
        for cookie in self.cookies(path).split(";"):
            if cookie.strip().startswith("_xsrf="):
                return SimpleCookie(cookie)["_xsrf"].value
        return None

    async def ask(
        self, method: str, path: str, *, xsrf: bool = True, token: str = "", **options: Any
    ) -> httpx.Response:
        """Send one request, with the header that unsafe requests need unless told otherwise."""
        headers = dict(options.pop("headers", None) or {})
        value = self.xsrf(path)
        if xsrf and value is not None:
            headers.setdefault("X-XSRFToken", value)
        if token:
            headers["Authorization"] = f"token {token}"
        # A stream ends only when it is left; of anything else the whole is wanted.
        async with self.http.stream(method, path, headers=headers, **options) as answer:
            if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
                return httpx.Response(answer.status_code, headers=answer.headers)
            await answer.aread()
            return answer


AS_PAGE = {
    "Accept": "text/html",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Site": "same-origin",
}
"""What a browser sends when its user opens a page."""
