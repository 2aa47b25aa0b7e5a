"""Signing in and out in a real browser, at Keycloak's real page."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import BrowserContext, async_playwright, expect

from tests.identity.person import WITHIN_SECONDS
from tests.servers.chromium import FLAGS, chromium
from tests.servers.hub import Hub
from tests.servers.keycloak import Keycloak
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.stalls import allowed

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
]

SCREENSHOTS = Path(__file__).parents[2] / "test-results/screenshots"
PATIENCE = PATIENCE_SECONDS * 1000
OPEN_SOCKET = """async (base) => {
    const kernels = await (await fetch(`${base}api/kernels`)).json();
    let kernel = kernels[0];
    if (!kernel) {
        const xsrf = document.cookie.match(/_xsrf=([^;]+)/)[1];
        kernel = await (await fetch(`${base}api/kernels`, {
            method: "POST", body: "{}", headers: {"X-XSRFToken": xsrf},
        })).json();
    }
    const xsrf = document.cookie.match(/_xsrf=([^;]+)/)[1];
    const address = `${base}api/kernels/${kernel.id}/channels?_xsrf=${encodeURIComponent(xsrf)}`;
    window.kernelSocket = new WebSocket(address.replace(/^http/, "ws"));
    await new Promise((done, failed) => {
        window.kernelSocket.onopen = done;
        window.kernelSocket.onerror = failed;
    });
}"""


@pytest_asyncio.fixture(loop_scope="session")
async def context() -> AsyncIterator[BrowserContext]:
    """Let somebody have a browser of their own."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        made = await browser.new_context()
        made.set_default_timeout(PATIENCE)
        yield made
        await browser.close()


async def test_009_tab_two_does_not_revive_what_tab_one_logged_out_of(
    hub: Hub, keycloak: Keycloak, context: BrowserContext
) -> None:
    keycloak.make("iris", "/research")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    first = await context.new_page()
    await first.goto(f"{hub.url}/hub/login")
    await first.get_by_role("button", name="Sign in with").click()
    await expect(first.get_by_label("Username")).to_be_visible(timeout=PATIENCE)
    await first.screenshot(path=SCREENSHOTS / "keycloak.png")
    await first.get_by_label("Username").fill("iris")
    await first.locator("#password").fill("iris-password")
    await first.get_by_role("button", name="Sign In").click()
    await first.wait_for_url("**/user/iris/lab**", timeout=PATIENCE)
    await first.locator(".jp-Launcher, .jp-Notebook").first.wait_for()
    await first.evaluate(OPEN_SOCKET, f"{hub.url}/user/iris/")

    second = await context.new_page()
    await second.goto(f"{hub.url}/hub/home")
    begun = time.monotonic()
    await second.locator("#logout").click()
    await second.wait_for_url("**/hub/login**", timeout=PATIENCE)
    await first.wait_for_function("window.kernelSocket.readyState === WebSocket.CLOSED")
    assert time.monotonic() - begun < allowed(WITHIN_SECONDS, begun)
    await first.screenshot(path=SCREENSHOTS / "logged-out.png")

    await first.goto(f"{hub.url}/user/iris/lab")
    await first.wait_for_url("**/hub/login**", timeout=PATIENCE)
    await first.goto(f"{hub.url}/hub/home")
    await first.wait_for_url("**/hub/login**", timeout=PATIENCE)
    # Nor does the provider remember: it asks for the password again.
    await first.get_by_role("button", name="Sign in with").click()
    await expect(first.locator("#password")).to_be_visible(timeout=PATIENCE)
