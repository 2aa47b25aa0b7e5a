"""Two people at one hub, in two browsers: each signs in, works, and sees only what is theirs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.user import User, wait_for
from tests.servers.hub import Hub
from tests.servers.patience import PATIENCE_SECONDS


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    made = Hub(config="c.Himalia.idle_seconds = 1800\n")
    try:
        wait_for(made.start())
        yield made
    finally:
        made.clear()


@pytest.fixture(scope="module")
def people(hub: Hub, browser: Browser) -> Iterator[tuple[User, User]]:
    """Return Alice and Bob, signed in; no error in their pages is passed over."""
    errors: list[str] = []
    made = []
    for name in ("alice", "bob"):
        context = browser.new_context(viewport={"width": 1360, "height": 860}, locale="en-GB")
        context.set_default_timeout(PATIENCE_SECONDS * 1000)
        user = User(hub, context, name)
        user.page.on("pageerror", lambda error: errors.append(str(error)))
        user.sign_in()
        user.open_panel()
        made.append(user)
    yield made[0], made[1]
    for user in made:
        user.shoot(f"end-of-{user.name}")
        user.page.context.close()
    assert not errors


async def administer(hub: Hub, method: str, path: str, body: object) -> httpx.Response:
    async with await hub.visitor("admin") as admin:
        await admin.enter("/services/himalia/")
        return await admin.ask(method, f"/services/himalia/api/admin/{path}", json=body)


def test_two_users_run_jobs_side_by_side_and_see_only_their_own(
    people: tuple[User, User],
) -> None:
    runs = {}
    for user in people:
        user.write(f"of_{user.name}.ipynb", f"print('said by {user.name}')\nimport os; os.getuid()")
    for user in people:
        runs[user.name] = user.run(f"of_{user.name}.ipynb")
    for user, other in (people, people[::-1]):
        expect(user.page.locator(".hm-RunPage-state")).to_contain_text("Succeeded")
        result = user.page.frame_locator("iframe[title='Executed notebook']")
        expect(result.locator("pre.stream")).to_have_text(f"said by {user.name}\n")
        expect(user.sidebar.locator(".hm-Item")).to_have_count(1)
        expect(user.sidebar).to_contain_text(f"of_{user.name}")
        expect(user.sidebar).not_to_contain_text(f"of_{other.name}")
        answer = user.ask("GET", f"himalia/api/runs/{runs[other.name]}")
        absent = user.ask("GET", "himalia/api/runs/run-00000000000000000000000000")
        assert (answer["status"], absent["status"]) == (404, 404)
        assert json.loads(answer["text"])["error"]["code"] == "not_found"
        user.shoot(f"hub-{user.name}")


def test_neither_user_gets_into_the_other_s_server(people: tuple[User, User], hub: Hub) -> None:
    alice, _ = people
    page = alice.page.context.new_page()
    answer = page.goto(f"{hub.url}/user/bob/lab")
    assert answer is not None
    assert answer.status in {403, 404}
    page.close()


def test_the_panel_says_why_the_server_stays(people: tuple[User, User]) -> None:
    for user in people:
        expect(user.page.get_by_role("status", name="Your server")).to_contain_text(
            re.compile(r"\w")
        )


def test_a_quota_makes_runs_wait_and_is_shown_where_it_matters(
    people: tuple[User, User], hub: Hub
) -> None:
    alice, bob = people
    quota = {"scope": "user", "subject": "alice", "running": 1, "run_hours": 10}
    assert wait_for(administer(hub, "PUT", "quotas", quota)).status_code == 200
    alice.write("long.ipynb", "import time\ntime.sleep(600)")
    first = alice.run("long.ipynb")
    expect(alice.page.locator(".hm-RunPage-state:visible")).to_contain_text("Running")
    alice.sidebar.get_by_role("button", name="New job…").first.click()
    hints = alice.page.get_by_role("list", name="Quotas")
    expect(hints).to_contain_text("Runs at once: 1 of 1 taken. A new run waits in the queue")
    alice.shoot("hub-form-quota")
    alice.page.get_by_role("button", name="Cancel").click()

    second = alice.run("of_alice.ipynb")
    note = alice.page.locator(".hm-RunPage:visible .hm-Note")
    expect(note).to_contain_text("quota")
    expect(alice.page.locator(".hm-RunPage-state:visible")).to_contain_text("number 1 in the queue")
    waiting = alice.sidebar.locator(".hm-Item", has_text="Queued")
    expect(waiting).to_contain_text("quota")
    alice.shoot("hub-queued")
    bob.run("of_bob.ipynb")
    expect(bob.page.locator(".hm-RunPage-state:visible")).to_contain_text("Succeeded")

    alice.sidebar.get_by_role("button", name="Usage and quotas").click()
    usage = alice.page.locator(".hm-Usage")
    expect(usage).to_contain_text("1 of 1")
    expect(usage).to_contain_text("10 h")
    expect(
        usage.get_by_role("table", name="By kind").get_by_role("row", name="session")
    ).to_be_visible()
    alice.shoot("hub-usage")
    for run_id in (first, second):
        assert alice.ask("POST", f"himalia/api/runs/{run_id}/stop")["status"] == 202


def test_what_an_admin_says_stands_on_top_of_everybody_s_panel(
    people: tuple[User, User], hub: Hub
) -> None:
    notice = {"banner": "The machine is moved at 18:00.", "is_draining": True}
    assert wait_for(administer(hub, "PATCH", "notice", notice)).status_code == 200
    for user in people:
        user.page.reload()
        user.sidebar.wait_for()
        bar = user.page.locator(".hm-Notice")
        expect(bar).to_contain_text("The machine is moved at 18:00.")
        expect(bar).to_contain_text("Nothing new starts at present.")
    people[0].shoot("hub-notice")
    calm = {"banner": "", "is_draining": False}
    assert wait_for(administer(hub, "PATCH", "notice", calm)).status_code == 200


def test_who_logs_out_is_out_and_the_other_stays(people: tuple[User, User], hub: Hub) -> None:
    alice, bob = people
    alice.page.goto(f"{hub.url}/hub/logout")
    expect(alice.page.get_by_label("Username")).to_be_visible()
    alice.page.goto(f"{hub.url}/user/alice/lab")
    expect(alice.page.get_by_label("Username")).to_be_visible()
    assert bob.ask("GET", "himalia/api/runs")["status"] == 200
    alice.sign_in()
    assert "of_alice" in alice.ask("GET", "himalia/api/runs")["text"]
