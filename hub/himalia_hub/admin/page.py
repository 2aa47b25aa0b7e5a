"""The admin page's own addresses: the page, the login that leads to it, and its files."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from jupyterhub.services.auth import HubOAuth, HubOAuthCallbackHandler, HubOAuthenticated
from tornado import web
from typing_extensions import override

from himalia import __version__
from himalia.core.administration import Admin
from himalia.core.errors import Forbidden
from himalia_hub.admin.look import HUB_STATIC, STATIC, Look
from himalia_hub.admin.rights import HUB_ADMIN, admin_of

_YEAR_SECONDS = 365 * 86_400


class _Guarded(web.RequestHandler):
    """Headers of every answer, and errors in the hub's look."""

    look: Look
    nonce: str

    @override
    def set_default_headers(self) -> None:
        self.set_header("Server", "Himalia")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Referrer-Policy", "same-origin")
        self.set_header("Cross-Origin-Opener-Policy", "same-origin")
        self.set_header("Cache-Control", "no-store")

    @override
    def prepare(self) -> None:
        self.nonce = secrets.token_urlsafe(16)

    def allow(self) -> None:
        """Say what a page may load: nothing that a name on it could bring."""
        images = " ".join(filter(None, ("'self' data:", self.look.origin)))
        self.set_header(
            "Content-Security-Policy",
            f"default-src 'none'; script-src 'self' 'nonce-{self.nonce}'; style-src 'self'; "
            f"img-src {images}; font-src 'self'; connect-src 'self'; form-action 'self'; "
            "base-uri 'none'; frame-ancestors 'none'",
        )

    @override
    def write_error(self, status_code: int, **kwargs: Any) -> None:
        found = kwargs.get("exc_info", (None, None, None))[1]
        said = getattr(found, "log_message", None) if isinstance(found, web.HTTPError) else None
        self.refuse(status_code, said or "Something went wrong; control's log has the details.")

    def refuse(self, status: int, message: str, user: str | None = None) -> None:
        """Send a page that says no."""
        self.set_status(status)
        self.nonce = getattr(self, "nonce", secrets.token_urlsafe(16))
        self.allow()
        self.finish(
            self.look.render(
                "himalia-refused.html",
                nonce=self.nonce,
                user=user,
                parsed_scopes={},
                status=status,
                phrase=HTTPStatus(status).phrase,
                message=message,
            )
        )


class AdminPage(HubOAuthenticated, _Guarded):  # type: ignore[misc] # untyped
    """The page, for whoever administers somebody."""

    def initialize(self, auth: HubOAuth, look: Look) -> None:
        """Take what the addresses share."""
        self.hub_auth = auth
        self.look = look

    async def get(self) -> None:
        """Send it, or have the visitor log in first."""
        user = await self.hub_auth.get_user(self, sync=False)
        if user is None:
            self.redirect(self.get_login_url())
            return
        name, scopes = str(user["name"]), frozenset(user.get("scopes", ()))
        try:
            admin = admin_of(name, scopes)
        except Forbidden as error:
            self.refuse(HTTPStatus.FORBIDDEN, error.message, name)
            return
        self.allow()
        self.finish(self._page(admin, scopes))

    def _page(self, admin: Admin, scopes: frozenset[str]) -> str:
        return self.look.render(
            "himalia-admin.html",
            nonce=self.nonce,
            user=admin.name,
            # The hub's own page shows the link to its admin page by this.
            parsed_scopes={HUB_ADMIN: {}} if HUB_ADMIN in scopes else {},
            admin_access=HUB_ADMIN in scopes,
            xsrf_token=self.xsrf_token.decode(),
            version=__version__,
        )


class LoginCallback(HubOAuthCallbackHandler, _Guarded):  # type: ignore[misc] # untyped
    """Where the hub sends a visitor back to."""

    def initialize(self, auth: HubOAuth, look: Look) -> None:
        """Take what the addresses share."""
        self.hub_auth = auth
        self.look = look


class _Files(web.StaticFileHandler):
    @override
    def set_extra_headers(self, path: str) -> None:
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cross-Origin-Resource-Policy", "same-origin")
        self.set_header("Content-Security-Policy", "default-src 'none'")
        self.set_header("Cache-Control", f"public, max-age={_YEAR_SECONDS}, immutable")


def page_handlers(
    *, auth: HubOAuth, base: str, template_paths: Sequence[str] = ()
) -> list[tuple[str, type[web.RequestHandler], dict[str, Any]]]:
    """Make the handlers of the page below the service's address `base`.

    `auth` must keep the hub's answers for at most 10 s, and take no tokens from URLs.
    """
    hub = f"{auth.hub_host}{auth.hub_prefix}"
    look = Look(base=base, hub=hub, paths=template_paths)
    shared = {"auth": auth, "look": look}
    here = re.escape(base)
    return [
        (here, AdminPage, shared),
        (f"{here}oauth_callback", LoginCallback, shared),
        (f"{here}static/[0-9a-f]+/(.*)", _Files, {"path": str(STATIC)}),
        (f"{here}hub/(.*)", _Files, {"path": str(HUB_STATIC)}),
    ]
