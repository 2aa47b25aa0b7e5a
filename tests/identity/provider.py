"""A provider that lies: a correct one, of which each test spoils one thing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from tornado import httpserver, netutil, web

CLIENT = "himalia"
SECRET = "of-the-lying-provider"
Claims = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Key:
    """A signing key and its name."""

    name: str
    private: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )

    def public(self) -> dict[str, Any]:
        """Return it as the provider publishes it."""
        made: dict[str, Any] = jwt.algorithms.RSAAlgorithm.to_jwk(
            self.private.public_key(), as_dict=True
        )
        return {**made, "kid": self.name, "use": "sig", "alg": "RS256"}

    def sign(self, claims: Claims, **headers: Any) -> str:
        """Return a token."""
        return jwt.encode(
            claims, self.private, algorithm="RS256", headers={"kid": self.name, **headers}
        )


class LyingProvider:
    """Answers at `issuer`; whoever comes to sign in is `person`, without being asked."""

    def __init__(self) -> None:
        self.key = Key("first")
        self.published = [self.key]
        self.codes: dict[str, dict[str, str]] = {}
        self.forgotten: list[str] = []
        self.grants = ["authorization_code", "refresh_token"]
        self.be_honest()

    def be_honest(self) -> None:
        """Take back every lie."""
        self.person: Claims = {"sub": "alice-1", "preferred_username": "alice", "groups": ["staff"]}
        self.spoil: Callable[[Claims], Claims | str | None] = lambda claims: claims
        self.info: Callable[[Claims], Claims] = lambda claims: claims
        self.access_audience: Any = "account"

    async def __aenter__(self) -> Self:
        [socket] = netutil.bind_sockets(0, "127.0.0.1")
        self.issuer = f"http://127.0.0.1:{socket.getsockname()[1]}"
        routes = [
            ("/.well-known/openid-configuration", _Discovery),
            ("/keys", _Keys),
            ("/authorize", _Authorize),
            ("/token", _Token),
            ("/userinfo", _UserInfo),
            ("/revoke", _Revoke),
            ("/logout", _Logout),
        ]
        self._server = httpserver.HTTPServer(
            web.Application(routes, provider=self, log_function=lambda _: None)
        )
        self._server.add_sockets([socket])
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop()
        await self._server.close_all_connections()

    def id_token(self, nonce: str) -> str | None:
        """Return what the token endpoint gives as ID token, spoilt."""
        now = int(time.time())
        claims: Claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": nonce,
            **self.person,
        }
        made = self.spoil(claims)
        return self.key.sign(made) if isinstance(made, dict) else made

    def logout_token(self, subject: str, **others: Any) -> Claims:
        """Return the claims of a correct logout token."""
        return {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": int(time.time()),
            "exp": int(time.time()) + 120,
            "jti": secrets.token_hex(8),
            "sub": subject,
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
            **others,
        }


class _Handler(web.RequestHandler):
    @property
    def provider(self) -> LyingProvider:
        found: LyingProvider = self.settings["provider"]
        return found


class _Discovery(_Handler):
    def get(self) -> None:
        its = self.provider
        self.write(
            {
                "issuer": its.issuer,
                "jwks_uri": f"{its.issuer}/keys",
                "authorization_endpoint": f"{its.issuer}/authorize",
                "token_endpoint": f"{its.issuer}/token",
                "userinfo_endpoint": f"{its.issuer}/userinfo",
                "revocation_endpoint": f"{its.issuer}/revoke",
                "end_session_endpoint": f"{its.issuer}/logout",
                "grant_types_supported": its.grants,
            }
        )


class _Keys(_Handler):
    def get(self) -> None:
        self.write({"keys": [key.public() for key in self.provider.published]})


class _Authorize(_Handler):
    def get(self) -> None:
        asked = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.provider.codes[code] = asked
        self.redirect(f"{asked['redirect_uri']}?code={code}&state={asked['state']}")


class _Token(_Handler):
    def post(self) -> None:
        its = self.provider
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        assert self.request.headers["Authorization"] == f"Basic {basic}"
        nonce = ""
        if self.get_body_argument("grant_type") == "authorization_code":
            asked = its.codes.pop(self.get_body_argument("code"), None)
            if asked is None or not self._proves(asked):
                self.set_status(400)
                self.write({"error": "invalid_grant"})
                return
            nonce = asked["nonce"]
        access = its.key.sign({"aud": its.access_audience, "sub": its.person["sub"]})
        self.write(
            {
                "access_token": access,
                "token_type": "Bearer",
                "expires_in": 300,
                "refresh_token": secrets.token_urlsafe(16),
                "id_token": its.id_token(nonce),
            }
        )

    def _proves(self, asked: dict[str, str]) -> bool:
        verifier = self.get_body_argument("code_verifier")
        digest = hashlib.sha256(verifier.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return (
            challenge == asked["code_challenge"]
            and self.get_body_argument("redirect_uri") == asked["redirect_uri"]
        )


class _UserInfo(_Handler):
    def get(self) -> None:
        self.write(self.provider.info(dict(self.provider.person)))


class _Revoke(_Handler):
    def post(self) -> None:
        self.provider.forgotten.append(self.get_body_argument("token"))


class _Logout(_Handler):
    def get(self) -> None:
        self.redirect(self.get_query_argument("post_logout_redirect_uri"))


STRANGER = Key("stranger")
IMPOSTOR = Key("first")
"""Another key under the name of the right one."""


def parts(claims: Claims, **headers: Any) -> str:
    """Return a token up to its signature."""
    both = [json.dumps(part).encode() for part in ({"typ": "JWT", **headers}, claims)]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in both)


def unsigned(claims: Claims, **headers: Any) -> str:
    """Return a token that says it needs no signature."""
    return parts(claims, alg="none", **headers) + "."


def signed_with_public_key(claims: Claims) -> str:
    """Sign with what everybody knows, as if it were a shared secret."""
    text = parts(claims, alg="HS256", kid="first")
    public = json.dumps(IMPOSTOR.public()).encode()
    mark = hmac.new(public, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(mark).decode().rstrip('=')}"


def without(claims: Claims, name: str) -> Claims:
    """Return claims that lack one."""
    return {key: value for key, value in claims.items() if key != name}
