"""A hub below a path of an address that others share: ``/lab/`` and all that is under it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.user import User, wait_for
from tests.servers.hub import Hub
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.session import Session, execute
from tests.servers.visitor import Visitor

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    made = Hub(base="/lab/")
    try:
        wait_for(made.start())
        yield made
    finally:
        made.clear()


async def work(hub: Hub) -> str:
    """Have Alice run a job, work in a kernel and leave; return a token of hers."""
    async with Session(hub, "alice") as alice:
        assert alice.base == f"{hub.url}/user/alice/"
        run = await alice.job("print('below a path')", name="below.ipynb")
        assert (await alice.ended(run["id"]))["status"] == "succeeded"
        assert await alice.said(run["id"]) == "below a path\n"
        document = (await alice.ask("GET", "himalia/api/openapi.json")).json()
        assert document["servers"][0]["url"] == "/lab/user/alice/himalia/api"
        made = await alice.visitor.ask("POST", "/hub/api/users/alice/tokens", json={})
        socket = await alice.socket(await alice.kernel())
        assert await execute(socket, "print(6 * 7)") == "42\n"
        await alice.visitor.http.get("/hub/logout")
        while await socket.read_message() is not None:
            pass
        assert socket.close_code == 1008
    return str(made.json()["token"])


async def look_around(hub: Hub, token: str) -> None:
    """See what lies where."""
    async with Visitor(hub.service) as program:
        ready = await program.http.get("/health/ready")
        assert ready.status_code == 200
        headers = {"Authorization": f"token {token}"}
        document = (await program.http.get("/api/openapi.json", headers=headers)).json()
        assert document["servers"][0]["url"] == "/lab/services/himalia/api"
    async with Visitor(hub.url.removesuffix("/lab")) as outside:
        for path in ("/hub/login", "/services/himalia/health/ready", "/user/alice/lab"):
            assert (await outside.http.get(path)).status_code == 404, path


def test_sessions_jobs_sockets_and_programs_work_below_a_path(hub: Hub) -> None:
    token = wait_for(work(hub))
    wait_for(look_around(hub, token))
    assert f"Himalia's hub is at {hub.url}/\n" in hub.log()
    told = subprocess.run(
        [sys.executable, "-c", "from himalia.cli import main; main()", "job", "list"],
        env={
            "PATH": os.environ["PATH"],
            "HIMALIA_CONTROL_URL": hub.service,
            "HIMALIA_TOKEN": token,
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert "below" in told.stdout


def test_the_admin_page_works_below_a_path(hub: Hub, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 1360, "height": 860}, locale="en-GB")
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    admin = User(hub, context, "admin")
    errors: list[str] = []
    admin.page.on("pageerror", lambda error: errors.append(str(error)))
    missing: list[str] = []
    admin.page.on("response", lambda one: missing.append(one.url) if one.status >= 400 else None)
    admin.log_in("/hub/home")
    admin.page.get_by_role("button", name="Services").click()
    admin.page.get_by_role("link", name="himalia").click()
    expect(admin.page.locator("#himalia-live")).to_have_text("Live")
    assert admin.page.url.split("#")[0] == hub.service
    admin.page.get_by_role("tab", name="Workloads").click()
    expect(admin.page.locator("#himalia-panel-workloads")).to_contain_text("below")
    admin.shoot("admin-below-a-path")
    admin.page.get_by_role("link", name="Home").click()
    expect(admin.page).to_have_url(f"{hub.url}/hub/home")
    context.close()
    assert not missing
    assert not errors
