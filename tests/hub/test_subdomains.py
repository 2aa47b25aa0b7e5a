"""A host for each user: servers, control and the hub work across hosts, each with its cookies."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import httpx
import pytest

from tests.servers.hub import Hub
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.session import Session, execute
from tests.servers.visitor import Visitor

pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def apart() -> Iterator[Hub]:
    """A hub whose users have hosts of their own."""
    made = Hub(host="hub.localhost")
    try:
        asyncio.run(made.start())
        yield made
    finally:
        made.clear()


def names(visitor: Visitor, url: str) -> set[str]:
    """Return the names of the cookies that a browser sends to an address."""
    sent = visitor.cookies(url).split(";")
    return {part.partition("=")[0].strip() for part in sent if part}


async def test_a_session_works_at_its_user_s_own_host_until_the_logout(apart: Hub) -> None:
    async with Session(apart, "alice") as alice:
        run = await alice.job("print('said at my own host')")
        assert (await alice.ended(run["id"]))["status"] == "succeeded"
        assert await alice.said(run["id"]) == "said at my own host\n"
        socket = await alice.socket(await alice.kernel())
        assert await execute(socket, "print(6 * 7)") == "42\n"
        inside = (
            "import os; print(os.environ['HIMALIA_CONTROL_URL'], os.environ['JUPYTERHUB_HOST'])"
        )
        control, hub = (await execute(socket, inside)).split()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/services/himalia/", control)
        assert hub == apart.url
        # The proxy answers for the servers at their hosts alone; elsewhere the hub does.
        wrong = await alice.visitor.http.get(f"{apart.url}/user/alice/lab")
        assert wrong.status_code == 302
        assert wrong.headers["Location"].startswith(f"{apart.url}/hub/user/alice")

        await alice.visitor.http.get("/hub/logout")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await socket.read_message() is not None:
                pass
        assert socket.close_code == 1008
        assert (await alice.ask("GET", "himalia/api/runs")).status_code == 401


async def test_019_cookies_of_a_login_go_to_one_host_each(apart: Hub) -> None:
    async with Session(apart, "bob") as bob:
        await bob.visitor.enter(apart.service)
        own, alices = apart.home("bob"), apart.home("alice")
        assert "jupyterhub-hub-login" in names(bob.visitor, f"{apart.url}/hub/home")
        assert names(bob.visitor, own) == {"_xsrf", "jupyterhub-user-bob", "jupyterhub-session-id"}
        # This one tells logins of a browser apart, and lets nobody in.
        assert names(bob.visitor, alices) == {"jupyterhub-session-id"}
        assert names(bob.visitor, f"{alices}hub/") == {"jupyterhub-session-id"}
        assert "jupyterhub-hub-login" not in names(bob.visitor, apart.service)


async def test_026_nobody_gets_into_another_user_s_host(apart: Hub) -> None:
    async with Session(apart, "alice") as alice, Session(apart, "bob") as bob:
        page = await bob.visitor.enter(f"{alice.base}lab")
        assert page.status_code == 403
        answer = await bob.visitor.ask("GET", f"{alice.base}himalia/api/runs")
        assert answer.status_code == 401
        # The cookies that let him in at home do not, as they are, at hers.
        cookies = bob.visitor.cookies(bob.base)
        for path in ("himalia/api/runs", "api/contents", "lab"):
            answer = await bob.visitor.http.get(f"{alice.base}{path}", headers={"Cookie": cookies})
            assert answer.status_code in {302, 401, 403}, (path, answer.text[:300])


async def test_the_admin_page_lies_at_control_s_own_host_and_the_hub_leads_there(
    apart: Hub,
) -> None:
    async with await apart.visitor("admin") as admin:
        home = await admin.enter("/hub/home")
        assert f'href="{apart.service}"' in home.text
        page = await admin.enter(apart.service)
        assert page.status_code == 200
        assert str(page.url) == apart.service
        links = set(re.findall(r'href="([^"]+)"', page.text))
        assert {f"{apart.url}/hub/home", f"{apart.url}/hub/logout", "/services/himalia/"} <= links
        (script,) = re.findall(r'type="module" src="([^"]+)"', page.text.replace("\n", " "))
        assert (await admin.http.get(page.url.join(script))).status_code == 200

        rights = await admin.ask("GET", f"{apart.service}api/admin/rights")
        assert rights.json() == {"name": "admin", "groups": None, "may_write": True}
        notice = {"banner": "We move at noon.", "is_draining": False}
        said = await admin.ask("PATCH", f"{apart.service}api/admin/notice", json=notice)
        assert said.status_code == 200, said.text
        assert "We move at noon." in (await admin.enter("/hub/home")).text
        unsaid = await admin.ask("PATCH", f"{apart.service}api/admin/notice", json={"banner": ""})
        assert unsaid.status_code == 200
        # At the hub's host, and at users', control is not to be found.
        for elsewhere in (f"{apart.url}/", f"{apart.home('alice').split('user/')[0]}"):
            answer = await admin.http.get(f"{elsewhere}services/himalia/api/admin/rights")
            assert answer.status_code == 302, elsewhere


async def test_programs_find_control_at_its_own_host(apart: Hub) -> None:
    async with await apart.visitor("alice") as alice:
        await alice.enter("/hub/token")
        made = await alice.ask("POST", "/hub/api/users/alice/tokens", json={})
        token = str(made.json()["token"])
    async with Visitor(apart.service) as program:
        answer = await program.http.get("/api/runs", headers={"Authorization": f"token {token}"})
        assert answer.status_code == 200, answer.text
        ready: httpx.Response = await program.http.get("/health/ready")
        assert ready.status_code == 200
    assert f"Himalia's hub is at {apart.url}/\n" in apart.log()
