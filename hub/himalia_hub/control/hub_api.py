"""What control asks the hub, and how it takes the answers: checked, bounded, timed out."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Literal, TypeVar
from urllib.parse import quote

import httpx
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from himalia.core.errors import NotFound, Unavailable
from himalia.core.names import owner_id

_TIMEOUT = httpx.Timeout(connect=3.0, read=10.0, write=5.0, pool=5.0)
_LIMITS = httpx.Limits(max_connections=20, max_keepalive_connections=10, keepalive_expiry=30.0)
_PAGE = 100
"""Users at once: the hub has one thread, and others wait for it meanwhile."""
_DIRECTORY = "himalia/directory"
_NO_DIRECTORY = frozenset({httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND})
_log = logging.getLogger(__name__)


class _Said(BaseModel):
    """Something the hub said; it says more than we need."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class HubServer(_Said):
    """A user's server."""

    name: str = ""
    ready: bool = False
    pending: str | None = None
    stopped: bool = False
    url: str = ""
    started: AwareDatetime | None = None
    last_activity: AwareDatetime | None = None


class HubUser(_Said):
    """A user."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    admin: bool = False
    groups: tuple[str, ...] = ()
    created: AwareDatetime
    last_activity: AwareDatetime | None = None
    servers: Mapping[str, HubServer] = Field(default_factory=dict)

    @property
    def owner(self) -> str:
        """The immutable id."""
        return owner_id(self.name, self.created)


class Bearer(_Said):
    """Whoever a token belongs to, and what it may do."""

    kind: Literal["user", "service"] = "user"
    name: Annotated[str, Field(min_length=1, max_length=255)]
    scopes: frozenset[str] = frozenset()
    groups: tuple[str, ...] | None = None
    """None where the token may not say."""
    created: AwareDatetime | None = None
    """None where the token may not say."""
    servers: Mapping[str, HubServer] | None = None
    """Those that the token may know of, and that are on; None where it may not say."""


M = TypeVar("M", bound=_Said)


class _Paging(_Said):
    total: int


class _UserPage(_Said):
    items: tuple[HubUser, ...]
    pagination: Annotated[_Paging, Field(alias="_pagination")]


class _DirectoryPage(_Said):
    items: tuple[HubUser, ...]
    next: int | None


class HubApi:
    """The REST interface of the hub, with control's own token unless another is given."""

    def __init__(
        self, url: str, token: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self._client = httpx.AsyncClient(
            base_url=f"{self.url}/",
            timeout=_TIMEOUT,
            limits=_LIMITS,
            trust_env=False,
            transport=transport,
        )
        self.has_directory = False
        """Whether the hub's users were asked for at the cheap address last time."""

    async def bearer(self, token: str) -> Bearer | None:
        """Return whose token it is, or None where it is nobody's (:raises Unavailable:)."""
        async with self._asking():
            answer = await self._client.get("user", headers=_authorized(token))
        if answer.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
            return None
        return _read(answer, Bearer)

    async def user(self, name: str) -> HubUser:
        """Return one user (:raises NotFound:, :raises Unavailable:)."""
        async with self._asking():
            answer = await self._client.get(
                f"users/{quote(name, '')}", headers=_authorized(self.token)
            )
        return _read(answer, HubUser)

    async def users(self) -> AsyncIterator[tuple[HubUser, ...]]:
        """Yield all users, part by part, ordered as the hub made them.

        :raises Unavailable: it did not answer, or what it said is not whole.
        """
        page = await self._page(0)
        self.has_directory = page is not None
        if page is None:
            async for part in self._listed():
                yield part
            return
        yield page.items
        while page is not None and page.next is not None:
            page = await self._page(page.next)
            if page is None:
                raise Unavailable("The hub's list of users broke off.")
            yield page.items

    async def _page(self, after: int) -> _DirectoryPage | None:
        """Return some users by what Himalia adds to a hub; None where it was not added."""
        async with self._asking():
            answer = await self._client.get(
                _DIRECTORY, params={"after": after}, headers=_authorized(self.token)
            )
        return None if answer.status_code in _NO_DIRECTORY else _read(answer, _DirectoryPage)

    async def _listed(self) -> AsyncIterator[tuple[HubUser, ...]]:
        """Yield all users by JupyterHub's own list, which costs it a hundred times as much."""
        headers = _authorized(self.token) | {
            "Accept": "application/jupyterhub-pagination+json",
        }
        count, total = 0, 1
        while count < total:
            async with self._asking():
                answer = await self._client.get(
                    "users", params={"offset": count, "limit": _PAGE}, headers=headers
                )
            page = _read(answer, _UserPage)
            if not page.items:
                raise Unavailable("The hub's list of users broke off.")
            count, total = count + len(page.items), page.pagination.total
            yield page.items

    async def stop(self, name: str, server_name: str) -> None:
        """Stop a user's server (:raises NotFound: it is not on, :raises Unavailable:)."""
        path = f"users/{quote(name, '')}/server"
        if server_name:
            path += f"s/{quote(server_name, '')}"
        async with self._asking():
            answer = await self._client.delete(path, headers=_authorized(self.token))
        if answer.status_code in {httpx.codes.BAD_REQUEST, httpx.codes.NOT_FOUND}:
            raise NotFound("This server is not on.")
        if not answer.is_success:
            raise Unavailable(f"The hub answered {answer.status_code}. Try again in a moment.")

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            what = str(error) or type(error).__name__
            _log.info("the hub does not answer: %s", what)
            raise Unavailable("The hub does not answer. Try again in a moment.") from error


def _authorized(token: str) -> dict[str, str]:
    return {"Authorization": f"token {token}"}


def _read(answer: httpx.Response, model: type[M]) -> M:
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise NotFound("The hub knows no such user.")
    if not answer.is_success:
        raise Unavailable(f"The hub answered {answer.status_code}. Try again in a moment.")
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as error:
        _log.warning("the hub's answer to %s is not understood", answer.request.url.path)
        raise Unavailable("The hub gave an answer that is not understood.") from error
