"""What ends a login takes effect everywhere within 10 s: cookies, tokens, open sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
import pytest_asyncio

from tests.identity.person import WITHIN_SECONDS, Person, seconds_until
from tests.identity.session import Session, answers, closed
from tests.servers.hub import Hub
from tests.servers.keycloak import Keycloak
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.stalls import allowed

pytestmark = pytest.mark.asyncio(loop_scope="session")

NAME = "erin"


@pytest.fixture(scope="session")
def erin_id(keycloak: Keycloak) -> str:
    return keycloak.make(NAME, "/research")


@pytest_asyncio.fixture(loop_scope="session")
async def session(hub: Hub, keycloak: Keycloak, erin_id: str) -> AsyncIterator[Session]:
    """Erin's server, which all tests here share; she has signed in and has a kernel."""
    async with Person(hub.url, NAME) as erin:
        page = await erin.sign_in()
        assert page.url.path == "/hub/home", page.text[-3000:]
        made = Session(hub, erin)
        await made.open()
        yield made
        await made.close()


def revoke(keycloak: Keycloak, number: str) -> None:
    keycloak.admin("POST", f"users/{number}/logout")


def disable(keycloak: Keycloak, number: str) -> None:
    keycloak.change(number, enabled=False)


def remove(keycloak: Keycloak, number: str) -> None:
    keycloak.leave(number, "/research")


def change_password(keycloak: Keycloak, number: str) -> None:
    new = {"type": "password", "value": f"{NAME}-password", "temporary": False}
    keycloak.admin("PUT", f"users/{number}/reset-password", json=new)
    revoke(keycloak, number)


def restore(keycloak: Keycloak, number: str) -> None:
    keycloak.change(number, enabled=True)
    for group in keycloak.admin("GET", "groups").json():
        if group["path"] == "/research":
            keycloak.admin("PUT", f"users/{number}/groups/{group['id']}")


@pytest.mark.parametrize("act", [revoke, disable, remove, change_password])
async def test_008_033_what_the_provider_takes_away_is_gone_everywhere(
    session: Session, keycloak: Keycloak, erin_id: str, act: Callable[[Keycloak, str], None]
) -> None:
    erin = session.person
    token = await erin.token()
    by_cookie, by_token = await session.socket(), await session.socket(token)
    assert await answers(by_cookie)
    assert await answers(by_token)
    path = f"{session.base}/api/kernels"
    begun = time.monotonic()
    act(keycloak, erin_id)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(closed(by_cookie), closed(by_token))
        sockets = time.monotonic() - begun

        async def is_out() -> bool:
            with_token = await erin.ask("GET", path, token=token, xsrf=False)
            with_cookie = await erin.ask("GET", path)
            pages = await erin.is_in() or await erin.may(token)
            return not pages and with_token.status_code == with_cookie.status_code == 403

        await seconds_until(is_out)
        spent = time.monotonic() - begun
        print(f"{act.__name__}: sockets {sockets:.1f} s, everything {spent:.1f} s")
        assert spent < allowed(WITHIN_SECONDS, begun)
    finally:
        restore(keycloak, erin_id)
    kernel = session.kernel
    await erin.sign_in()
    await session.open()
    assert session.kernel == kernel, "the kernel lived on"
    assert await answers(await session.socket())


async def test_033_a_group_that_is_taken_away_is_gone_at_the_hub(
    hub: Hub, keycloak: Keycloak
) -> None:
    number = keycloak.make("frida", "/research", "/stewards")
    async with Person(hub.url, "frida") as frida:
        await frida.sign_in()
        assert (await frida.ask("GET", "/hub/api/user")).json()["admin"] is True
        keycloak.leave(number, "/stewards")

        async def is_plain() -> bool:
            model = (await hub.api("GET", "users/frida")).json()
            return model["groups"] == ["/research"] and not model["admin"]

        begun = time.monotonic()
        assert await seconds_until(is_plain) < allowed(WITHIN_SECONDS, begun)
        assert await frida.is_in(), "still somebody who may be here"


async def test_009_logging_out_ends_every_tab_and_socket(session: Session) -> None:
    erin = session.person
    async with Person(session.hub.url, NAME) as elsewhere:
        await elsewhere.sign_in()
        socket = await session.socket()
        begun = time.monotonic()
        page = await elsewhere.go("/hub/logout")
        assert page.url.path == "/hub/login"
        async with asyncio.timeout(PATIENCE_SECONDS):
            await closed(socket)
        assert time.monotonic() - begun < allowed(WITHIN_SECONDS, begun)
        for tab in (erin, elsewhere):
            assert not await tab.is_in()
            # The provider's session ended too: signing in asks for the password again.
            page = await tab.go("/hub/oauth_login")
            if tab is elsewhere:
                assert 'name="password"' in page.text
    assert (await erin.ask("GET", f"{session.base}/api/kernels")).status_code == 403


async def test_008_a_token_that_is_revoked_at_the_hub_ends_its_sockets(session: Session) -> None:
    erin = session.person
    made = await erin.ask(
        "POST", f"/hub/api/users/{NAME}/tokens", json={"note": "script", "expires_in": 3600}
    )
    socket = await session.socket(made.json()["token"])
    assert await answers(socket)
    own = await session.socket()
    begun = time.monotonic()
    path = f"/hub/api/users/{NAME}/tokens/{made.json()['id']}"
    assert (await erin.ask("DELETE", path)).status_code == 204
    async with asyncio.timeout(PATIENCE_SECONDS):
        await closed(socket)
    assert time.monotonic() - begun < allowed(WITHIN_SECONDS, begun)
    assert await answers(own), "only what had that token"


async def test_logins_outlive_a_provider_that_is_silent_for_a_while(
    session: Session, keycloak: Keycloak
) -> None:
    socket = await session.socket()
    keycloak.pause()
    try:
        await asyncio.sleep(WITHIN_SECONDS)
        assert await session.person.is_in()
        assert await answers(socket)
        async with Person(session.hub.url, "bob") as bob:
            state = {"state": "none", "code": "none"}
            begun = await bob.http.get("/hub/oauth_login")
            # What the hub knows of the provider it remembers, so the browser is sent there.
            state["state"] = httpx.URL(begun.headers["Location"]).params["state"]
            page = await bob.http.get("/hub/oauth_callback", params=state)
            assert page.status_code == 503
            assert "does not answer just now" in page.text
    finally:
        keycloak.resume()
