"""Logout by a message of the provider's: true ones count, once."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx
import pytest

from tests.identity.person import Person
from tests.identity.provider import IMPOSTOR, STRANGER, LyingProvider, unsigned, without
from tests.servers.hub import Hub

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOGOUTS: dict[str, Callable[[LyingProvider], str]] = {
    "none": lambda _: "",
    "alg none": lambda its: unsigned(its.logout_token("alice-1")),
    "unknown key": lambda its: STRANGER.sign(its.logout_token("alice-1")),
    "impostor": lambda its: IMPOSTOR.sign(its.logout_token("alice-1")),
    "iss": lambda its: its.key.sign(its.logout_token("alice-1", iss="http://127.0.0.1:9")),
    "aud": lambda its: its.key.sign(its.logout_token("alice-1", aud="other")),
    "nonce": lambda its: its.key.sign(its.logout_token("alice-1", nonce="x")),
    "no event": lambda its: its.key.sign(its.logout_token("alice-1", events={})),
    "old": lambda its: its.key.sign(
        its.logout_token("alice-1", iat=int(time.time()) - 600, exp=int(time.time()) + 60)
    ),
    "nobody": lambda its: its.key.sign(without(its.logout_token("alice-1"), "sub")),
    "no jti": lambda its: its.key.sign(without(its.logout_token("alice-1"), "jti")),
    "an ID token": lambda its: str(its.id_token("x")),
}


async def test_008_only_a_true_logout_token_ends_a_login_and_only_once(
    person: Person, lying: LyingProvider, lied_to: Hub
) -> None:
    await person.go("/hub/oauth_login")
    where = "/hub/oidc/backchannel-logout"
    async with httpx.AsyncClient(base_url=lied_to.url, trust_env=False) as provider:
        for kind, make in LOGOUTS.items():
            answer = await provider.post(where, data={"logout_token": make(lying)})
            assert answer.status_code == 400, kind
        assert await person.is_in()
        token = lying.key.sign(lying.logout_token("alice-1"))
        assert (await provider.post(where, data={"logout_token": token})).status_code == 200
        assert not await person.is_in()
        await person.go("/hub/oauth_login")
        assert (await provider.post(where, data={"logout_token": token})).status_code == 400
        assert await person.is_in(), "a logout that was seen before"
