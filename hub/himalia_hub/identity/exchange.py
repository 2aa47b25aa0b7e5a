"""The token broker: short-lived access tokens for other services, in a user's name.

It works in the hub, the one place that has refresh tokens; control asks for its users.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import jwt

from himalia.core.errors import Forbidden, Unavailable
from himalia.core.team import AccessToken
from himalia_hub.identity.logins import Login
from himalia_hub.identity.provider import Provider, ProviderRefused, ProviderUnavailable
from himalia_hub.identity.settings import OidcSettings
from himalia_hub.identity.watch import Watch

_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_KIND = "urn:ietf:params:oauth:token-type:access_token"
_EARLY_SECONDS = 20.0
_MOST_KEPT = 10_000


class Exchange:
    """Gets tokens by RFC 8693 where the provider offers it, and passes on its own otherwise."""

    def __init__(self, settings: OidcSettings, provider: Provider, watch: Watch) -> None:
        self._audiences = dict(settings.token_audiences)
        self._provider = provider
        self._watch = watch
        self._kept: dict[tuple[str, str, float], AccessToken] = {}

    async def token(self, user: Any, audience: str) -> AccessToken:
        """Return a token that is good for a while yet.

        :raises Forbidden: no such audience is allowed, or the user's login has ended.
        :raises Unavailable: the provider does not answer.
        """
        if audience not in self._audiences:
            raise Forbidden(
                f"Tokens for {audience} are not given out here. An administrator of the hub can "
                "allow it with c.Himalia.token_audiences."
            )
        try:
            login = await self._watch.login(user)
            if login is None:
                raise Forbidden(
                    f"The login of {user.name} has ended, so nothing can be asked for in their "
                    "name. Sign in at the hub again; what runs can then ask again."
                )
            return await self._token(user.name, login, audience)
        except ProviderUnavailable:
            raise Unavailable(
                "The identity provider does not answer just now. Try again in a minute."
            ) from None

    async def _token(self, name: str, login: Login, audience: str) -> AccessToken:
        # What was got under another login ended with it.
        key = (name, audience, login.begun_at)
        kept = self._kept.get(key)
        if kept is not None and kept.expires_at.timestamp() - time.time() > _EARLY_SECONDS:
            return kept
        offered = (await self._provider.metadata()).get("grant_types_supported") or ()
        made = await (
            self._exchanged(login, audience) if _GRANT in offered else self._own(login, audience)
        )
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        self._kept[key] = made
        return made

    async def _exchanged(self, login: Login, audience: str) -> AccessToken:
        form = {
            "grant_type": _GRANT,
            "subject_token": login.access_token,
            "subject_token_type": _KIND,
            "requested_token_type": _KIND,
            "audience": audience,
        }
        if self._audiences[audience]:
            form["scope"] = self._audiences[audience]
        try:
            answer = await self._provider.tokens(form)
        except ProviderRefused as refused:
            raise _refusal(audience, refused.code) from None
        if answer.get("issued_token_type", _KIND) != _KIND:
            raise _refusal(audience, "another kind of token came back")
        token = str(answer["access_token"])
        named = audiences_of(token)
        if named is not None and audience not in named:
            raise _refusal(audience, "the token is for somebody else")
        return _made(token, audience, answer.get("expires_in"), answer.get("scope"))

    async def _own(self, login: Login, audience: str) -> AccessToken:
        if audience not in (audiences_of(login.access_token) or ()):
            raise _refusal(audience, "it exchanges no tokens, and the login's is not for it")
        return _made(login.access_token, audience, login.expires_at - time.time(), None)


def audiences_of(token: str) -> tuple[str, ...] | None:
    """Return whom a token is for; None where it does not say, as it is no JWT."""
    try:
        # Not verified: it came from the provider itself, and is not trusted here for anything.
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError:
        return None
    audience = claims.get("aud")
    return tuple(map(str, audience)) if isinstance(audience, list) else (str(audience or ""),)


def _refusal(audience: str, why: str) -> Forbidden:
    return Forbidden(
        f"The identity provider gives no token for {audience} ({why}). Ask the administrators of "
        "the hub to allow it there."
    )


def _made(token: str, audience: str, seconds: object, scope: object) -> AccessToken:
    lasts = float(seconds) if isinstance(seconds, int | float) else 60.0
    return AccessToken(
        access_token=token,
        audience=audience,
        expires_at=datetime.fromtimestamp(time.time() + lasts, UTC),
        scopes=tuple(scope.split()) if isinstance(scope, str) else (),
    )
