"""The identity provider over HTTP: its metadata, keys, tokens and what it says of people."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from typing import Any

import httpx
import jwt

from himalia_hub.identity.settings import OidcSettings

_TIMEOUT = httpx.Timeout(5.0, connect=3.0)
_LIMITS = httpx.Limits(max_connections=32, max_keepalive_connections=16)
_METADATA_SECONDS = 3600.0
_KEYS_SECONDS = 3600.0
_KEYS_AGAIN_SECONDS = 10.0
"""Unknown key ids are free to make up; they do not make the hub ask more often than this."""
_MAX_ANSWER_BYTES = 1 << 20


class ProviderUnavailable(Exception):
    """The provider does not answer, or answers that it cannot."""


class ProviderRefused(Exception):
    """The provider says no; `code` is OAuth's, such as ``invalid_grant``."""

    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        self.status = status


class Provider:
    """Asks one provider. Nothing of what is sent or answered is ever logged."""

    def __init__(self, settings: OidcSettings) -> None:
        self.issuer = settings.oidc_issuer
        self.client_id = settings.oidc_client_id
        self._secret = settings.oidc_client_secret
        verify = ssl.create_default_context(cafile=settings.oidc_ca_file or None)
        self._http = httpx.AsyncClient(
            timeout=_TIMEOUT, limits=_LIMITS, verify=verify, follow_redirects=False
        )
        self._metadata: dict[str, Any] = {}
        self._metadata_at = 0.0
        self._keys: dict[str, jwt.PyJWK] = {}
        self._keys_at = float("-inf")
        self._learning = asyncio.Lock()

    async def metadata(self) -> Mapping[str, Any]:
        """Return the discovery document.

        :raises ProviderUnavailable: and ProviderRefused: there is none that fits.
        """
        if self._metadata and time.monotonic() - self._metadata_at < _METADATA_SECONDS:
            return self._metadata
        async with self._learning:
            url = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
            try:
                found = await self._ask("GET", url)
            except ProviderUnavailable:
                if self._metadata:
                    return self._metadata
                raise
            if found.get("issuer") != self.issuer:
                # A document for somebody else's tokens.
                raise ProviderRefused("issuer_mismatch")
            self._metadata, self._metadata_at = found, time.monotonic()
            return found

    async def endpoint(self, name: str) -> str:
        """Return an address of the provider's, empty where it has none."""
        return str((await self.metadata()).get(name) or "")

    async def key(self, key_id: str | None) -> jwt.PyJWK | None:
        """Return the key that a token names; a new one is looked for once in a while."""
        age = time.monotonic() - self._keys_at
        known = key_id in self._keys if key_id else len(self._keys) == 1
        if age > _KEYS_SECONDS or (not known and age > _KEYS_AGAIN_SECONDS):
            await self._learn_keys()
        if key_id:
            return self._keys.get(key_id)
        return next(iter(self._keys.values())) if len(self._keys) == 1 else None

    async def _learn_keys(self) -> None:
        url = await self.endpoint("jwks_uri")
        async with self._learning:
            try:
                answer = await self._ask("GET", url)
            except ProviderUnavailable:
                if self._keys:
                    return
                raise
            made = {}
            for number, entry in enumerate(answer.get("keys") or ()):
                if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
                    continue
                try:
                    made[str(entry.get("kid") or f"#{number}")] = jwt.PyJWK(entry)
                except jwt.PyJWTError:
                    continue  # of a kind that is not known here, so no token of it is accepted
            self._keys, self._keys_at = made, time.monotonic()

    async def tokens(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Ask the token endpoint (:raises ProviderRefused:, :raises ProviderUnavailable:)."""
        answer = await self._post("token_endpoint", form)
        if not isinstance(answer.get("access_token"), str):
            raise ProviderRefused("no_access_token")
        return answer

    async def user_info(self, access_token: str) -> dict[str, Any]:
        """Return what the provider says of a person now, by a token of theirs.

        :raises ProviderRefused: the token, its session or the person is not valid any more.
        """
        url = await self.endpoint("userinfo_endpoint")
        return await self._ask("GET", url, headers={"Authorization": f"Bearer {access_token}"})

    async def revoke(self, token: str) -> None:
        """Ask the provider to forget a refresh token, where it offers that."""
        if await self.endpoint("revocation_endpoint"):
            await self._post(
                "revocation_endpoint", {"token": token, "token_type_hint": "refresh_token"}
            )

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    async def _post(self, endpoint: str, form: Mapping[str, str]) -> dict[str, Any]:
        url = await self.endpoint(endpoint)
        methods = (await self.metadata()).get("token_endpoint_auth_methods_supported")
        basic = "client_secret_basic" in (methods or ["client_secret_basic"])
        if self._secret and basic:
            return await self._ask(
                "POST", url, data=form, auth=httpx.BasicAuth(self.client_id, self._secret)
            )
        ours = {"client_id": self.client_id}
        if self._secret:
            ours["client_secret"] = self._secret
        return await self._ask("POST", url, data={**form, **ours})

    async def _ask(self, method: str, url: str, **options: Any) -> dict[str, Any]:
        try:
            answer = await self._http.request(method, url, **options)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ProviderUnavailable(type(error).__name__) from None
        if answer.status_code >= 500 or answer.status_code == 429:
            raise ProviderUnavailable(f"HTTP {answer.status_code}")
        said: Any = {}
        if answer.content and len(answer.content) <= _MAX_ANSWER_BYTES:
            try:
                said = answer.json()
            except ValueError:
                said = None
        if answer.status_code != 200:
            code = said.get("error") if isinstance(said, dict) else None
            raise ProviderRefused(_plain(code) or f"http_{answer.status_code}", answer.status_code)
        if not isinstance(said, dict):
            raise ProviderRefused("not_json")
        return said


def _plain(code: object) -> str:
    """Take OAuth's error code and nothing else that a provider may say."""
    if isinstance(code, str) and len(code) <= 64 and code.replace("_", "").isalnum():
        return code
    return ""
