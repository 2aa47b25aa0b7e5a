"""Requests to a service elsewhere, and its errors as if they were raised here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from himalia.core import errors
from himalia.core.answers import ErrorAnswer
from himalia.core.errors import FieldProblem, HimaliaError, Unavailable
from himalia.core.service import Caller

Find = Callable[[], Awaitable[Path]]

_BY_CODE = {error.code: error for error in errors.EVERY_ERROR}
_BY_STATUS = {error.http_status: error for error in errors.EVERY_ERROR}
# Pinning a large folder takes its time.
_TIMEOUT = httpx.Timeout(connect=10.0, read=600.0, write=60.0, pool=30.0)
_LIMITS = httpx.Limits(max_connections=200, max_keepalive_connections=8)
_HUB_IS_DOWN = (
    "The hub's Himalia does not answer just now. What runs goes on; mostly it is back within a "
    "minute, by itself. If not, tell an admin of the hub."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    data: bytes | None
    headers: dict[str, str]


def _content(body: BaseModel | None, key: str | None = None) -> _Content:
    headers = {} if key is None else {"Idempotency-Key": key}
    if body is None:
        return _Content(data=None, headers=headers)
    headers["Content-Type"] = "application/json"
    return _Content(data=body.model_dump_json().encode(), headers=headers)


class Transport:
    """A connection that is made when it is needed, and made again once when it breaks.

    Every request may be repeated: those that make something carry an idempotency key.
    """

    def __init__(
        self,
        *,
        find: Find | None = None,
        url: str = "",
        hub: str | None = None,
        token: str | None = None,
        is_near: bool = True,
    ) -> None:
        """Go to the socket that `find` gives, to the Jupyter server at `url`, or to the control of
        a hub at `hub`, which is near where this process has the files of its user.
        """
        self._find = find
        self._hub = hub
        self._is_near = is_near and url == ""
        self._url = f"{url.rstrip('/')}/himalia/api/" if hub is None else f"{hub.rstrip('/')}/api/"
        self._token = token
        self._client: httpx.AsyncClient | None = None
        self._socket: Path | None = None
        self._connecting = asyncio.Lock()

    @property
    def is_near(self) -> bool:
        """Whether this process has the user's files."""
        return self._is_near

    async def get(
        self, caller: Caller, path: str, params: Mapping[str, Any] | None = None
    ) -> bytes:
        """Read what is at `path`.

        :raises HimaliaError: as the service raised it.
        :raises Unavailable: the service does not answer. So do the three below.
        """
        return (await self._send(caller, "GET", path, params=params)).content

    async def post(
        self, caller: Caller, path: str, body: BaseModel | None = None, key: str | None = None
    ) -> bytes:
        """Do what `path` says; with a `key` it is done once, however often it is sent."""
        return (await self._send(caller, "POST", path, _content(body, key))).content

    async def patch(self, caller: Caller, path: str, body: BaseModel) -> bytes:
        """Change what is at `path`."""
        return (await self._send(caller, "PATCH", path, _content(body))).content

    async def delete(self, caller: Caller, path: str) -> None:
        """Delete what is at `path`."""
        await self._send(caller, "DELETE", path)

    async def _send(
        self, caller: Caller, method: str, path: str, body: _Content | None = None,
        *, params: Mapping[str, Any] | None = None,
    ) -> httpx.Response:  # fmt: skip
        headers = self._headers(caller) | (body.headers if body else {})
        content = body.data if body else None
        client = await self.client()
        try:
            answer = await client.request(
                method, path, params=params, content=content, headers=headers
            )
        except httpx.ReadTimeout as error:
            raise self._unreachable(error) from error
        except httpx.TransportError:
            with self.reaching():
                client = await self.client(again=True)
                answer = await client.request(
                    method, path, params=params, content=content, headers=headers
                )
            if method == "DELETE" and answer.status_code == httpx.codes.NOT_FOUND:
                # The first try did it.
                return answer
        _raise_for(answer.status_code, answer.content)
        return answer

    @asynccontextmanager
    async def open(
        self,
        caller: Caller,
        path: str,
        *,
        read_seconds: float,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """Open an answer to be read piece by piece; what breaks is not repeated."""
        timeout = httpx.Timeout(_TIMEOUT.connect, read=read_seconds, write=60.0, pool=30.0)
        client = await self.client()
        sent = {**self._headers(caller), **(headers or {})}
        async with client.stream("GET", path, headers=sent, timeout=timeout) as answer:
            if answer.is_error:
                _raise_for(answer.status_code, await answer.aread())
            yield answer

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """Turn a broken connection into what users understand (:raises Unavailable:)."""
        try:
            yield
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    async def client(self, *, again: bool = False) -> httpx.AsyncClient:
        """Return the client; `again` finds the service anew, and may start it."""
        async with self._connecting:
            if self._client is None or (again and self._find is not None):
                socket = await self._find() if self._find is not None else None
                if self._client is None or socket != self._socket:
                    await self._drop()
                    self._socket = socket
                    self._client = self._make(socket)
            return self._client

    def _make(self, socket: Path | None) -> httpx.AsyncClient:
        if socket is None:
            # No proxy that the environment names shall see a token on its way through one machine.
            return httpx.AsyncClient(
                base_url=self._url, timeout=_TIMEOUT, limits=_LIMITS, trust_env=not self._is_near
            )
        return httpx.AsyncClient(
            base_url="http://himalia/himalia/api/",
            transport=httpx.AsyncHTTPTransport(uds=str(socket), limits=_LIMITS),
            timeout=_TIMEOUT,
            trust_env=False,
        )

    def _headers(self, caller: Caller) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity"}
        # From far away, paths start at the user's home, wherever that is.
        if self._is_near:
            headers["Himalia-Root"] = quote(str(caller.root))
        if self._find is None and self._token:
            headers["Authorization"] = f"token {self._token}"
        return headers

    def _unreachable(self, error: httpx.TransportError) -> Unavailable:
        if self._hub is not None:
            return Unavailable(_HUB_IS_DOWN)
        what = str(error) or type(error).__name__
        return Unavailable(f"Himalia does not answer ({what}). Try again in a moment.")

    async def close(self) -> None:
        """Let go of every connection."""
        async with self._connecting:
            await self._drop()

    async def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _raise_for(status: int, content: bytes) -> None:
    if status < httpx.codes.BAD_REQUEST:
        if status >= httpx.codes.MULTIPLE_CHOICES:
            # A login page is where Jupyter servers send whom they do not know.
            raise errors.Unauthenticated("The server asks for a login. Give its token.")
        return
    try:
        said = ErrorAnswer.model_validate_json(content).error
    except ValidationError as error:
        cause = _BY_STATUS.get(status, Unavailable)
        raise cause(
            f"The server answered {status} {httpx.codes.get_reason_phrase(status)}."
        ) from error
    problems = tuple(
        FieldProblem(field=detail.field, message=detail.message) for detail in said.details
    )
    raise _BY_CODE.get(said.code, HimaliaError)(said.message, problems=problems)
