"""The admin page at a real hub: what an admin sees of others' work, and does about it."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.servers.hub import Hub
from tests.servers.worker import Worker

SCREENSHOTS = Path(__file__).parents[2] / "test-results/screenshots"
SERVICE = "/services/himalia/"
HOSTILE = '<img src=x onerror="window.hacked=1"> \u202e\'; =1+1'
CONFIG = """
c.Authenticator.admin_users = {"grace"}
c.Himalia.group_admins = {"physics": ["chair"]}
c.JupyterHub.load_groups = {
    "physics": {"users": ["ada", "chair"]}, "chemistry": {"users": ["bob"]},
}
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    made = Hub(config=CONFIG)
    try:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, made.start()).result()
        yield made
    finally:
        made.clear()


@pytest.fixture(scope="module")
def ada(hub: Hub) -> Iterator[Worker]:
    worker = Worker(hub, "ada")
    yield worker
    worker.rest.close()


@pytest.fixture(scope="module")
def bob(hub: Hub) -> Iterator[Worker]:
    worker = Worker(hub, "bob")
    yield worker
    worker.rest.close()


class Desk:
    """The admin page in a browser of somebody's own."""

    def __init__(self, hub: Hub, page: Page, name: str) -> None:
        self.hub = hub
        self.page = page
        page.goto(f"{hub.url}{SERVICE}")
        page.get_by_label("Username").fill(name)
        page.get_by_label("Password").fill(hub.password)
        page.get_by_role("button", name="Sign in").click()

    def open(self, tab: str) -> None:
        """Show a tab."""
        self.page.get_by_role("tab", name=tab, exact=True).click()

    def row(self, text: str) -> Any:
        """Return the rows of the visible table with a text."""
        return self.page.locator(".himalia tbody tr:visible").filter(has_text=text)

    def shoot(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"admin-{name}.png")

    def confirm(self, label: str) -> None:
        """Press the button of the dialog that is open."""
        dialog = self.page.get_by_role("dialog")
        dialog.get_by_role("button", name=label, exact=True).click()
        expect(dialog).to_have_count(0)


def _is_trouble(said: ConsoleMessage) -> bool:
    return said.type == "error" and not said.text.startswith("Failed to load resource")


@pytest.fixture(scope="module")
def desks(hub: Hub, browser: Browser) -> Iterator[dict[str, Desk]]:
    """An admin's page and that of a group's admin; no error in them is passed over."""
    errors: list[str] = []
    made = {}
    for name in ("grace", "chair"):
        context = browser.new_context(viewport={"width": 1360, "height": 860}, locale="en-GB")
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        # What the page's policy refuses is said there; so are answers that tests provoke.
        page.on("console", lambda said: _is_trouble(said) and errors.append(said.text))
        page.on("dialog", lambda asked: errors.append(asked.message))
        made[name] = Desk(hub, page, name)
        expect(page.locator(".himalia-live")).to_have_text("Live")
    yield made
    for desk in made.values():
        desk.page.context.close()
    assert not errors


@pytest.fixture
def desk(desks: dict[str, Desk]) -> Desk:
    """The admin's."""
    return desks["grace"]


def test_runs_of_two_users_appear_and_end_without_a_reload(
    desk: Desk, ada: Worker, bob: Worker
) -> None:
    desk.open("Runs")
    expect(desk.page.get_by_text("No run matches.")).to_be_visible()
    asked: list[str] = []
    desk.page.on("request", lambda request: asked.append(request.url))
    begin = time.monotonic()
    ada.start("print(1)", name="of ada")
    failing = bob.start("1/0", name="of bob")
    expect(desk.row("of ada")).to_contain_text("ada")
    expect(desk.row("of ada")).to_contain_text("succeeded")
    expect(desk.row("of bob")).to_contain_text("failed")
    reason = bob.ended(failing)["reason"]
    expect(desk.row("of bob")).to_contain_text(reason["message"])
    expect(desk.row("of bob")).to_contain_text(reason["next_step"])
    # One request for each of at most one change a second, and none for tabs that nobody sees.
    assert len(asked) <= time.monotonic() - begin + 3
    assert {re.sub(r"\?.*", "", url.rpartition("/admin/")[2]) for url in asked} == {"runs"}
    desk.shoot("runs")


def test_an_admin_stops_a_run_by_keyboard_and_its_owner_learns_who_did(
    desk: Desk, ada: Worker
) -> None:
    job = ada.start("import time; time.sleep(300)", name="endless")
    desk.open("Runs")
    stop = desk.row("endless").get_by_role("button", name="Stop the run endless of ada")
    stop.focus()
    # The row changes under the hands of whoever is about to press.
    expect(desk.row("endless")).to_contain_text("running")
    expect(stop).to_be_focused()
    desk.page.keyboard.press("Enter")
    dialog = desk.page.get_by_role("dialog", name="Stop endless of ada?")
    expect(dialog).to_be_visible()
    desk.shoot("stop")
    desk.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(stop).to_be_focused()
    assert ada.run(job)["target"] == "run"
    desk.page.keyboard.press("Enter")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    desk.page.keyboard.press("Tab")
    desk.page.keyboard.press("Enter")
    run = ada.ended(job)
    assert run["status"] == "stopped"
    assert "grace" in run["reason"]["message"]
    expect(desk.row("endless")).to_contain_text("stopped")


