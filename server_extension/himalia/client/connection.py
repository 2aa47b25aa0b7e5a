"""Where the service is: a Jupyter server, a hub's control, or the user's own control."""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from himalia.core.model import Page
from himalia.core.places import Places
from himalia.core.service import MAX_PAGE, Caller, Query, WorkloadService

T = TypeVar("T")
Q = TypeVar("Q", bound=Query)

CONTROL_URL = "HIMALIA_CONTROL_URL"
HUB_TOKEN = "JUPYTERHUB_API_TOKEN"  # noqa: S105 - the variable's name

_PATHS = ("notebook", "working_folder")


class Connection:
    """Opens the service when it is first needed."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        root: Path | None = None,
        places: Places | None = None,
    ) -> None:
        self._url = url or os.environ.get("HIMALIA_URL") or None
        self._control = None if self._url else os.environ.get(CONTROL_URL) or None
        self._token = token or os.environ.get("HIMALIA_TOKEN") or None
        if self._control is not None:
            self._token = self._token or os.environ.get(HUB_TOKEN) or None
        self._places = places
        self._root = root or Path("/")
        self._service: WorkloadService | None = None
        self._opening = asyncio.Lock()
        self.caller = Caller(owner=getpass.getuser(), root=self._root)

    @property
    def is_local(self) -> bool:
        """Whether paths mean files of this machine: not from outside of a hub or a server."""
        return self._url is None and (self._control is None or bool(os.environ.get(HUB_TOKEN)))

    async def service(self) -> WorkloadService:
        """Return the service; starts the user's control where there is none.

        :raises Unavailable: it does not answer.
        """
        async with self._opening:
            if self._service is None:
                self._service = await self._open()
            return self._service

    async def _open(self) -> WorkloadService:
        # Deferred: HTTP's client is the slowest of the imports, and only needed when it is used.
        from himalia.remote import RemoteService  # noqa: PLC0415

        if self._url is not None:
            return RemoteService.at(self._url, self._token)
        if self._control is not None:
            return RemoteService.at_hub(self._control, self._token, is_near=self.is_local)
        return RemoteService.of_user(self._places)

    async def close(self) -> None:
        """Let go of the service."""
        async with self._opening:
            service, self._service = self._service, None
            if service is not None:
                await service.close()

    def with_paths(self, options: dict[str, Any]) -> dict[str, Any]:
        """Make the paths in a job's options mean the same in another process."""
        if not self.is_local or self._root != Path("/"):
            return options
        absolute: dict[str, Any] = {
            key: _absolute(options[key]) for key in _PATHS if options.get(key)
        }
        if options.get("files"):
            absolute["files"] = tuple(_absolute(path) for path in options["files"])
        return options | absolute


def _absolute(path: str) -> str:
    whole = Path(path).expanduser()
    # The name itself may be a link that the user wants to see named; `..` is gone after this.
    return str(
        whole.parent.resolve() / whole.name if whole.name not in {"", ".."} else whole.resolve()
    )


async def collect(
    page: Callable[[Caller, Q], Awaitable[Page[T]]], caller: Caller, query: Q, limit: int | None
) -> tuple[T, ...]:
    """Follow a list's cursors until `limit` items, or all, are there."""
    items: list[T] = []
    while limit is None or len(items) < limit:
        wanted = MAX_PAGE if limit is None else min(MAX_PAGE, limit - len(items))
        part = await page(caller, replace(query, limit=wanted))
        items += part.items
        if part.next_cursor is None:
            break
        query = replace(query, cursor=part.next_cursor)
    return tuple(items)
