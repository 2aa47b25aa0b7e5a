"""The hub's pages of a login: its beginning, its callback, its end; and what providers call."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from typing import Any
from urllib.parse import urlencode

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers import BaseHandler
from oauthenticator.oauth2 import (
    STATE_COOKIE_NAME,
    OAuthCallbackHandler,
    OAuthLoginHandler,
    OAuthLogoutHandler,
    _deserialize_state,
    _serialize_state,
)
from pydantic import ValidationError
from tornado import web
from typing_extensions import override

from himalia.core.errors import HimaliaError
from himalia.core.team import TokenRequest
from himalia_hub.identity.claims import Untrusted
from himalia_hub.identity.logins import End, Login, Logins
from himalia_hub.identity.provider import ProviderRefused, ProviderUnavailable
from himalia_hub.roles import SERVICE

_STATE_SECONDS = 600
_MOST_USED = 10_000
BEGIN_AGAIN = "This sign-in was begun elsewhere, or too long ago. Sign in again."
SAID_NO = "The provider ended the sign-in. Sign in again, or ask the administrators of this hub."
UNAVAILABLE = (
    "The service that knows who you are does not answer just now. Try again in a minute; if it "
    "goes on, tell the administrators of this hub."
)


class _Quiet(BaseHandler):  # type: ignore[misc]
    """Keeps addresses out of the log: those of a login have codes and states in them."""

    @override
    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if isinstance(value, web.HTTPError):
            self.log.warning("%d at %s", value.status_code, self.request.path)
        else:
            self.log.error("Error at %s", self.request.path, exc_info=(typ, value, tb))

    @override
    def set_default_headers(self) -> None:
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")


class LoginHandler(_Quiet, OAuthLoginHandler):  # type: ignore[misc]
    """Sends the browser to the provider; what the callback must match is in a signed cookie."""

    _OAUTH_AUTHORIZE_URL = ""

    async def get(self) -> None:
        """Begin a login."""
        provider = self.authenticator.provider
        try:
            self._OAUTH_AUTHORIZE_URL = await provider.endpoint("authorization_endpoint")
        except (ProviderUnavailable, ProviderRefused) as error:
            self.log.warning("The identity provider does not answer: %s", error)
            raise web.HTTPError(503, UNAVAILABLE) from None
        verifier, challenge = self._generate_pkce_params()
        state_id, nonce = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        kept = {
            "state_id": state_id,
            "nonce": nonce,
            "code_verifier": verifier,
            "next_url": path_only(self, self.get_argument("next", "")),
            "begun_at": time.time(),
        }
        self.set_state_cookie(_serialize_state(kept))
        self.authorize_redirect(
            redirect_uri=self.authenticator.get_callback_url(self),
            client_id=self.authenticator.client_id,
            scope=self.authenticator.scope,
            response_type="code",
            extra_params={
                "state": _serialize_state({"state_id": state_id}),
                "nonce": nonce,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            },
        )

    @override
    def set_state_cookie(self, state_cookie_value: str) -> None:
        self._set_cookie(state_cookie_name(self), state_cookie_value, httponly=True, samesite="Lax")


class CallbackHandler(_Quiet, OAuthCallbackHandler):  # type: ignore[misc]
    """Takes the provider's answer, once, from the browser that began the login."""

    begun: Login | None = None
    _state_cookie: str | None = None

    @override
    async def get(self) -> None:
        if len(self.get_arguments("state")) != 1 or len(self.get_arguments("code")) > 1:
            raise web.HTTPError(400, BEGIN_AGAIN)
        self.check_state()
        if self.get_argument("error", ""):
            raise web.HTTPError(403, SAID_NO)
        if not self.get_argument("code", ""):
            raise web.HTTPError(400, BEGIN_AGAIN)
        user = await self.login_user()
        if user is None or self.begun is None:
            raise web.HTTPError(403, SAID_NO)
        kept = Logins.of_state(await user.get_auth_state())
        await self.authenticator.watch.began(user, kept, self.begun)
        self.redirect(self.get_next_url(user))

    @override
    def check_state(self) -> None:
        kept = self._kept()
        given = _deserialize_state(self.get_argument("state", "")).get("state_id")
        expected = kept.get("state_id")
        if not isinstance(given, str) or not isinstance(expected, str):
            raise web.HTTPError(400, BEGIN_AGAIN)
        if not hmac.compare_digest(given.encode(), expected.encode()):
            raise web.HTTPError(400, BEGIN_AGAIN)
        if not 0 <= time.time() - float(kept.get("begun_at", 0)) <= _STATE_SECONDS:
            raise web.HTTPError(400, BEGIN_AGAIN)
        used: dict[str, None] = self.settings.setdefault("himalia_used_states", {})
        digest = hashlib.sha256(expected.encode()).hexdigest()[:32]
        if digest in used:
            raise web.HTTPError(400, BEGIN_AGAIN)
        if len(used) >= _MOST_USED:
            # The oldest: its code, the provider's and usable once, ran out long before.
            del used[next(iter(used))]
        used[digest] = None

    def nonce(self) -> str:
        """Return what the ID token must have in it."""
        nonce = self._kept().get("nonce")
        if not isinstance(nonce, str) or not nonce:
            raise web.HTTPError(400, BEGIN_AGAIN)
        return nonce

    @override
    def get_state_cookie(self) -> str:
        if self._state_cookie is None:
            name = state_cookie_name(self)
            self._state_cookie = (self.get_secure_cookie(name) or b"").decode("utf8", "replace")
            self.clear_cookie(name)
        return self._state_cookie

    def _kept(self) -> dict[str, Any]:
        found = _deserialize_state(self.get_state_cookie()) if self.get_state_cookie() else {}
        return found if isinstance(found, dict) else {}

    @override
    def get_next_url(self, user: Any = None) -> str:
        wanted = path_only(self, str(self._kept().get("next_url") or ""))
        return wanted or str(BaseHandler.get_next_url(self, user))


