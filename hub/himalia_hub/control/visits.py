"""The admin page, and administration by whoever logged in on it. Loaded with its first visitor."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jupyterhub.services.auth import HubOAuth, HubOAuthenticated
from tornado import web
from typing_extensions import override

from himalia.core.errors import Forbidden, Unauthenticated
from himalia.handlers.admin_routes import admin_table
from himalia.handlers.base import Api
from himalia_hub.admin.page import page_handlers
from himalia_hub.control.handlers import (
    SAFE,
    AdminHandler,
    Gate,
    hub_application,
    hub_handlers,
)
from himalia_hub.control.hub_api import HubApi
from himalia_hub.control.scopes import server_of
from himalia_hub.control.tokens import Identity
from himalia_hub.roles import SERVICE

_COOKIE_SECONDS = 4
"""How long the page's login is taken for granted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Where the page is, and how its login goes."""

    base: str
    """The service's address, which ends with a slash."""
    cookie_secret: str
    binds_cookies: bool = False
    """Whether cookies are bound to one host each."""
    template_paths: Sequence[str] = ()
    tls_files: Mapping[str, str] = field(default_factory=dict)
    """What the hub is asked with, where it wants a certificate."""


class VisitHandler(HubOAuthenticated, AdminHandler):  # type: ignore[misc] # untyped
    """An address of administration, for whoever logged in on the admin page."""

    @override
    def initialize(self, api: Api, gate: Gate, auth: HubOAuth, **served: Any) -> None:  # type: ignore[override]
        super().initialize(api, gate, **served)
        self.hub_auth = auth

    @override
    async def identify(self) -> Identity:
        if self.sent_token() is not None:
            return await super().identify()
        if self.request.method not in SAFE:
            self._check_page()
        # What was found for this request before may not be so any more.
        self.__dict__.pop("_cached_hub_user", None)
        found = await self.hub_auth.get_user(self, sync=False)
        if found is None:
            raise Unauthenticated("Log in on the admin page, or send a token of the hub's.")
        name, scopes = str(found["name"]), frozenset(found.get("scopes", ()))
        return Identity(
            name=name,
            # Whatever an admin owns is not what this is about.
            owner="",
            scopes=scopes,
            server=server_of(scopes, name),
        )

    def _check_page(self) -> None:
        """Check that a request with a cookie comes from our page (:raises Forbidden:)."""
        try:
            self.check_xsrf_cookie()
        except web.HTTPError as error:
            raise Forbidden("This did not come from the admin page. Load it anew.") from error


def visits(page: Page, hub: HubApi, api: Api, gate: Gate) -> web.Application:
    """Make the page and the addresses that it asks."""
    auth = HubOAuth(
        api_url=hub.url,
        api_token=hub.token,
        oauth_client_id=os.environ.get("JUPYTERHUB_CLIENT_ID") or f"service-{SERVICE}",
        base_url=page.base,
        cache_max_age=_COOKIE_SECONDS,
        cookie_host_prefix_enabled=page.binds_cookies,
        allow_token_in_url=False,
        **page.tls_files,
    )
    handlers = [
        *page_handlers(auth=auth, base=page.base, template_paths=page.template_paths),
        *hub_handlers(admin_table(), api, gate, base=page.base, admin=VisitHandler, auth=auth),
    ]
    return hub_application(handlers, api, gate, cookie_secret=page.cookie_secret)