def test_lists_are_filtered_and_the_address_keeps_the_filters(desk: Desk) -> None:
    desk.open("Runs")
    desk.page.locator("#himalia-panel-runs").get_by_label("Search").fill("OF BOB")
    expect(desk.row("of ada")).to_have_count(0)
    expect(desk.row("of bob")).to_have_count(1)
    desk.page.locator("#himalia-panel-runs").get_by_label("Status").select_option("Succeeded")
    expect(desk.page.get_by_text("No run matches.")).to_be_visible()
    desk.page.reload()
    expect(desk.page.get_by_text("No run matches.")).to_be_visible()
    panel = desk.page.locator("#himalia-panel-runs")
    expect(panel.get_by_label("Search")).to_have_value("OF BOB")
    panel.get_by_label("Search").fill("")
    panel.get_by_label("Status").select_option("Any")
    panel.get_by_label("Group").fill("physics")
    expect(desk.row("of ada")).to_have_count(1)
    expect(desk.row("of bob")).to_have_count(0)


def test_people_are_listed_with_their_groups_and_hours(desk: Desk) -> None:
    desk.open("People")
    for name, group in (("ada", "physics"), ("bob", "chemistry")):
        expect(desk.row(group).filter(has_text=name)).to_be_visible()
    expect(desk.row("grace").get_by_text("admin", exact=True)).to_be_visible()
    desk.shoot("people")


def test_while_draining_nothing_starts(desk: Desk, bob: Worker) -> None:
    desk.open("Overview")
    switch = desk.page.get_by_role("switch", name="Drain")
    switch.click()
    desk.confirm("Start to drain")
    expect(switch).to_have_attribute("aria-checked", "true")
    expect(desk.page.get_by_text("Nothing new starts; what runs goes on.")).to_be_visible()
    job = bob.start("print(2)", name="patient")
    time.sleep(2)
    assert bob.run(job)["status"] == "queued"
    desk.shoot("drain")
    desk.open("Queue")
    expect(desk.row("patient")).to_be_visible()
    desk.open("Overview")
    switch.click()
    desk.confirm("End the drain")
    assert bob.ended(job)["status"] == "succeeded"
    desk.open("Queue")
    expect(desk.page.get_by_text("Nothing waits.")).to_be_visible()


def test_021_a_banner_is_text_everywhere(desk: Desk, desks: dict[str, Desk]) -> None:
    desk.open("Overview")
    desk.page.get_by_label("Announcement").fill(HOSTILE)
    desk.page.get_by_role("button", name="Put it up").click()
    for one in desks.values():
        one.open("Overview")
        expect(one.page.locator("#himalia-notice")).to_contain_text("<img src=x onerror=")
    beside = desk.page.context.new_page()
    beside.goto(f"{desk.hub.url}/hub/home")
    expect(beside.locator(".announcement")).to_contain_text("<img src=x onerror=")
    assert beside.locator(".announcement img").count() == 0
    beside.close()
    desk.page.get_by_role("button", name="Take it down").click()
    expect(desk.page.locator("#himalia-notice")).to_be_empty()


def test_021_hostile_names_are_inert(desk: Desk, ada: Worker) -> None:
    ada.ended(ada.start("print(3)", name=HOSTILE))
    for tab in ("Runs", "Workloads"):
        desk.open(tab)
        row = desk.row('onerror="window.hacked=1"')
        expect(row).to_be_visible()
        # What would turn the text around is shown, and does not.
        expect(row).to_contain_text("\ufffd")
    row.get_by_role("button", name="Delete").click()
    expect(desk.page.get_by_role("dialog")).to_contain_text("onerror")
    desk.page.get_by_role("button", name="Cancel").click()
    desk.shoot("hostile")
    assert desk.page.locator(".himalia img").count() == 0
    assert desk.page.evaluate("window.hacked") is None


def test_everything_of_a_user_is_transferred_to_another(
    desk: Desk, ada: Worker, bob: Worker
) -> None:
    before = len(bob.rest.get("jobs").json()["items"])
    jobs = ada.rest.get("jobs").json()["items"]
    theirs = len(jobs)
    runs = [job["last_run"]["id"] for job in jobs if job["name"] == "of ada"]
    desk.open("People")
    desk.row("physics").get_by_role("button", name="Transfer everything of ada").click()
    dialog = desk.page.get_by_role("dialog")
    dialog.get_by_label("New owner").fill("nobody-here")
    dialog.get_by_role("button", name="Transfer").click()
    expect(dialog.get_by_role("alert")).to_contain_text("nobody-here")
    dialog.get_by_label("New owner").fill("bob")
    desk.confirm("Transfer")
    expect(desk.page.get_by_text(f"{theirs} workloads of ada now belong to bob.")).to_be_visible()
    assert ada.rest.get("jobs").json()["items"] == []
    assert len(bob.rest.get("jobs").json()["items"]) == before + theirs
    # With the files, which lay in a home that Bob may not enter.
    (output,) = bob.rest.get(f"runs/{runs[0]}/outputs").json()["items"]
    content = bob.rest.get(f"runs/{runs[0]}/outputs/{output['name']}").json()
    assert content["cells"][0]["outputs"][0]["text"] == ["1\n"]
    assert ada.rest.get(f"runs/{runs[0]}").status_code == 404


