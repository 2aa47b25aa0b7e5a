"""Two people at one hub, in two browsers: each signs in, works, and sees only what is theirs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Response, expect

from tests.servers.hub import Hub

T = TypeVar("T")
SCREENSHOTS = Path(__file__).parents[2] / "test-results/screenshots"
START_SECONDS = 120.0
PATIENCE_SECONDS = 60.0

expect.set_options(timeout=60_000)
pytestmark = pytest.mark.timeout(300)


def wait_for(task: Any) -> Any:
    """Run a coroutine to its end beside the browser's own loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, task).result()


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    made = Hub(config="c.Himalia.idle_seconds = 1800\n")
    try:
        wait_for(made.start())
        yield made
    finally:
        made.clear()


def is_new_job(answer: Response) -> bool:
    return answer.request.method == "POST" and "/himalia/api/jobs" in answer.url


class User:
    """Somebody at the hub, in a browser of their own."""

    def __init__(self, hub: Hub, context: BrowserContext, name: str) -> None:
        self.hub = hub
        self.name = name
        self.page = context.new_page()

    def sign_in(self) -> None:
        """Use the hub's login page, and wait for JupyterLab."""
        self.page.goto(f"{self.hub.url}/")
        self.page.get_by_label("Username").fill(self.name)
        self.page.get_by_label("Password").fill(self.hub.password)
        self.page.get_by_role("button", name="Sign in").click()
        panel = self.page.locator("li[data-id='himalia-sidebar']")
        panel.wait_for(timeout=START_SECONDS * 1000)

    def open_panel(self) -> None:
        """Show Himalia's sidebar in a JupyterLab that was never used."""
        self.page.locator(".jp-DirListing-content").wait_for()
        self.page.locator("li[data-id='himalia-sidebar']").click()
        self.sidebar.wait_for()

    @property
    def sidebar(self) -> Any:
        return self.page.locator(".hm-Sidebar")

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Ask the user's own server as the page does: with its cookie."""
        script = """async ([method, path, body]) => {
          const xsrf = document.cookie.split('; ').filter(one => one.startsWith('_xsrf='))
            .map(one => one.slice(6));
          const answer = await fetch(path, {
            method, body: body === null ? undefined : JSON.stringify(body),
            headers: {'X-XSRFToken': xsrf[0] ?? '', 'Content-Type': 'application/json'},
          });
          const text = await answer.text();
          return {status: answer.status, text};
        }"""
        path = f"/user/{self.name}/{path}"
        return dict(self.page.evaluate(script, [method, path, body]))

    def write(self, name: str, source: str) -> None:
        """Save a notebook of one cell in the user's home."""
        cell: dict[str, Any] = {
            "cell_type": "code", "source": source, "metadata": {}, "outputs": [],
            "execution_count": None, "id": "only",
        }  # fmt: skip
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        content = {
            "cells": [cell],
            "metadata": {"kernelspec": kernel},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        file = {"type": "notebook", "format": "json", "content": content}
        answer = self.ask("PUT", f"api/contents/{name}", file)
        assert answer["status"] == 201, answer

    def run(self, name: str) -> str:
        """Run a notebook from the panel; returns the run's id."""
        self.sidebar.get_by_role("button", name="New job…").first.click()
        form = self.page.locator("form.hm-Form:visible")
        form.get_by_label("Notebook", exact=True).fill(name)
        with self.page.expect_response(is_new_job) as made:
            form.get_by_role("button", name="Run", exact=True).click()
        assert made.value.status == 201, made.value.text()
        return str(made.value.json()["last_run"]["id"])

    def shoot(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png")


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
