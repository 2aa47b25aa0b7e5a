"""What control asks the hub, and how it takes the answers: checked, bounded, timed out."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import Annotated, Literal, TypeVar
from urllib.parse import quote

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from himalia.core.errors import NotFound, Unavailable
from himalia.core.names import owner_id
from himalia_hub.control.connections import Answer, Connections

_PAGE = 100
"""Users at once: the hub has one thread, and others wait for it meanwhile."""
_DIRECTORY = "himalia/directory"
_PAGINATION = "application/jupyterhub-pagination+json"
_NO_DIRECTORY = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
_log = logging.getLogger(__name__)


# What the hub says: it says more than we need. With slots, since there are as many as users.


@dataclass(frozen=True, slots=True, kw_only=True)
class HubServer:
    """A user's server."""

    name: str = ""
    ready: bool = False
    pending: str | None = None
    stopped: bool = False
    url: str = ""
    started: AwareDatetime | None = None
    last_activity: AwareDatetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HubUser:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Bearer:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Paging:
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _UserPage:
    items: tuple[HubUser, ...]
    pagination: Annotated[_Paging, Field(alias="_pagination")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _DirectoryPage:
    items: tuple[HubUser, ...]
    next: int | None


M = TypeVar("M")
_BEARER, _USER = TypeAdapter(Bearer), TypeAdapter(HubUser)
_USERS, _ENTRIES = TypeAdapter(_UserPage), TypeAdapter(_DirectoryPage)


class HubApi:
    """The REST interface of the hub, with control's own token unless another is given."""

    def __init__(self, url: str, token: str, ssl_options: ssl.SSLContext | None = None) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self.ssl_options = ssl_options
        """What the hub is asked with; None where it asks for no certificate."""
        self._connections = Connections(self.url, ssl_options)
        self.has_directory = False
        """Whether the hub's users were asked for at the cheap address last time."""

    async def bearer(self, token: str) -> Bearer | None:
        """Return whose token it is, or None where it is nobody's (:raises Unavailable:)."""
        answer = await self._ask("GET", "user", token)
        if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            return None
        return _read(answer, _BEARER, "user")

    async def user(self, name: str) -> HubUser:
        """Return one user (:raises NotFound:, :raises Unavailable:)."""
        answer = await self._ask("GET", f"users/{quote(name, '')}")
        return _read(answer, _USER, "users/…")

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
        answer = await self._ask("GET", f"{_DIRECTORY}?after={after}")
        return None if answer.status in _NO_DIRECTORY else _read(answer, _ENTRIES, _DIRECTORY)

    async def _listed(self) -> AsyncIterator[tuple[HubUser, ...]]:
        """Yield all users by JupyterHub's own list, which costs it a hundred times as much."""
        count, total = 0, 1
        while count < total:
            path = f"users?offset={count}&limit={_PAGE}"
            answer = await self._ask("GET", path, accept=_PAGINATION)
            page = _read(answer, _USERS, "users")
            if not page.items:
                raise Unavailable("The hub's list of users broke off.")
            count, total = count + len(page.items), page.pagination.total
            yield page.items

    async def stop(self, name: str, server_name: str) -> None:
        """Stop a user's server (:raises NotFound: it is not on, :raises Unavailable:)."""
        path = f"users/{quote(name, '')}/server"
        if server_name:
            path += f"s/{quote(server_name, '')}"
        answer = await self._ask("DELETE", path)
        if answer.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND}:
            raise NotFound("This server is not on.")
        if not answer.is_success:
            raise Unavailable(f"The hub answered {answer.status}. Try again in a moment.")

    async def close(self) -> None:
        """Let go of the connections."""
        self._connections.close()

    async def _ask(
        self, method: str, path: str, token: str | None = None, accept: str = "application/json"
    ) -> Answer:
        shown = self.token if token is None else token
        headers = {"Authorization": f"token {shown}", "Accept": accept}
        try:
            return await self._connections.ask(method, path, headers)
        except (OSError, ValueError) as error:
            what = str(error) or type(error).__name__
            _log.info("the hub does not answer: %s", what)
            raise Unavailable("The hub does not answer. Try again in a moment.") from error


def _read(answer: Answer, model: TypeAdapter[M], what: str) -> M:
    if answer.status == HTTPStatus.NOT_FOUND:
        raise NotFound("The hub knows no such user.")
    if not answer.is_success:
        raise Unavailable(f"The hub answered {answer.status}. Try again in a moment.")
    try:
        return model.validate_json(answer.body)
    except ValidationError as error:
        _log.warning("the hub's answer to %s is not understood", what)
        raise Unavailable("The hub gave an answer that is not understood.") from error
