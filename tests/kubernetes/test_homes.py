"""Homes of a cluster: a way in when one is full, and how full it is, seen in a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.browser.user import User
from tests.servers.chromium import browser, jp_asyncio_loop, jp_server_cleanup
from tests.servers.cluster_hub import ClusterHub
from tests.servers.patience import PATIENCE_SECONDS

__all__ = ["browser", "jp_asyncio_loop", "jp_server_cleanup"]

pytestmark = [pytest.mark.kubernetes, pytest.mark.browser, pytest.mark.timeout(900)]


@pytest.fixture
def context(cluster_hub: ClusterHub, browser: Browser) -> Iterator[BrowserContext]:
    """A browser of somebody who was never here."""
    made = browser.new_context(base_url=cluster_hub.url, viewport={"width": 1280, "height": 860})
    made.set_default_timeout(PATIENCE_SECONDS * 1000)
    yield made
    made.close()


def start(user: User) -> None:
    """Log in, and start a server with the first profile."""
    user.log_in("/hub/login")
    user.page.goto(f"/hub/spawn/{user.name}")
    user.page.click("form input[type=submit], form button[type=submit]")


def run_for(hub: ClusterHub, name: str, command: str) -> str:
    """Run a command in somebody's session."""
    label = "--selector=app.kubernetes.io/component=session"
    (about,) = (
        pod["metadata"]
        for pod in hub.cluster.get("pods", "--all-namespaces", label)["items"]
        if pod["metadata"]["annotations"]["hub.jupyter.org/username"] == name
        and pod["metadata"]["namespace"].startswith(hub.prefix)
    )
    where = (f"pod/{about['name']}", "--namespace", about["namespace"], "--container=notebook")
    return hub.cluster.kubectl("exec", *where, "--", "sh", "-c", command)


def test_a_full_home_lets_its_user_in_to_clean_it_up(
    cluster_hub: ClusterHub, context: BrowserContext
) -> None:
    user = User(cluster_hub, context, "brim")
    page = user.page
    start(user)
    page.wait_for_url("**/user/brim/himalia/home**", timeout=2 * PATIENCE_SECONDS * 1000)
    expect(page.get_by_role("alert")).to_contain_text("No space left on device")
    rows = page.locator("tbody tr")
    expect(rows.first).to_contain_text("old/")
    user.shoot("rescue")
    # A terminal and the file browser are there too, and write to a place of their own.
    page.goto("/user/brim/lab")
    page.locator(".jp-DirListing-content").get_by_text("rest.bin").wait_for()

    page.goto("/user/brim/himalia/home")
    page.get_by_role("link", name="old/").click()
    page.get_by_text("Delete …").click()
    page.get_by_role("button", name="Delete model.bin for good").click()
    expect(page.get_by_text("Nothing is here.")).to_be_visible()
    user.shoot("rescue-cleaned")
    done = run_for(
        cluster_hub, "brim", "ls -A /home/jovyan; head -c 2M /dev/zero > /home/jovyan/x && echo ok"
    )
    # Nothing but what its owner put there is in it, and there is room again.
    assert done.split() == ["old", "rest.bin", "ok"]


def test_the_panel_says_how_full_the_home_is_and_what_a_job_may_be_given(
    cluster_hub: ClusterHub, context: BrowserContext
) -> None:
    user = User(cluster_hub, context, "near")
    page = user.page
    start(user)
    page.locator("li[data-id='himalia-sidebar']").wait_for(timeout=2 * PATIENCE_SECONDS * 1000)
    user.open_panel()
    warning = user.sidebar.get_by_role("status").filter(has_text="almost full")
    expect(warning).to_contain_text("of 64 MiB used")
    user.sidebar.get_by_role("button", name="Usage and quotas").click()
    usage = page.locator(".hm-Usage")
    expect(usage.get_by_role("progressbar", name="Home: ")).to_be_visible()
    user.shoot("home")
    with context.expect_page() as opened:
        usage.get_by_role("link", name="See what fills it").click()
    expect(opened.value.locator("tbody tr").first).to_contain_text("old/")

    user.sidebar.get_by_role("button", name="New job…").first.click()
    choice = page.locator("form.hm-Form:visible").get_by_label("Profile")
    choice.wait_for()
    texts = choice.locator("option").all_inner_texts()
    assert texts[0] == "What the job asks for"
    assert "small (1 core, 1.0 GiB)" in texts
    assert not any(text.startswith("gold") for text in texts)
    choice.select_option("small")
    user.shoot("profiles")
