"""A provider, a proxy or a browser that lies gets nobody in, and nobody into another's account."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import jwt
import psutil
import pytest

from tests.identity.conftest import WITHOUT_CONTROL, settings
from tests.identity.person import Person, seconds_until
from tests.identity.provider import (
    IMPOSTOR,
    SECRET,
    STRANGER,
    Claims,
    Key,
    LyingProvider,
    signed_with_public_key,
    unsigned,
    without,
)
from tests.servers.hub import Hub

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def name_of(person: Person) -> str:
    return str((await person.ask("GET", "/hub/api/user")).json()["name"])


async def test_an_honest_provider_lets_people_in(person: Person) -> None:
    page = await person.go("/hub/oauth_login?next=/hub/home")
    assert page.url.path == "/hub/home"
    assert await name_of(person) == "alice"


WRONG: dict[str, Callable[[Claims], Claims | str | None]] = {
    "missing": lambda _: None,
    "empty": lambda _: "",
    "garbage": lambda _: "a.b.c",
    "alg none": unsigned,
    "alg none with a key's name": lambda claims: unsigned(claims, kid="first"),
    "alg HS256 with the public key": signed_with_public_key,
    "HS256 with the client's secret": lambda claims: jwt.encode(
        claims, SECRET.ljust(32, "x"), algorithm="HS256", headers={"kid": "first"}
    ),
    "unknown key": STRANGER.sign,
    "another key of the same name": IMPOSTOR.sign,
    "a key in its own header": lambda claims: STRANGER.sign(
        claims, kid="first", jwk=STRANGER.public()
    ),
    "a key's address in its header": lambda claims: STRANGER.sign(
        claims, jku="http://127.0.0.1:9/keys"
    ),
    "iss": lambda claims: {**claims, "iss": "http://127.0.0.1:9"},
    "iss with a slash": lambda claims: {**claims, "iss": claims["iss"] + "/"},
    "no iss": lambda claims: without(claims, "iss"),
    "aud": lambda claims: {**claims, "aud": "somebody-else"},
    "no aud": lambda claims: without(claims, "aud"),
    "two aud and no azp": lambda claims: {**claims, "aud": ["himalia", "other"]},
    "azp": lambda claims: {**claims, "azp": "other"},
    "two aud and another's azp": lambda claims: {
        **claims,
        "aud": ["himalia", "other"],
        "azp": "other",
    },
    "nonce": lambda claims: {**claims, "nonce": "of another login"},
    "no nonce": lambda claims: without(claims, "nonce"),
    "nonce a list": lambda claims: {**claims, "nonce": [claims["nonce"]]},
    "expired": lambda claims: {**claims, "exp": int(time.time()) - 60},
    "no exp": lambda claims: without(claims, "exp"),
    "not yet": lambda claims: {**claims, "nbf": int(time.time()) + 300},
    "made in the future": lambda claims: {**claims, "iat": int(time.time()) + 300},
    "no sub": lambda claims: without(claims, "sub"),
    "empty sub": lambda claims: {**claims, "sub": ""},
    "sub a number": lambda claims: {**claims, "sub": 1},
    "another's sub": lambda claims: {**claims, "sub": "bob-1"},
}


@pytest.mark.parametrize("wrong", WRONG)
async def test_004_an_id_token_that_is_wrong_lets_nobody_in(
    person: Person, lying: LyingProvider, wrong: str
) -> None:
    lying.spoil = WRONG[wrong]
    page = await person.go("/hub/oauth_login?next=/hub/home")
    assert page.status_code == 400
    assert "Sign in again" in page.text
    assert not await person.is_in()


async def test_004_a_person_whom_the_two_answers_do_not_agree_on_is_refused(
    person: Person, lying: LyingProvider
) -> None:
    lying.info = lambda claims: {**claims, "sub": "bob-1"}
    page = await person.go("/hub/oauth_login")
    assert page.status_code == 400
    assert not await person.is_in()


async def callback(person: Person) -> str:
    """Begin a login; return the address that the provider sends the browser back to."""
    begun = await person.http.get("/hub/oauth_login")
    back = await person.http.get(begun.headers["Location"])
    return str(back.headers["Location"])


async def test_003_a_callback_works_once_and_in_one_browser(person: Person, lied_to: Hub) -> None:
    back = await callback(person)
    async with Person(lied_to.url) as other:
        assert (await other.go(back)).status_code == 400, "no state of its own"
        await other.http.get("/hub/oauth_login")
        assert (await other.go(back)).status_code == 400, "another's state"
        assert not await other.is_in()
    cookies = list(person.http.cookies.jar)
    assert (await person.http.get(back)).status_code == 302
    assert await person.is_in()
    async with Person(lied_to.url) as thief:
        for cookie in cookies:
            thief.http.cookies.jar.set_cookie(cookie)
        assert (await thief.go(back)).status_code == 400, "a copy of the browser's cookies"
        assert not await thief.is_in()


@pytest.mark.parametrize(
    "query",
    ["", "code=x", "state=x", "code=x&state=", "code=x&state=e30%3D", "code=x&state=%00"],
)
async def test_003_a_callback_without_its_state_is_refused(person: Person, query: str) -> None:
    await person.http.get("/hub/oauth_login")
    answer = await person.http.get(f"/hub/oauth_callback?{query}")
    assert answer.status_code == 400
    assert not await person.is_in()


async def test_003_a_code_of_another_login_is_refused(person: Person, lied_to: Hub) -> None:
    """The code was asked for with another challenge: PKCE."""
    async with Person(lied_to.url) as other:
        stolen = dict(httpx.URL(await callback(other)).params)["code"]
    back = httpx.URL(await callback(person))
    page = await person.go(str(back.copy_merge_params({"code": stolen})))
    assert page.status_code == 400
    assert not await person.is_in()


GROUPS: dict[str, Any] = {
    "missing": None,
    "a text": "staff",
    "a text with it": "staff,other",
    "another case": ["Staff"],
    "with a slash": ["/staff"],
    "with a blank": ["staff "],
    "a part": ["staff-guests"],
    "numbers": [1, 2],
    "it and a number": ["staff", 1],
    "nested": {"staff": True},
    "a list in a list": [["staff"]],
    "a twin": ["\uff53taff"],
    "empty": [],
}


@pytest.mark.parametrize("kind", GROUPS)
async def test_005_a_claim_of_groups_that_is_not_exact_lets_nobody_in(
    person: Person, lying: LyingProvider, kind: str
) -> None:
    if GROUPS[kind] is None:
        del lying.person["groups"]
    else:
        lying.person["groups"] = GROUPS[kind]
    page = await person.go("/hub/oauth_login")
    assert page.status_code == 403
    assert "no group that may use this hub" in page.text
    assert not await person.is_in()


TWINS = [
    "alice",
    "Alice",
    "ALICE",
    "alice ",
    "\uff41lice",
    "\u0430lice",
    "alice\u200b",
    "al\u0131ce",
]


async def test_006_nobody_gets_anothers_account_by_a_name(
    person: Person, lying: LyingProvider, lied_to: Hub
) -> None:
    await person.go("/hub/oauth_login")
    assert await name_of(person) == "alice"
    found = {}
    for number, twin in enumerate(TWINS):
        lying.person = {
            "sub": f"twin-{number}",
            "preferred_username": twin,
            "email": "alice@team.test",
            "email_verified": False,
            "groups": ["staff"],
        }
        for _ in range(2):
            async with Person(lied_to.url) as other:
                await other.go("/hub/oauth_login")
                found.setdefault(twin, set()).add(await name_of(other))
    names = [name for some in found.values() for name in some]
    assert "alice" not in names
    assert len(set(names)) == len(TWINS), "each has one name, and always the same"
    assert all(name.isascii() for name in names)


@pytest.mark.parametrize(
    "claimed", [None, "", 17, ["alice"], "..", "/", "../../x", "a/b", "x" * 300, "\0", "himalia"]
)
async def test_006_a_name_is_made_from_anything(
    person: Person, lying: LyingProvider, claimed: Any
) -> None:
    lying.person = {"sub": f"odd-{claimed!r:.40}", "groups": ["staff"]}
    if claimed is not None:
        lying.person["preferred_username"] = claimed
    await person.go("/hub/oauth_login")
    name = await name_of(person)
    assert 0 < len(name) <= 64
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789._@-")


async def test_006_a_user_whom_the_hub_has_from_elsewhere_is_nobodys_to_take(
    person: Person, lying: LyingProvider, lied_to: Hub
) -> None:
    assert (await lied_to.api("POST", "users/operator")).status_code == 201
    lying.person = {"sub": "mallory", "preferred_username": "operator", "groups": ["staff"]}
    await person.go("/hub/oauth_login")
    assert (await name_of(person)).startswith("operator-")


NEXT = [
    "//evil.example",
    "///evil.example",
    "////evil.example/%2f..",
    "\\\\evil.example",
    "/\\evil.example",
    "\\/evil.example",
    "/%5cevil.example",
    "%2f%2fevil.example",
    "/%2f%2fevil.example",
    "http://evil.example",
    "https:evil.example",
    "HTTP:\\\\evil.example",
    "{host}.evil.example/",
    "{host}@evil.example/",
    "//{host}//evil.example",
    "{hub}//evil.example",
    "javascript:alert(1)",
    "java\tscript:alert(1)",
    "/\t/evil.example",
    "/\n/evil.example",
    "\x01//evil.example",
    " //evil.example",
    "data:text/html,x",
    "/hub/home\r\nSet-Cookie: a=b",
]


@pytest.mark.parametrize("wanted", NEXT)
async def test_001_a_login_leads_to_a_path_of_the_hubs_own(
    person: Person, lied_to: Hub, wanted: str
) -> None:
    host = urlsplit(lied_to.url).netloc
    wanted = wanted.replace("{hub}", lied_to.url).replace("{host}", host)
    for page in ("oauth_login", "login"):
        begun = await person.http.get(f"/hub/{page}?next={quote(wanted)}")
        if page == "oauth_login":
            back = await person.http.get(begun.headers["Location"])
            begun = await person.http.get(back.headers["Location"])
        if page == "login" and begun.status_code >= 400:
            continue  # JupyterHub's own page, to somebody who is in, of what is no address at all
        assert begun.status_code == 302
        to = begun.headers["Location"]
        assert to.startswith("/"), to
        assert to[1:2] not in {"/", "\\"}, to
        assert httpx.URL(lied_to.url).join(to).netloc.decode() == host, to
        assert "a" not in begun.cookies


async def test_002_what_a_page_repeats_is_escaped(person: Person) -> None:
    evil = '"><img src=x onerror=alert(1)>'
    for path in ("login", "oauth_callback", "oauth_login", "logout"):
        for name in ("next", "error", "error_description", "state", "code"):
            answer = await person.http.get(f"/hub/{path}", params={name: evil})
            assert "<img src=x" not in answer.text, (path, name)


async def test_013_attempts_cost_no_memory(person: Person, lied_to: Hub) -> None:
    process = psutil.Process(lied_to.pid("hub"))

    async def attempt(times: int) -> None:
        for number in range(times):
            query = f"code=x{number}&state=eyJzdGF0ZV9pZCI6ICJ4In0%3D"
            cookie = f'oauthenticator-state="2|1:0|10:{number}|20:x|8:e30=|{"0" * 64}"'
            answer = await person.http.get(
                f"/hub/oauth_callback?{query}", headers={"Cookie": cookie}
            )
            assert answer.status_code == 400

    await attempt(200)
    before = process.memory_info().rss
    await attempt(600)
    assert process.memory_info().rss - before < 8 << 20


async def test_whoever_is_not_let_in_leaves_no_login_at_the_provider(
    person: Person, lying: LyingProvider
) -> None:
    lying.person["groups"] = []
    before = len(lying.forgotten)
    await person.go("/hub/oauth_login")
    assert len(lying.forgotten) == before + 1


async def test_005_with_nothing_allowed_nobody_gets_in_and_the_log_says_so(
    lying: LyingProvider, tmp_path: Path
) -> None:
    lying.be_honest()
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    chosen = settings(lying.issuer, secret, oidc_allowed_groups=set(), oidc_admin_groups=set())
    async with Hub(config=chosen + WITHOUT_CONTROL, arguments=()) as hub:
        assert "Nobody can sign in" in hub.log()
        async with Person(hub.url) as person:
            assert (await person.go("/hub/oauth_login")).status_code == 403
            assert not await person.is_in()


async def test_keys_may_change_between_two_logins(person: Person, lying: LyingProvider) -> None:
    """The last test of this provider, whose old key is gone for good."""
    lying.key = Key("second")
    lying.published = [lying.key]

    async def gets_in() -> bool:
        await person.go("/hub/oauth_login")
        return await person.is_in()

    # An unknown name of a key makes the hub look again, at most every 10 s.
    await seconds_until(gets_in)
