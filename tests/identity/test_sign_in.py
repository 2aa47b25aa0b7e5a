"""Signing in at a real Keycloak: who gets in, as whom, and in which groups."""

from __future__ import annotations

import html
import re
from urllib.parse import urljoin

import httpx
import pytest

from tests.identity.person import Person
from tests.servers.hub import Hub
from tests.servers.keycloak import CLIENT, Keycloak

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def groups(hub: Hub, name: str) -> set[str]:
    return set((await hub.api("GET", f"users/{name}")).json()["groups"])


async def test_whoever_is_in_an_allowed_group_gets_in_with_their_groups(hub: Hub) -> None:
    async with Person(hub.url, "bob") as bob:
        home = await bob.sign_in()
        assert home.status_code == 200
        assert home.url.path == "/hub/home"
        model = (await bob.ask("GET", "/hub/api/user")).json()
    assert (model["name"], model["admin"]) == ("bob", False)
    assert await groups(hub, "bob") == {"/research"}


async def test_members_of_an_admin_group_are_admins(hub: Hub, alice: Person) -> None:
    assert (await alice.ask("GET", "/hub/api/user")).json()["admin"] is True


@pytest.mark.parametrize("name", ["dora", "gus"])
async def test_005_nobody_gets_in_without_an_allowed_group(hub: Hub, name: str) -> None:
    """Gus is in ``/guests/research``, which is not ``/research``."""
    async with Person(hub.url, name) as person:
        page = await person.sign_in()
        assert page.status_code == 403
        assert "no group that may use this hub" in page.text
        assert not await person.is_in()
    assert (await hub.api("GET", f"users/{name}")).status_code == 404


async def test_a_wrong_password_stays_at_the_provider(hub: Hub) -> None:
    async with Person(hub.url, "bob") as bob:
        page = await bob.sign_in("wrong")
        assert page.url.path.startswith("/realms/")
        assert not await bob.is_in()


@pytest.mark.parametrize(("alias", "name"), [("partner-oidc", "olga"), ("partner-saml", "sam")])
async def test_people_of_a_partner_sign_in_through_the_broker(
    hub: Hub, alias: str, name: str
) -> None:
    async with Person(hub.url, name) as person:
        page = await person.go("/hub/oauth_login?next=/hub/home")
        link = next(part for part in page.text.split('"') if f"/broker/{alias}/login" in part)
        page = await person.go(urljoin(str(page.url), html.unescape(link)))
        while 'name="password"' not in page.text:
            page = await person.submit(page)  # a page that sends itself on where scripts run
        page = await person.submit(page, username=name, password=f"{name}-password")
        while not str(page.url).startswith(hub.url):
            page = await person.submit(page)
        assert page.url.path == "/hub/home", page.text
        assert (await person.ask("GET", "/hub/api/user")).json()["name"] == name
    assert await groups(hub, name) == {"/research"}


async def test_014_only_the_exact_redirect_address_is_served(hub: Hub, keycloak: Keycloak) -> None:
    exact = f"{hub.url}/hub/oauth_callback"
    client = keycloak.client()
    assert client["redirectUris"] == [exact]
    assert not any("*" in uri for uri in client["redirectUris"])
    wrong = (
        f"{exact}/",
        f"{exact}?x=1",
        f"{exact}/../evil",
        f"{exact}%2f..%2fevil",
        f"{exact}#fragment",
        exact.replace("127.0.0.1", "localhost"),
        exact.replace("127.0.0.1", "127.0.0.1@evil.example"),
        exact.replace("http://", "https://"),
        f"{hub.url}/hub/OAUTH_CALLBACK",
        "http://evil.example/hub/oauth_callback",
    )
    async with httpx.AsyncClient(trust_env=False) as http:
        for uri in (exact, *wrong):
            asked = {
                "client_id": CLIENT,
                "redirect_uri": uri,
                "response_type": "code",
                "scope": "openid",
                "code_challenge": "x" * 43,
                "code_challenge_method": "S256",
            }
            answer = await http.get(f"{keycloak.issuer}/protocol/openid-connect/auth", params=asked)
            assert (answer.status_code == 200) == (uri == exact), uri
            assert "location" not in answer.headers, uri


async def test_003_a_login_without_pkce_is_refused_by_the_provider(
    hub: Hub, keycloak: Keycloak
) -> None:
    asked = {
        "client_id": CLIENT,
        "redirect_uri": f"{hub.url}/hub/oauth_callback",
        "response_type": "code",
        "scope": "openid",
    }
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{keycloak.issuer}/protocol/openid-connect/auth", params=asked)
    assert "error=invalid_request" in answer.headers["location"]


async def test_006_a_changed_name_at_the_provider_changes_nothing(
    hub: Hub, keycloak: Keycloak
) -> None:
    number = keycloak.make("carla", "/research")
    async with Person(hub.url, "carla") as carla:
        await carla.sign_in()
        assert (await carla.ask("GET", "/hub/api/user")).json()["name"] == "carla"
    keycloak.admin("PUT", "", json={"realm": "team", "editUsernameAllowed": True})
    keycloak.change(number, username="carlotta")
    second = keycloak.make("carla", "/research", email="other@team.test")
    assert second != number
    async with Person(hub.url, "carlotta") as carlotta, Person(hub.url, "carla") as other:
        await carlotta.sign_in("carla-password")
        assert (await carlotta.ask("GET", "/hub/api/user")).json()["name"] == "carla"
        await other.sign_in()
        found = (await other.ask("GET", "/hub/api/user")).json()["name"]
    assert found.startswith("carla-")


async def test_011_no_secret_of_a_login_is_in_the_log(hub: Hub, keycloak: Keycloak) -> None:
    async with Person(hub.url, "bob") as bob:
        begun = await bob.http.get("/hub/oauth_login")
        asked = dict(httpx.URL(begun.headers["Location"]).params)
        await bob.sign_in()
        token = await bob.token()
    said = hub.log()
    for secret in (asked["nonce"], asked["state"], keycloak.secret, token):
        assert secret not in said
    assert not re.search(r"eyJ[\w-]+\.eyJ", said)  # how every JWT begins