def test_quotas_are_set_and_removed_in_dialogs(desk: Desk) -> None:
    desk.open("Quotas")
    desk.page.get_by_role("button", name="New quota…").click()
    dialog = desk.page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("ada")
    dialog.get_by_label("GiB of memory at once").fill("1.5")
    dialog.get_by_label("Runs at once").fill("2")
    desk.confirm("Save")
    expect(desk.row("ada")).to_contain_text("1.5")
    desk.shoot("quotas")
    desk.page.get_by_role("button", name="Remove the quota of the user ada").click()
    desk.confirm("Remove the quota")
    expect(desk.row("ada")).to_have_count(0)


def test_usage_and_the_audit_log_are_shown_and_exported(desk: Desk) -> None:
    desk.open("Usage")
    expect(desk.row("bob")).to_be_visible()
    desk.shoot("usage")
    with desk.page.expect_download() as saved:
        desk.page.get_by_role("link", name="Export CSV").click()
    rows = list(csv.DictReader(io.StringIO(saved.value.path().read_text(), newline="")))
    assert {row["name"] for row in rows} >= {"ada", "bob"}
    assert all(not row["title"].startswith("=") for row in rows)
    desk.open("Audit")
    for action in ("run.stop", "drain.start", "banner.set", "person.transfer", "quota.put"):
        expect(desk.row(action).first).to_be_visible()
    desk.shoot("audit")
    with desk.page.expect_download() as saved:
        desk.page.locator("#himalia-panel-audit").get_by_role("link", name="Export CSV").click()
    rows = list(csv.DictReader(io.StringIO(saved.value.path().read_text(), newline="")))
    assert {row["actor"] for row in rows} == {"grace"}
    stopped = next(row for row in rows if row["action"] == "run.stop")
    assert (stopped["name"], json.loads(stopped["details"])["title"]) == ("ada", "endless")


def test_every_tab_is_reached_and_seen_by_keyboard_alone(desk: Desk) -> None:
    desk.open("Overview")
    tabs = desk.page.get_by_role("tab")
    tabs.first.focus()
    for index in range(1, tabs.count()):
        desk.page.keyboard.press("ArrowRight")
        expect(tabs.nth(index)).to_be_focused()
        width = tabs.nth(index).evaluate("node => getComputedStyle(node).outlineStyle")
        assert width == "solid"
        desk.page.keyboard.press("Enter")
        panel = desk.page.locator("[role=tabpanel]:visible")
        label = tabs.nth(index).get_attribute("id")
        expect(panel).to_have_attribute("aria-labelledby", str(label))
        desk.page.keyboard.press("Tab")
        inside = "node => node.contains(document.activeElement)"
        has_controls = panel.locator("button:visible, input:visible, a:visible").count() > 0
        assert panel.evaluate(inside) == has_controls, label
        tabs.nth(index).focus()
    desk.page.keyboard.press("Home")
    expect(tabs.first).to_be_focused()


def test_030_a_group_admin_sees_the_same_page_narrowed(desks: dict[str, Desk], ada: Worker) -> None:
    chair = desks["chair"]
    ada.ended(ada.start("print(4)", name="for the chair"))
    expect(chair.page.get_by_text("You administer the members of physics.")).to_be_visible()
    chair.open("Overview")
    assert chair.page.get_by_role("switch").count() == 0
    chair.open("People")
    expect(chair.row("ada")).to_be_visible()
    expect(chair.row("bob")).to_have_count(0)
    chair.open("Runs")
    expect(chair.row("for the chair")).to_be_visible()
    expect(chair.row("of bob")).to_have_count(0)
    chair.shoot("group-admin")
    chair.row("for the chair").get_by_role("button", name="Delete").click()
    chair.confirm("Delete the run")
    expect(chair.row("for the chair")).to_have_count(0)


def test_the_page_says_when_control_is_gone_and_goes_on_when_it_is_back(
    hub: Hub, desk: Desk, ada: Worker
) -> None:
    desk.open("Orphans")
    hub.kill("control")
    expect(desk.page.locator(".himalia-live")).to_have_text("Connection lost; trying again")
    expect(desk.page.locator(".himalia-live")).to_have_text("Live")
    desk.open("Runs")
    ada.start("print(5)", name="afterwards")
    expect(desk.row("afterwards")).to_contain_text("succeeded")


def test_029_who_is_no_admin_gets_a_page_that_says_no(hub: Hub, browser: Browser) -> None:
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    said: list[int] = []
    page.on("response", lambda answer: said.append(answer.status))
    Desk(hub, page, "bob")
    expect(page.locator("h1")).to_contain_text("403")
    expect(page.locator("#jupyterhub-logo")).to_be_visible()
    assert page.locator("#himalia-tabs").count() == 0
    context.close()
