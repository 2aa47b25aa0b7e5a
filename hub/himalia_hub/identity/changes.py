"""Tells sessions and control at once when a login or a token ended, or somebody's groups changed.

A session remembers for minutes whom a token belongs to, since asking the hub at each request would
be the whole hub's work. So the hub tells: each server, and control, holds one open request whose
answer never ends and has a line for each change.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from jupyterhub import orm, scopes
from jupyterhub.apihandlers.base import APIHandler
from sqlalchemy import event, inspect
from tornado import iostream, web
from typing_extensions import override

_ALIVE_SECONDS = 5.0
_SETTLE_SECONDS = 0.05
"""Rows are told of as they are written; this is until they are committed."""
_MOST_WAITING = 1000
EVERYBODY = "*"
PATH = "/api/himalia/changes"


@dataclass(eq=False, slots=True)
class Listener:
    """One open request."""

    name: str
    """Whose changes it hears of; :data:`EVERYBODY` for a service."""
    told: asyncio.Queue[str] = field(default_factory=lambda: asyncio.Queue(_MOST_WAITING))

    def tell(self, line: str) -> None:
        """Have a line sent."""
        # A full queue belongs to somebody who does not read, and is cut off.
        with suppress(asyncio.QueueFull):
            self.told.put_nowait(line)


class Changes:
    """Passes on what changed to whom it concerns."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._names: set[str] = set()
        self._is_due = False

    def listen(self, name: str) -> Listener:
        """Begin to hear of one user, or of everybody."""
        listener = Listener(name=name)
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        """Hear no more."""
        self._listeners.discard(listener)

    def of(self, names: Iterable[str]) -> None:
        """Something about these users changed; called on the hub's event loop."""
        self._names.update(names)
        if self._names and not self._is_due:
            with suppress(RuntimeError):  # before the hub runs there is nobody to tell
                loop = asyncio.get_running_loop()
                self._is_due = True
                loop.call_later(_SETTLE_SECONDS, self._tell)

    def _tell(self) -> None:
        names, self._names, self._is_due = self._names, set(), False
        for listener in self._listeners:
            if listener.name == EVERYBODY:
                for name in names:
                    listener.tell(f"changed {name}")
            elif listener.name in names:
                listener.tell("changed")

    def watch_rows(self) -> None:
        """Notice tokens and users that are deleted, by whatever part of JupyterHub; and servers
        that begin and end, of whatever spawner.
        """
        for row in (orm.APIToken, orm.User):
            event.listen(row, "after_delete", self._row_deleted)
        event.listen(orm.Spawner.started, "set", self._server_changed)

    def _row_deleted(self, _mapper: object, _connection: object, row: Any) -> None:
        if isinstance(row, orm.User):
            self.of({row.name})
        else:
            self.of(_concerned(row))

    def _server_changed(self, row: Any, now: object, before: object, _initiator: object) -> None:
        """Tell services that a server began, or ended; its user's rights are as before."""
        listeners = [one for one in self._listeners if one.name == EVERYBODY]
        started = now if isinstance(now, datetime) else before
        if not listeners or not isinstance(started, datetime) or row.user is None:
            return
        said = {
            "name": row.user.name,
            "created": f"{row.user.created.isoformat()}Z",
            "groups": [group.name for group in row.user.groups],
            "server": row.name,
            "started": f"{started.isoformat()}Z",
            "is_on": isinstance(now, datetime),
        }
        for listener in listeners:
            listener.tell(f"server {json.dumps(said)}")


def _concerned(token: Any) -> set[str]:
    """Name the owner of a token, and of the server that it opened."""
    found = {token.user.name} if token.user is not None else set()
    db = inspect(token).session
    if db is not None and token.client_id and token.client_id.startswith("jupyterhub-user-"):
        with db.no_autoflush:
            client = db.query(orm.OAuthClient).filter_by(identifier=token.client_id).first()
            if client is not None and client.spawner is not None:
                found.add(client.spawner.user.name)
    return found


class ChangesHandler(APIHandler):  # type: ignore[misc]
    """The request that never ends."""

    async def get(self) -> None:
        """Send a line for each change, and one every few seconds that says we are alive."""
        token = self.get_token()
        if self.current_user is None or token is None:
            raise web.HTTPError(403, "Send the token of a server or of a service.")
        changes = of_this_hub()
        is_service = isinstance(self.current_user, orm.Service)
        if is_service and not scopes.has_scope("read:users:name", self.parsed_scopes, db=self.db):
            raise web.HTTPError(403, "This service may not know the users.")
        listener = changes.listen(EVERYBODY if is_service else self.current_user.name)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        try:
            # At once, so that whoever listens knows that nothing is missed from now on.
            self.write("alive\n")
            await self.flush()
            while not listener.told.full():
                await self._send(listener)
        except iostream.StreamClosedError:
            pass
        finally:
            changes.leave(listener)

    async def _send(self, listener: Listener) -> None:
        line = "alive"
        with suppress(TimeoutError):
            async with asyncio.timeout(_ALIVE_SECONDS):
                line = await listener.told.get()
        self.write(f"{line}\n")
        await self.flush()

    @override
    def check_xsrf_cookie(self) -> None:
        """Tokens need none, and cookies are not taken."""


@cache
def of_this_hub() -> Changes:
    """Return what passes on the changes of the hub that this process is."""
    made = Changes()
    made.watch_rows()
    return made
