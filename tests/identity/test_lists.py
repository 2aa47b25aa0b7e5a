"""JupyterHub's own lists of users, where an administrator sets them beside a provider."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.identity.conftest import WITHOUT_CONTROL, settings
from tests.identity.person import Person, seconds_until
from tests.identity.provider import SECRET, LyingProvider
from tests.servers.hub import Hub

pytestmark = pytest.mark.asyncio(loop_scope="session")
_LISTS = """
c.Authenticator.allowed_users = {"Zoe", "yan+lab@team.test"}
c.Authenticator.admin_users = {"xenia"}
c.Authenticator.blocked_users = {"wim"}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def listed(
    lying: LyingProvider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Hub]:
    """A hub with lists, which lets one group in besides."""
    secret = tmp_path_factory.mktemp("lists") / "secret"
    secret.write_text(SECRET)
    chosen = settings(
        lying.issuer, secret, oidc_allowed_groups={"staff"}, oidc_admin_groups={"stewards"}
    )
    async with Hub(config=chosen + _LISTS + WITHOUT_CONTROL, arguments=()) as made:
        yield made


@pytest.fixture(autouse=True)
def honest(lying: LyingProvider) -> None:
    lying.be_honest()


async def name_of(
    hub: Hub, lying: LyingProvider, claimed: str, subject: str, *groups: str
) -> str | None:
    """Sign somebody in; return their name at the hub, or None."""
    lying.person = {"sub": subject, "preferred_username": claimed, "groups": list(groups)}
    async with Person(hub.url) as person:
        page = await person.go("/hub/oauth_login")
        if not await person.is_in():
            assert page.status_code == 403
            assert "no group that may use this hub" in page.text
            return None
        return str((await person.ask("GET", "/hub/api/user")).json()["name"])


async def is_admin(hub: Hub, name: str) -> bool:
    return bool((await hub.api("GET", f"users/{name}")).json()["admin"])


async def test_005_whoever_is_on_a_list_gets_in_and_nobody_else(
    listed: Hub, lying: LyingProvider
) -> None:
    # Strangers come first: none of them takes a name that somebody else has later.
    for number, claimed in enumerate(
        ("stranger", "zoe ", "\uff3aoe", "zo\u00e9", "zoe\u200b", "-zoe", "yan-lab@team.test")
    ):
        assert await name_of(listed, lying, claimed, f"stranger-{number}") is None, claimed
    assert await name_of(listed, lying, "Zoe", "z") == "zoe"
    assert await name_of(listed, lying, "yan+lab@team.test", "y") == "yan+lab@team.test"
    assert not await is_admin(listed, "zoe")
    # The name is taken for good: another person of that name is not the one who was meant.
    assert await name_of(listed, lying, "zoe", "another") is None
    # And whoever was meant may change theirs.
    assert await name_of(listed, lying, "zoe-marie", "z") == "zoe"
    assert await name_of(listed, lying, "carl", "c", "staff") == "carl"


async def test_an_admin_by_name_is_one_whatever_their_groups(
    listed: Hub, lying: LyingProvider
) -> None:
    assert await name_of(listed, lying, "xenia", "x") == "xenia"
    assert await is_admin(listed, "xenia")
    assert await name_of(listed, lying, "steve", "s", "stewards") == "steve"
    assert await is_admin(listed, "steve")
    assert await name_of(listed, lying, "steve", "s", "staff") == "steve"
    assert not await is_admin(listed, "steve")


async def test_005_whoever_is_blocked_stays_out_whatever_their_groups(
    listed: Hub, lying: LyingProvider
) -> None:
    assert await name_of(listed, lying, "wim", "w", "staff") is None
    assert await name_of(listed, lying, "wim", "w", "stewards") is None


async def test_the_lists_hold_while_somebody_is_in(listed: Hub, lying: LyingProvider) -> None:
    """The provider is asked every few seconds, and what it says is judged anew."""
    for name, stays in (("zoe", True), ("dirk", False)):
        lying.be_honest()
        lying.person = {"sub": name[0], "preferred_username": name, "groups": ["staff"]}
        async with Person(listed.url) as person:
            await person.go("/hub/oauth_login")
            assert await person.is_in()
            lying.info = lambda claims: {**claims, "groups": []}

            async def is_judged(name: str = name) -> bool:
                return not (await listed.api("GET", f"users/{name}")).json()["groups"]

            async def is_out(person: Person = person) -> bool:
                return not await person.is_in()

            # Whoever is to go is gone a moment after that.
            await seconds_until(is_judged if stays else is_out)
            assert await person.is_in() is stays, name


async def test_allow_all_lets_everybody_in_but_the_blocked(
    lying: LyingProvider, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("lists") / "secret"
    secret.write_text(SECRET)
    chosen = settings(lying.issuer, secret, oidc_allowed_groups=set(), oidc_admin_groups=set())
    lists = "c.Authenticator.allow_all = True\nc.Authenticator.blocked_users = {'wim'}\n"
    async with Hub(config=chosen + lists + WITHOUT_CONTROL, arguments=()) as hub:
        assert "Nobody can sign in" not in hub.log()
        assert await name_of(hub, lying, "anybody", "a") == "anybody"
        assert await name_of(hub, lying, "wim", "w") is None
