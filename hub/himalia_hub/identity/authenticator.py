"""Login through an OpenID Connect provider, on oauthenticator's generic authenticator."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from typing import Any

from jupyterhub import log
from oauthenticator.generic import GenericOAuthenticator
from tornado import web
from typing_extensions import override

from himalia_hub.identity.admission import Admission
from himalia_hub.identity.claims import Untrusted, Verifier
from himalia_hub.identity.endings import Door
from himalia_hub.identity.exchange import Exchange
from himalia_hub.identity.handlers import (
    BackchannelLogoutHandler,
    CallbackHandler,
    LoginHandler,
    LogoutHandler,
    TokenHandler,
)
from himalia_hub.identity.logins import Login, Logins
from himalia_hub.identity.names import Names
from himalia_hub.identity.people import Accounts
from himalia_hub.identity.provider import Provider, ProviderRefused, ProviderUnavailable
from himalia_hub.identity.watch import Watch
from himalia_hub.settings import Himalia

_CHECKED_SECONDS = 5

NOBODY = (
    "Nobody can sign in: neither c.Himalia.oidc_allowed_groups nor c.Himalia.oidc_admin_groups "
    "nor c.Himalia.oidc_allowed_subjects is set, nor any of JupyterHub's own lists "
    "(c.Authenticator.allowed_users, admin_users, allow_all)."
)
DENIED = (
    "You are known, but you are in no group that may use this hub. Ask its administrators to let "
    "you in, then sign in again."
)
UNAVAILABLE = (
    "The service that knows who you are does not answer just now. Try again in a minute; if it "
    "goes on, tell the administrators of this hub."
)
REFUSED = (
    "The sign-in did not work out, so it was ended for your safety. Sign in again; if it happens "
    "again, tell the administrators of this hub."
)


class OidcAuthenticator(GenericOAuthenticator):  # type: ignore[misc]
    """Lets in whom the provider knows and the settings allow; the account is issuer and subject."""

    login_handler = LoginHandler
    callback_handler = CallbackHandler
    logout_handler = LogoutHandler

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        its = self.settings = Himalia(config=self.config)
        self.enable_auth_state = True
        self.enable_pkce = True
        self.manage_groups = True
        self.any_allow_config = True
        self.refresh_pre_spawn = True
        self.auth_refresh_age = _CHECKED_SECONDS
        self.auth_refresh_strict = True
        self.client_id = its.oidc_client_id
        self.login_service = its.oidc_name
        self.scope = list(its.oidc_scopes)
        self.oauth_callback_url = its.oidc_callback_url
        self.provider = Provider(its)
        self.verifier = Verifier(its, self.provider)
        self._working: asyncio.Task[None] | None = None

    @override
    def get_handlers(self, app: Any) -> list[Any]:
        """Take up work as well: JupyterHub asks for this once, when all but the pages is there."""
        door = Door(app, keep_api_tokens=self.settings.oidc_keep_api_tokens)
        self.admission = Admission(self.settings, self)
        self.watch = Watch(self.admission, self.provider, self.verifier, door, self.log)
        self.exchange = Exchange(self.settings, self.provider, self.watch)
        self.names = Names(app.db, Accounts(self.settings), self.admission.names)
        if self.admission.is_nobody:
            self.log.warning(NOBODY)
        # JupyterHub writes the addresses of redirects to its log, without what these name.
        log.SCRUB_PARAM_KEYS = tuple({*log.SCRUB_PARAM_KEYS, "nonce"})
        self._working = asyncio.get_event_loop().create_task(self.watch.run())
        return [
            *super().get_handlers(app),
            ("/oidc/backchannel-logout", BackchannelLogoutHandler),
            ("/api/himalia/tokens", TokenHandler),
        ]

    @override
    async def authenticate(self, handler: Any, data: Any = None, **kwargs: Any) -> dict[str, Any]:
        try:
            login, subject, info = await self._redeem(handler)
        except ProviderUnavailable as silent:
            self.log.warning("The identity provider does not answer: %s", silent)
            raise web.HTTPError(503, UNAVAILABLE) from None
        except ProviderRefused as refused:
            self.log.warning("A sign-in was refused by the provider: %s", refused.code)
            raise web.HTTPError(400, REFUSED) from None
        except Untrusted as untrusted:
            self.log.warning("A sign-in was refused, for its ID token: %s", untrusted)
            raise web.HTTPError(400, REFUSED) from None
        admission = self.admission
        login = admission.told(login, info)
        groups = admission.groups(login, info)
        claimed = {**login.claims, **info}.get(self.settings.oidc_username_claim)
        name = await self._admitted(subject, groups, claimed)
        if name is None:
            await self._forget(login)
            raise web.HTTPError(403, DENIED)
        handler.begun = login
        logins = Logins(issuer=self.provider.issuer, subject=subject, items=(login,))
        return {
            "name": name,
            "admin": admission.is_admin(name, groups),
            "groups": list(groups),
            "auth_state": logins.state(),
        }

    async def _admitted(self, subject: str, groups: tuple[str, ...], claimed: object) -> str | None:
        """Return the name at the hub of somebody who may sign in; None for anybody else.

        Who may not gets no name either, or a stranger could take one before its owner comes.
        """
        issuer = self.provider.issuer
        name = await self.names.known(issuer, subject)
        if not self.admission.admits(name or self.names.listed(claimed), subject, groups):
            return None
        name = await self.names.of(issuer, subject, claimed)
        # Whoever was let in for a name, and did not get it, is somebody else.
        return name if self.admission.admits(name, subject, groups) else None

    async def _redeem(self, handler: Any) -> tuple[Login, str, dict[str, Any]]:
        """Turn the code of a callback into a login, with every check on what comes back."""
        known = ("code", "grant_type", "redirect_uri", "code_verifier")
        params = self.build_access_tokens_request_params(handler)
        answer = await self.provider.tokens({name: params[name] for name in known})
        claims = await self.verifier.id_token(answer.get("id_token"), nonce=handler.nonce())
        info = await self.provider.user_info(str(answer["access_token"]))
        subject = str(claims["sub"])
        if not hmac.compare_digest(str(info.get("sub")).encode(), subject.encode()):
            raise Untrusted("the provider's two answers are about two people")
        empty = Login(
            browser=handler.get_session_cookie() or handler.set_session_cookie(),
            session=str(claims.get("sid") or ""),
            access_token="",
        )
        return empty.renewed(answer, claims), subject, info

    async def _forget(self, login: Login) -> None:
        try:
            if login.refresh_token:
                await self.provider.revoke(login.refresh_token)
        except (ProviderRefused, ProviderUnavailable) as error:
            self.log.warning("The provider kept a login that was not let in: %s", error)

    @override
    async def check_allowed(self, username: str, auth_model: Mapping[str, Any] | None) -> bool:
        """Decided by subject and groups in :meth:`authenticate`, before there was a name."""
        return auth_model is not None and "himalia" in (auth_model.get("auth_state") or {})

    @override
    async def refresh_user(self, user: Any, handler: Any = None, **kwargs: Any) -> bool:
        return await self.watch.holds(user, max_age=_CHECKED_SECONDS)
