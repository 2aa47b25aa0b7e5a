"""What the provider's signed tokens say, after every check that OpenID Connect asks for."""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from typing import Any

import jwt

from himalia_hub.identity.provider import Provider
from himalia_hub.identity.settings import OidcSettings

_MAX_TOKEN_CHARACTERS = 64_000
_MAX_GROUPS = 1000
_MAX_NAME = 255
_LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
_LOGOUT_SECONDS = 120.0
_MAX_SEEN = 10_000


class Untrusted(Exception):
    """A token is not what it should be; the text says why, and nothing from the token."""


class Verifier:
    """Checks tokens of one provider that are meant for one client."""

    def __init__(self, settings: OidcSettings, provider: Provider) -> None:
        self._algorithms = list(settings.oidc_algorithms)
        self._leeway = settings.oidc_leeway_seconds
        self._provider = provider
        self._seen: dict[str, float] = {}

    async def id_token(
        self, token: object, *, nonce: str | None = None, subject: str | None = None
    ) -> dict[str, Any]:
        """Return the claims of an ID token.

        :param nonce: what the login began with; None after a refresh, where there is none.
        :param subject: whose it must be, after a refresh.
        :raises Untrusted: anything about it is wrong.
        """
        claims = await self._decode(token, ("exp", "iat", "iss", "aud", "sub"))
        self._check_party(claims)
        if nonce is not None:
            given = claims.get("nonce")
            if not isinstance(given, str) or not hmac.compare_digest(
                given.encode(), nonce.encode()
            ):
                raise Untrusted("its nonce is not this login's")
        if not claims["sub"] or (subject is not None and claims["sub"] != subject):
            raise Untrusted("it is about somebody else")
        return claims

    async def logout_token(self, token: object) -> dict[str, Any]:
        """Return the claims of a back-channel logout token, each of which counts once.

        :raises Untrusted: anything about it is wrong, or it was seen before.
        """
        claims = await self._decode(token, ("iat", "iss", "aud", "jti"))
        events = claims.get("events")
        if not isinstance(events, dict) or not isinstance(events.get(_LOGOUT_EVENT), dict):
            raise Untrusted("it is no logout token")
        if "nonce" in claims:
            raise Untrusted("a logout token has no nonce")
        if not (_is_text(claims.get("sub")) or _is_text(claims.get("sid"))):
            raise Untrusted("it says nobody's name")
        now = time.time()
        if abs(now - float(claims["iat"])) > _LOGOUT_SECONDS + self._leeway:
            raise Untrusted("it is too old")
        self._once(str(claims["jti"]), now)
        return claims

    def _once(self, jti: str, now: float) -> None:
        for old in [key for key, until in self._seen.items() if until < now]:
            del self._seen[old]
        if jti in self._seen or len(self._seen) >= _MAX_SEEN:
            raise Untrusted("it was used before")
        self._seen[jti] = now + 2 * (_LOGOUT_SECONDS + self._leeway)

    async def _decode(self, token: object, needed: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(token, str) or not 0 < len(token) <= _MAX_TOKEN_CHARACTERS:
            raise Untrusted("it is missing")
        try:
            header = jwt.get_unverified_header(token)
            if header.get("alg") not in self._algorithms:
                raise Untrusted("its signature is of a kind that is not accepted")
            key = await self._provider.key(header.get("kid"))
            if key is None:
                raise Untrusted("the provider has no such key")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=self._algorithms,
                audience=self._provider.client_id,
                issuer=self._provider.issuer,
                leeway=self._leeway,
                options={"require": list(needed), "verify_iat": True},
            )
        except jwt.PyJWTError as error:
            # The kind of error names no value; its text might.
            raise Untrusted(type(error).__name__) from None
        return claims

    def _check_party(self, claims: Mapping[str, Any]) -> None:
        audience = claims["aud"]
        party = claims.get("azp")
        if party is not None and party != self._provider.client_id:
            raise Untrusted("it was made for another client")
        if isinstance(audience, list) and len(audience) > 1 and party is None:
            raise Untrusted("it has several audiences and names none of them as its client")


def groups_of(claims: Mapping[str, Any], path: str) -> tuple[str, ...] | None:
    """Return the groups that a claim names; None where the claim is not there.

    A claim of any form but a list of names gives no group: what was meant is not guessed.
    """
    found: Any = claims
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    if not isinstance(found, list) or len(found) > _MAX_GROUPS:
        return ()
    if not all(_is_text(name) for name in found):
        return ()
    return tuple(dict.fromkeys(found))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _MAX_NAME
