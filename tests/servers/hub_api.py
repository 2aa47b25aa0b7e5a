"""The REST interface of a hub, as far as control asks for it, for tests that need no whole hub.

What it answers is what JupyterHub 5 and 6 answer; ``tests/hub`` runs the same code against a real
one.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from tornado import web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from himalia.core.names import owner_id
from himalia_hub.roles import RESOURCES

EVERYTHING = tuple(f"custom:himalia:{resource}" for resource in RESOURCES)


def text(moment: datetime) -> str:
    """Write a time as JupyterHub does."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(kw_only=True)
class User:
    """One of the hub's users."""

    name: str
    created: datetime
    groups: list[str] = field(default_factory=list)
    admin: bool = False
    last_activity: datetime | None = None
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        """The immutable id."""
        return owner_id(self.name, self.created)

    def model(self) -> dict[str, Any]:
        """Return what the hub tells of a user to who may read all."""
        last = text(self.last_activity) if self.last_activity else None
        return {
            "kind": "user",
            "name": self.name,
            "admin": self.admin,
            "groups": self.groups,
            "roles": ["user"],
            "created": text(self.created),
            "last_activity": last,
            "auth_state": None,
            "servers": self.servers,
        }


@dataclass(kw_only=True)
class Token:
    """What a token may do, and whose it is."""

    name: str
    scopes: tuple[str, ...]
    kind: str = "user"


class HubApiServer:
    """A hub's interface on a port of this machine."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.tokens: dict[str, Token] = {}
        self.service_token = secrets.token_hex(16)
        self.asked: Counter[str] = Counter()
        self.stopped: list[tuple[str, str]] = []
        self.is_broken = False
        """Answers everything with an error of its own."""
        self.says_created = True
        self.has_directory = False
        self.url = ""
        self._server = HTTPServer(
            web.Application(
                [
                    (r"/hub/api/user", _Self, {"hub": self}),
                    (r"/hub/api/users", _Users, {"hub": self}),
                    (r"/hub/api/himalia/directory", _Directory, {"hub": self}),
                    (r"/hub/api/users/([^/]+)", _User, {"hub": self}),
                    (r"/hub/api/users/([^/]+)/servers?(?:/([^/]+))?", _Server, {"hub": self}),
                ],
                log_function=lambda _: None,
            )
        )

    def start(self) -> Self:
        """Listen; needs a running loop."""
        (listening,) = bind_sockets(0, "127.0.0.1")
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/hub/api"
        self._server.add_socket(listening)
        return self

    async def close(self) -> None:
        """Listen no more."""
        self._server.stop()
        await self._server.close_all_connections()

    def add(self, name: str, *, groups: Iterable[str] = (), admin: bool = False) -> User:
        """Make a user."""
        user = User(name=name, created=datetime.now(UTC), groups=list(groups), admin=admin)
        self.users[name] = user
        return user

    def remove(self, name: str) -> None:
        """Delete a user, with their tokens."""
        del self.users[name]
        self.tokens = {text: one for text, one in self.tokens.items() if one.name != name}

    def token(self, name: str, *scopes: str) -> str:
        """Make a token of a user's: for all that is theirs, unless told what for."""
        token = secrets.token_hex(16)
        mine = tuple(f"{scope}!user={name}" for scope in EVERYTHING)
        self.tokens[token] = Token(name=name, scopes=scopes or mine)
        return token

    def server(self, name: str, server_name: str = "", *, idle: timedelta = timedelta(0)) -> None:
        """Have a server of a user's be on, in which nothing happened for a while."""
        now = datetime.now(UTC)
        self.users[name].servers[server_name] = {
            "name": server_name,
            "ready": True,
            "pending": None,
            "stopped": False,
            "url": f"/user/{name}/",
            "started": text(now - idle - timedelta(seconds=1)),
            "last_activity": text(now - idle),
        }


class _Handler(web.RequestHandler):
    hub: HubApiServer
    bearer: Token | None = None

    def initialize(self, hub: HubApiServer) -> None:
        self.hub = hub

    def prepare(self) -> None:
        self.hub.asked[self.request.path.removeprefix("/hub/api/")] += 1
        if self.hub.is_broken:
            raise web.HTTPError(503)
        token = self.request.headers.get("Authorization", "").removeprefix("token ")
        if token == self.hub.service_token:
            self.bearer = Token(name="himalia", scopes=("read:users",), kind="service")
        else:
            self.bearer = self.hub.tokens.get(token)
        if self.bearer is None:
            raise web.HTTPError(403)

    def tell(self, model: dict[str, Any]) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(model))

    def user(self, name: str) -> User:
        assert self.bearer is not None
        if self.bearer.kind != "service" or name not in self.hub.users:
            raise web.HTTPError(404)
        return self.hub.users[name]


class _Self(_Handler):
    def get(self) -> None:
        assert self.bearer is not None
        bearer = self.bearer
        told = {"kind": bearer.kind, "name": bearer.name, "scopes": sorted(bearer.scopes)}
        if bearer.kind == "user" and self.hub.says_created:
            told = self.hub.users[bearer.name].model() | told
        self.tell(told)


class _Users(_Handler):
    def get(self) -> None:
        offset, limit = (int(self.get_argument(name)) for name in ("offset", "limit"))
        everybody = [user.model() for user in self.hub.users.values()]
        total = {"total": len(everybody), "offset": offset, "limit": limit, "next": None}
        self.tell({"items": everybody[offset : offset + limit], "_pagination": total})


class _Directory(_Handler):
    def get(self) -> None:
        if not self.hub.has_directory:
            raise web.HTTPError(404)
        after, most = int(self.get_argument("after")), 100
        some = list(self.hub.users.values())[after : after + most]
        following = after + most if len(some) == most else None
        self.tell({"items": [user.model() for user in some], "next": following})


class _User(_Handler):
    def get(self, name: str) -> None:
        self.tell(self.user(name).model())


class _Server(_Handler):
    def delete(self, name: str, server_name: str | None) -> None:
        user = self.user(name)
        if user.servers.pop(server_name or "", None) is None:
            raise web.HTTPError(404)
        self.hub.stopped.append((name, server_name or ""))
        self.set_status(204)
