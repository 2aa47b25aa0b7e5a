"""Every address of a real hub, of control and of a session, from their own tables of routes."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from tests.security.at_hub.places import FAULTY, LEAVING, ONWARD, PLACES, PUBLIC, Step
from tests.servers.walk import METHODS, UNSAFE

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("place", PLACES),
]
REFUSED = {401, 403, 404, 405}


def is_sent_on(step: Step, place: str) -> bool:
    """Tell whether the answer is the way to the login, or another address of the same place."""
    if step.status not in {301, 302}:
        return False
    to = urlsplit(step.answer.headers["Location"])
    logins = {"/hub/login", "/hub/api/oauth2/authorize"}
    if to.netloc:
        return False
    return to.path in logins or (
        step.row.handler in ONWARD and to.path.startswith(f"{PLACES[place][1]}/")
    )


def lets_nobody_in(step: Step, place: str) -> bool:
    """Tell whether a step gave nothing to somebody who may not have anything."""
    if step.status in REFUSED or is_sent_on(step, place):
        return True
    if step.row.handler in PUBLIC or step.method == "OPTIONS":
        return step.status < 500 or not step.is_served
    if (step.method, step.row.handler) in FAULTY:
        return step.status in {400, 500}
    # 424: the server is not running (whosoever's it is); 400: a login that was not begun.
    return step.status in {400, 424} and step.row.handler in {
        "UserUrlHandler",
        "JupyterHubOAuthCallbackHandler",
        "LoginCallback",
    }


async def test_025_nobody_gets_in_without_credentials(place, walk, nobody):
    steps = 0
    async for step in walk.over(place, nobody, METHODS):
        assert lets_nobody_in(step, place), step
        steps += 1
    assert steps > 100


async def test_025_nobody_gets_in_with_a_made_up_token(place, walk, nobody):
    async for step in walk.over(place, nobody, ("GET", "POST"), token="0" * 32):
        assert lets_nobody_in(step, place), step


async def test_010_a_token_in_the_address_is_ignored(place, walk, nobody, admin_token):
    """An admin's: at every place it would open everything."""
    async for step in walk.over(place, nobody, ("GET", "POST"), query=f"?token={admin_token}"):
        assert lets_nobody_in(step, place), step
        for cookie in step.answer.headers.get_list("Set-Cookie"):
            name, _, value = cookie.partition("=")
            is_none = name in {"_xsrf", "jupyterhub-session-id"} or "-oauth-state" in name
            assert is_none or value.startswith('""'), step
    nobody.http.cookies.clear()


async def test_015_nothing_is_changed_without_the_xsrf_header(place, walk, insiders):
    async for step in walk.over(place, insiders[place], UNSAFE, xsrf=False):
        assert changes_nothing(step, place), step


async def test_015_a_foreign_xsrf_value_does_not_do(place, walk, insiders, bob):
    foreign = {"X-XSRFToken": bob.xsrf("/hub/") or ""}
    assert foreign["X-XSRFToken"]
    async for step in walk.over(place, insiders[place], UNSAFE, headers=foreign):
        assert changes_nothing(step, place), step


def changes_nothing(step: Step, place: str) -> bool:
    """Tell whether a step was refused, or had nothing to change."""
    # 401: without the header, control takes the cookie for none.
    is_refused = step.status in {401, 403} or (not step.is_served and step.status in {404, 405})
    return is_refused or is_sent_on(step, place) or is_without_cookies(step)


def is_without_cookies(step: Step) -> bool:
    """Tell whether a handler goes by no cookie, so that other sites gain nothing from it."""
    return step.row.handler in {"TokenAPIHandler", "OAuthTokenHandler"} and step.status >= 400


async def test_026_bob_learns_of_alice_what_he_learns_of_nobody(place, walk, bob):
    """Not by his cookies; the next test takes his token."""
    if place == "session":
        async for step in walk.over(place, bob, METHODS):
            assert lets_nobody_in(step, place), step
        return
    of_alice = [s async for s in walk.over(place, bob, METHODS, without=OF_ONESELF)]
    of_nobody = [s async for s in walk.over(place, bob, METHODS, name="olga", without=OF_ONESELF)]
    assert len(of_alice) == len(of_nobody) > 50
    for step, same in zip(of_alice, of_nobody, strict=True):
        assert step.status == same.status, (str(step), str(same))
        assert told(step, "alice") == told(same, "olga"), (str(step), str(same))


async def test_026_bobs_token_opens_nothing_of_alice(place, walk, nobody, bob_token):
    async for step in walk.over(place, nobody, METHODS, token=bob_token, without=LEAVING):
        assert place != "session" or lets_nobody_in(step, place), step
        assert step.status != 200 or "alice" not in step.answer.text, step


OF_ONESELF = {*LEAVING, "SpawnHandler", "HealthCheckHandler", "MetricsHandler"}


def told(step: Step, name: str) -> str:
    """Return what an answer says, whoever it names."""
    without_tokens = re.sub(r"[A-Za-z0-9_|=-]{20,}", "TOKEN", step.answer.text)
    return re.sub(r"[0-9]+", "N", without_tokens.replace(name, "NAME"))