class LogoutHandler(_Quiet, OAuthLogoutHandler):  # type: ignore[misc]
    """Ends every tab of a user here, and their session at the provider."""

    _logins: tuple[Login, ...] = ()

    @override
    async def default_handle_logout(self) -> None:
        user, browser = self.current_user, self.get_session_cookie()
        await super().default_handle_logout()
        if user is None:
            return
        logins = await self.authenticator.watch.end(user, End.LOGOUT)
        # The browser's own session ends in the browser; the others', by their refresh tokens.
        here = sorted(logins, key=lambda login: login.browser != browser)
        self._logins = tuple(here[:1])
        for login in here[1:]:
            try:
                if login.refresh_token:
                    await self.authenticator.provider.revoke(login.refresh_token)
            except (ProviderRefused, ProviderUnavailable) as error:
                self.log.warning("A session at the provider could not be ended: %s", error)

    @override
    async def render_logout_page(self) -> None:
        end = ""
        try:
            end = await self.authenticator.provider.endpoint("end_session_endpoint")
        except (ProviderRefused, ProviderUnavailable) as error:
            self.log.warning("The session at the provider could not be ended: %s", error)
        if not end or not self._logins:
            await super().render_logout_page()
            return
        callback = self.authenticator.get_callback_url(self)
        query = {
            "id_token_hint": self._logins[0].id_token,
            "client_id": self.authenticator.client_id,
            "post_logout_redirect_uri": callback.removesuffix("oauth_callback") + "login",
        }
        self.redirect(f"{end}{'&' if '?' in end else '?'}{urlencode(query)}")


class BackchannelLogoutHandler(_Quiet):
    """The provider says that somebody's session ended (OpenID Connect Back-Channel Logout)."""

    async def post(self) -> None:
        """End the logins that a logout token names."""
        try:
            said = await self.authenticator.verifier.logout_token(
                self.get_body_argument("logout_token", "")
            )
        except Untrusted as untrusted:
            self.log.warning("A back-channel logout was refused: %s", untrusted)
            self._answer(400)
            return
        except (ProviderUnavailable, ProviderRefused) as error:
            self.log.warning("A back-channel logout could not be checked: %s", error)
            self._answer(503)
            return
        subject, session = str(said.get("sub") or ""), str(said.get("sid") or "")
        await self.authenticator.watch.end_of(subject, session)
        self._answer(200)

    def _answer(self, status: int) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish("{}" if status == 200 else '{"error": "invalid_request"}')

    @override
    def check_xsrf_cookie(self) -> None:
        """The token itself is the proof; cookies count for nothing here."""

    @override
    async def prepare(self) -> None:
        # Whoever calls is no user, and needs no session looked up.
        self._jupyterhub_user = None
        self._resolve_roles_and_scopes()


class TokenHandler(APIHandler):  # type: ignore[misc]
    """Gives control access tokens in its users' names."""

    async def post(self) -> None:
        """Answer with an access token for ``name`` and ``audience``."""
        asking = self.current_user
        is_control = isinstance(asking, orm.Service) and asking.name == SERVICE
        if not is_control or self.get_token() is None:
            raise web.HTTPError(403, "Only Himalia's control may ask for this.")
        body = self.get_json_body() or {}
        user = self.find_user(str(body.get("name", "")))
        try:
            request = TokenRequest(audience=body.get("audience", ""))
        except ValidationError:
            raise web.HTTPError(400, "audience: is not a name of a service") from None
        if user is None:
            raise web.HTTPError(404, "There is no such user.")
        try:
            made = await self.authenticator.exchange.token(user, request.audience)
        except HimaliaError as error:
            raise web.HTTPError(error.http_status, str(error)) from None
        self.set_header("Cache-Control", "no-store")
        self.finish(made.model_dump_json())


def state_cookie_name(handler: Any) -> str:
    """Return the name of the cookie that a login begins with.

    Behind TLS browsers take it from this host alone: a sibling's page could otherwise plant the
    beginning of its own user's login, and have others sign in as them.
    """
    public = handler.settings.get("public_url")
    scheme = public.scheme if public else handler.request.protocol
    return f"__Host-{STATE_COOKIE_NAME}" if scheme == "https" else STATE_COOKIE_NAME


def path_only(handler: Any, wanted: str) -> str:
    """Return where to go after a login: a path on this hub's own origin, or nothing."""
    if not wanted or any(ord(letter) < 33 for letter in wanted):
        return ""
    path = str(handler._validate_next_url(wanted))  # noqa: SLF001 - JupyterHub's own check
    is_path = path.startswith("/") and path[1:2] not in {"/", "\\"}
    return path if is_path else ""
