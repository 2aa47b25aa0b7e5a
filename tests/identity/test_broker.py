"""Access tokens for other services, in people's names: exchanged, for one audience, short-lived."""

from __future__ import annotations

import asyncio
import time

import httpx
import jwt
import pytest

from himalia.core.errors import Forbidden, NotFound, Unavailable
from himalia_hub.broker import Broker
from tests.identity.person import WITHIN_SECONDS, Person, seconds_until
from tests.identity.provider import LyingProvider
from tests.servers.hub import Hub
from tests.servers.keycloak import Keycloak
from tests.servers.stalls import allowed

pytestmark = pytest.mark.asyncio(loop_scope="session")


def control_token(hub: Hub) -> str:
    return (hub.state / "secrets/control-token").read_text()


def broker(hub: Hub) -> Broker:
    return Broker(f"{hub.url}/hub/api", control_token(hub))


async def test_a_token_is_for_its_audience_alone_and_the_provider_vouches_for_it(
    hub: Hub, keycloak: Keycloak
) -> None:
    async with Person(hub.url, "bob") as bob:
        await bob.sign_in()
        made = await broker(hub).token("bob", "team-data")
    key = jwt.PyJWKClient(f"{keycloak.issuer}/protocol/openid-connect/certs")
    signing = await asyncio.to_thread(key.get_signing_key_from_jwt, made.access_token)
    claims = jwt.decode(
        made.access_token,
        signing,
        algorithms=["RS256"],
        audience="team-data",
        issuer=keycloak.issuer,
    )
    assert claims["aud"] == "team-data"
    assert claims["preferred_username"] == "bob"
    assert claims["typ"] == "Bearer", "no ID token"
    assert 0 < made.expires_at.timestamp() - time.time() <= 300
    assert made.access_token not in repr(made)
    assert made.access_token not in hub.log()


async def test_a_token_is_kept_while_it_is_good_and_renewed_after(hub: Hub) -> None:
    async with Person(hub.url, "bob") as bob:
        await bob.sign_in()
        ours = broker(hub)
        first = await ours.token("bob", "team-data")
        assert await ours.token("bob", "team-data") == first
        renewed = first
        # The realm's tokens live for half a minute, and are renewed well before their end.
        for _ in range(60):
            if renewed != first:
                break
            await asyncio.sleep(1)
            renewed = await ours.token("bob", "team-data")
        assert renewed.expires_at > first.expires_at
        assert await bob.is_in()


async def test_only_allowed_audiences_are_asked_for(hub: Hub) -> None:
    async with Person(hub.url, "bob") as bob:
        await bob.sign_in()
        with pytest.raises(Forbidden, match="token_audiences"):
            await broker(hub).token("bob", "anything")
        with pytest.raises(Forbidden, match="gives no token for payroll"):
            await broker(hub).token("bob", "payroll")


async def test_a_login_that_ended_gives_no_more_tokens(hub: Hub, keycloak: Keycloak) -> None:
    number = keycloak.make("greta", "/research")
    async with Person(hub.url, "greta") as greta:
        await greta.sign_in()
        assert await broker(hub).token("greta", "team-data")
        keycloak.change(number, enabled=False)

        async def is_over() -> bool:
            try:
                await broker(hub).token("greta", "team-data")
            except Forbidden as error:
                return "login of greta has ended" in str(error)
            return False

        begun = time.monotonic()
        assert await seconds_until(is_over) < allowed(WITHIN_SECONDS, begun)


async def test_people_get_no_tokens_past_control(hub: Hub) -> None:
    async with Person(hub.url, "alice") as alice:
        await alice.sign_in()
        asked = {"name": "bob", "audience": "team-data"}
        token = await alice.token()
        for credentials in ({"token": token, "xsrf": False}, {}):
            answer = await alice.ask("POST", "/hub/api/himalia/tokens", json=asked, **credentials)
            assert answer.status_code == 403, answer.text
    other = await hub.api("POST", "himalia/tokens", json=asked)
    assert other.status_code == 403, "another service, even one that may do everything"


async def test_what_is_wrong_is_said(hub: Hub) -> None:
    with pytest.raises(NotFound):
        await broker(hub).token("nobody-at-all", "team-data")
    with pytest.raises(Unavailable):
        await Broker("http://127.0.0.1:9/hub/api", "x").token("bob", "team-data")
    headers = {"Authorization": f"token {control_token(hub)}"}
    async with httpx.AsyncClient(base_url=hub.url, headers=headers, trust_env=False) as control:
        for body in ("{}", "[]", "x", '{"name": "bob", "audience": "a b"}', '{"name": 1}'):
            answer = await control.post("/hub/api/himalia/tokens", content=body)
            assert 400 <= answer.status_code < 500, body


async def test_without_exchange_only_a_token_that_names_the_audience_is_passed_on(
    lying: LyingProvider, lied_to: Hub
) -> None:
    lying.be_honest()
    async with Person(lied_to.url) as first:
        await first.go("/hub/oauth_login")
        with pytest.raises(Forbidden, match="not for it"):
            await broker(lied_to).token("alice", "team-data")
        await first.go("/hub/logout")
        lying.access_audience = ["account", "team-data"]
        await first.go("/hub/oauth_login")
        made = await broker(lied_to).token("alice", "team-data")
    claims = jwt.decode(made.access_token, options={"verify_signature": False})
    assert "team-data" in claims["aud"]
    assert "nonce" not in claims, "not the ID token"
