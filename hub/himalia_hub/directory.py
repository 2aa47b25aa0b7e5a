"""Tells control who there is and which servers are on, a hundred times as fast as the users' list.

JupyterHub's own list asks the database some questions about each user, and takes two or three
milliseconds of the hub's one thread for each. Control wants all of them every few seconds; so this
asks for many at once, in three questions, and tells no more than control goes by.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from jupyterhub import orm, scopes
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.utils import isoformat, url_escape_path, url_path_join
from sqlalchemy import select
from tornado import web

PATH = "/api/himalia/directory"
_MOST = 500
"""Users of one answer, which takes the hub some ten milliseconds."""
_NEEDED = ("list:users", "read:users", "read:servers")
"""Of everybody: who may know less asks for JupyterHub's own list, which says less."""

_users = orm.User.__table__
_spawners = orm.Spawner.__table__
_groups = orm.Group.__table__
_members = orm.user_group_map


class DirectoryHandler(APIHandler):  # type: ignore[misc] # untyped
    """Everybody, some hundred at once: those after the number `after`."""

    async def get(self) -> None:
        """Send them, and the number to go on after; null where there are no more."""
        if any(self.parsed_scopes.get(scope) is not scopes.Scope.ALL for scope in _NEEDED):
            raise web.HTTPError(403, "Whoever asks for this may know all users and servers.")
        after = self.get_argument("after", "0")
        if not (after.isascii() and after.isdigit() and len(after) <= 18):
            raise web.HTTPError(400, "after is a number.")
        found = self._some(int(after))
        last = found[-1].id if len(found) == _MOST else None
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps({"items": self._models(found), "next": last}))

    def _some(self, after: int) -> list[Any]:
        wanted = (_users.c.id, _users.c.name, _users.c.admin, _users.c.created)
        statement = select(*wanted, _users.c.last_activity).where(_users.c.id > after)
        return list(self.db.execute(statement.order_by(_users.c.id).limit(_MOST)))

    def _models(self, found: list[Any]) -> list[dict[str, Any]]:
        if not found:
            return []
        groups, servers = self._groups(found), self._servers(found)
        return [
            {
                "name": user.name,
                "admin": bool(user.admin),
                "groups": groups[user.id],
                "created": isoformat(user.created),
                "last_activity": isoformat(user.last_activity),
                "servers": servers[user.id],
            }
            for user in found
        ]

    def _groups(self, found: list[Any]) -> dict[int, list[str]]:
        rows = self.db.execute(
            select(_members.c.user_id, _groups.c.name)
            .join(_groups, _groups.c.id == _members.c.group_id)
            .where(_members.c.user_id.between(found[0].id, found[-1].id))
        )
        groups: dict[int, list[str]] = defaultdict(list)
        for number, name in rows:
            groups[number].append(name)
        return groups

    def _servers(self, found: list[Any]) -> dict[int, dict[str, Any]]:
        columns = ("user_id", "name", "server_id", "started", "last_activity")
        rows = self.db.execute(
            select(*(_spawners.c[name] for name in columns)).where(
                _spawners.c.user_id.between(found[0].id, found[-1].id)
            )
        )
        servers: dict[int, dict[str, Any]] = defaultdict(dict)
        names = {user.id: user.name for user in found}
        for row in rows:
            model = self._server(row, names.get(row.user_id, ""))
            if model is not None:
                servers[row.user_id][row.name] = model
        return servers

    def _server(self, row: Any, name: str) -> dict[str, Any] | None:
        """Say how a server is; None where it is off."""
        # Neither may load anything: whoever is not in memory has no server that is on.
        user = dict.get(self.users, row.user_id)
        spawner = dict.get(user.spawners, row.name) if user is not None else None
        if spawner is None:
            return None
        pending = spawner.pending
        ready = row.server_id is not None and not pending
        if not pending and not ready:
            return None
        return {
            "name": row.name,
            "ready": ready,
            "pending": pending,
            "url": self._url(user, name, row.name),
            "started": isoformat(row.started),
            "last_activity": isoformat(row.last_activity),
        }

    def _url(self, user: Any, name: str, server_name: str) -> str:
        if self.settings.get("subdomain_host"):
            base = str(user.url)
        else:
            base = url_path_join(self.settings["base_url"], "user", url_escape_path(name))
        return str(url_path_join(base, url_escape_path(server_name), "/"))
