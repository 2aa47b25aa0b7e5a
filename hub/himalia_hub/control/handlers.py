"""The routes over TCP at a hub: a token of the hub's says who asks, and what they may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tornado import web
from typing_extensions import override

from himalia.core.administration import Admin, Administration
from himalia.core.errors import Forbidden, HimaliaError, Unauthenticated, Unavailable
from himalia.core.service import Caller
from himalia.handlers.base import Api, ApiHandler
from himalia.handlers.calls import AdminCall, Call
from himalia.handlers.decoding import ROOT_HEADER, decode_root
from himalia.handlers.dispatch import Site, SiteHandler, log_nothing, site
from himalia.handlers.routes import Route
from himalia_hub.admin.rights import admin_of
from himalia_hub.control.scopes import Action, check
from himalia_hub.control.tokens import RUN_TOKEN, Identity, Tokens

ADMIN = "himalia:admin"
_ACTIONS: dict[str, Action] = {"GET": "read"}
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
_SCHEMES = frozenset({"token", "bearer"})
_OF_RUN = (
    "What runs as a job may look at its user's things and ask for access tokens; it starts and "
    "changes nothing. Do that in a session: in a notebook, a terminal or the panel."
)


@dataclass(slots=True, kw_only=True)
class Gate:
    """What every handler of a hub's control goes by."""

    tokens: Tokens
    administration: Callable[[], Administration]
    home: Callable[[str], Awaitable[Path]] | None = None
    """Finds the folder that an owner's relative paths start at where no root is sent."""
    answered: Callable[[str, int], None] = lambda _name, _status: None
    """Told of each answer: the route's name and the status."""
    open: set[ApiHandler] = field(default_factory=set)
    """Streams that go on until somebody leaves."""


class HubHandler(SiteHandler):
    """Serves one address to whoever sends a token of the hub's in the header Authorization."""

    gate: Gate
    identity: Identity
    route_name = ""
    root: Path | None = None

    @override
    def initialize(self, api: Api, gate: Gate, **served: Any) -> None:  # type: ignore[override]
        super().initialize(api, **served)
        self.gate = gate

    @override
    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")

    @override
    async def prepare(self) -> None:
        route = self.routes.get(self.request.method or "")
        self.route_name = route.name if route is not None else "none"
        self.identity = await self.identify()

    async def identify(self) -> Identity:
        """Say who asks (:raises Unauthenticated: nobody we know)."""
        token = self.sent_token()
        if token is None:
            raise Unauthenticated("Send a token of the hub's: Authorization: token …")
        return await self._of_token(token)

    def sent_token(self) -> str | None:
        """Return the token in the header; those in addresses and cookies mean nothing here."""
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        return token.strip() if scheme.lower() in _SCHEMES else None

    async def _of_token(self, token: str) -> Identity:
        is_report = self.route_name == "reportSession"
        return await self.gate.tokens.identify(token, is_report=is_report)

    @override
    def caller(self) -> Caller:
        assert self.root is not None, "who may ask has a root"
        return Caller(
            owner=self.identity.owner,
            root=self.root,
            name=self.identity.name,
            server=self.identity.server,
        )

    def check(self, route: Route) -> None:
        """Check that whoever asks may (:raises Forbidden:)."""
        identity = self.identity
        if not identity.owner:
            raise Forbidden("Services of the hub own nothing here; ask with a user's token.")
        action = _ACTIONS.get(route.method, "write")
        name, groups = identity.name, identity.groups
        try:
            check(identity.scopes, route.resource, action, name=name, groups=groups)
        except Forbidden:
            if (self.sent_token() or "").startswith(RUN_TOKEN):
                raise Forbidden(_OF_RUN) from None
            raise

    @override
    async def answer(self, route: Route, path: dict[str, str]) -> None:
        self.check(route)
        self.root = await self._root(route)
        if route.sends != "events":
            await self.serve(route, path)
            return
        async with self._watched():
            await self.serve(route, path)

    async def _root(self, route: Route) -> Path:
        sent = self.request.headers.get(ROOT_HEADER)
        if sent is None:
            # Only what is about files needs one.
            is_about_files = route.body is not None and route.resource != ADMIN
            if not is_about_files or self.gate.home is None:
                return Path("/")
            return await self.gate.home(self.identity.owner)
        return decode_root(sent)

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        """Have an answer that goes on end when whoever gets it may not any more."""
        watching = asyncio.create_task(self._watch())
        self.gate.open.add(self)
        try:
            yield
        finally:
            self.gate.open.discard(self)
            watching.cancel()

    async def _watch(self) -> None:
        try:
            while True:
                await asyncio.sleep(self.gate.tokens.recheck_seconds)
                # A hub that is being restarted takes nobody's rights away.
                with suppress(Unavailable):
                    now = await self.identify()
                    if now.owner != self.identity.owner:
                        return
                    self.identity = now
                    self.check(self.routes["GET"])
        except HimaliaError:
            pass
        finally:
            self.on_connection_close()

    @override
    def on_finish(self) -> None:
        self.gate.answered(self.route_name, self.get_status())


class AdminHandler(HubHandler):
    """An address of administration, for bearers of an admin's token."""

    @override
    def check(self, route: Route) -> None:
        admin = self.admin()
        if not admin.may_write and route.method not in SAFE:
            raise Forbidden("You may look at everything, and change nothing.")

    def admin(self) -> Admin:
        """Say whom the caller administers (:raises Forbidden: nobody)."""
        return admin_of(self.identity.name, self.identity.scopes)

    @override
    def call(self, route: Route, **asked: Any) -> Call[Any, Any] | AdminCall[Any, Any]:
        return AdminCall(administration=self.gate.administration(), admin=self.admin(), **asked)


def hub_handlers(
    routes: Sequence[Route],
    api: Api,
    gate: Gate,
    *,
    base: str,
    admin: type[AdminHandler] = AdminHandler,
    **served: Any,
) -> Site:
    """Make the handlers of every route, below a hub's service's address `base`.

    `admin` serves those of administration, and is given `served` besides.
    """

    def kind(some: Sequence[Route]) -> type[HubHandler]:
        return admin if some and some[0].resource == ADMIN else HubHandler

    made = site(routes, base=f"{base}api", kind=kind, shared={"api": api, "gate": gate})
    return [
        (path, serves, {**given, **served} if serves is admin else given)
        for path, serves, given in made
    ]


def hub_application(
    handlers: Sequence[Any], api: Api, gate: Gate, **settings: Any
) -> web.Application:
    """Make the application; what no handler is for is an address of nobody."""
    return web.Application(
        list(handlers),
        default_handler_class=HubHandler,
        default_handler_args={"api": api, "gate": gate},
        log_function=log_nothing,
        **settings,
    )
