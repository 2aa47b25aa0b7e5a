"""Somebody at a hub, in a browser of their own."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Response

from tests.servers.notebooks import notebook
from tests.servers.patience import PATIENCE_SECONDS

SCREENSHOTS = Path(__file__).parents[2] / "test-results/screenshots"


def wait_for(task: Any) -> Any:
    """Run a coroutine to its end beside the browser's own loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, task).result()


def is_new_job(answer: Response) -> bool:
    return answer.request.method == "POST" and "/himalia/api/jobs" in answer.url


class Door(Protocol):
    """A hub, as far as who comes in needs to know it."""

    @property
    def url(self) -> str: ...

    @property
    def password(self) -> str:
        """Everybody's."""

    def home(self, name: str) -> str:
        """Return the address of somebody's server, with a slash at its end."""


class User:
    """Somebody at the hub, in a browser of their own."""

    def __init__(self, hub: Door, context: BrowserContext, name: str) -> None:
        self.hub = hub
        self.name = name
        self.page = context.new_page()

    def log_in(self, path: str) -> None:
        """Use the hub's login page on the way to one of its addresses."""
        self.page.goto(f"{self.hub.url}{path}")
        self.page.get_by_label("Username").fill(self.name)
        self.page.get_by_label("Password").fill(self.hub.password)
        self.page.get_by_role("button", name="Sign in").click()

    def sign_in(self) -> None:
        """Log in, and wait for JupyterLab."""
        self.log_in("/")
        panel = self.page.locator("li[data-id='himalia-sidebar']")
        panel.wait_for(timeout=PATIENCE_SECONDS * 1000)

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
        path = f"{urlsplit(self.hub.home(self.name)).path}{path}"
        return dict(self.page.evaluate(script, [method, path, body]))

    def write(self, name: str, source: str) -> None:
        """Save a notebook of one cell in the user's home."""
        file = {"type": "notebook", "format": "json", "content": json.loads(notebook(source))}
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
