"""What a user does with jobs in JupyterLab, from the first press to the last look."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
from playwright.sync_api import Page, expect

Visit = Callable[..., None]
Shoot = Callable[[str], None]
Notebook = Callable[..., str]


def start(rest: httpx.Client, notebook: str, **spec: Any) -> dict[str, Any]:
    draft = {"spec": {"notebook": notebook, **spec}}
    answer = rest.post("jobs", json=draft)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def refresh(page: Page) -> None:
    page.locator(".hm-Sidebar").get_by_role("button", name="Refresh", exact=True).click()


def state(page: Page) -> Any:
    return page.locator(".hm-RunPage-state")


def test_a_notebook_of_another_project_runs_as_a_job_with_a_parameter(
    page: Page, visit: Visit, shoot: Shoot, real_notebook: Notebook
) -> None:
    visit(real_notebook("simple_execute.ipynb"))
    page.get_by_role("button", name="Run as job").click()
    form = page.locator("form.hm-Form")
    expect(form.get_by_label("Notebook", exact=True)).to_have_value("simple_execute.ipynb")
    form.get_by_label("Type of msg").select_option("text")
    form.get_by_label("Value of msg").fill("said in the panel")
    shoot("job-form")
    form.get_by_role("button", name="Run", exact=True).click()

    expect(state(page)).to_contain_text("Succeeded")
    result = page.frame_locator("iframe[title='Executed notebook']")
    expect(result.locator("pre.stream")).to_have_text("said in the panel\n")
    shoot("run-succeeded")
    page.get_by_role("tab", name="Files").click()
    table = page.locator(".hm-RunPage table")
    expect(table).to_contain_text("simple_execute.ipynb")
    expect(table).to_contain_text("simple_execute.html")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download simple_execute.ipynb").click()
    assert b"said in the panel" in download.value.path().read_bytes()
    with page.context.expect_page() as report:
        page.get_by_role("link", name="Open simple_execute.html in a new tab").click()
    expect(report.value.locator("body")).to_contain_text("said in the panel")
    page.get_by_role("tab", name="Details").click()
    expect(page.locator(".hm-Details")).to_contain_text('"said in the panel"')


def test_a_notebook_in_the_file_browser_runs_from_its_context_menu(
    page: Page, visit: Visit, notebook: Notebook
) -> None:
    name = notebook("from_files.ipynb", "print('ran')")
    visit()
    page.locator(".jp-DirListing-item", has_text=name).click(button="right")
    page.get_by_role("menuitem", name="Run as job").click()
    page.get_by_role("button", name="Run", exact=True).click()
    expect(state(page)).to_contain_text("Succeeded")


def test_progress_and_log_are_seen_while_the_run_goes_on(
    page: Page, visit: Visit, shoot: Shoot, notebook: Notebook, rest: httpx.Client, lab: Any
) -> None:
    gate = lab.root / "gate"
    wait = f"from pathlib import Path; import time\nwhile not Path({str(gate)!r}).exists():"
    name = notebook(
        "watched.ipynb", "print('first cell', flush=True)", f"{wait}\n    time.sleep(0.1)", "3"
    )
    visit(panel=True)
    start(rest, name)
    refresh(page)
    item = page.locator(".hm-Item", has_text="watched")
    expect(item).to_contain_text("Running")
    expect(item).to_contain_text("1 of 3 cells")
    item.get_by_role("button", name="watched", exact=True).click()
    expect(state(page)).to_contain_text("1 of 3 cells")
    expect(page.get_by_role("log")).to_contain_text("first cell")
    shoot("run-live")
    gate.touch()
    expect(state(page)).to_contain_text("Succeeded")
    expect(item).to_contain_text("Succeeded")
    page.get_by_role("tab", name="Timing").click()
    expect(page.locator(".hm-Timing tbody tr")).to_have_count(3)
    expect(page.locator(".hm-Timing svg[role='img']")).to_have_count(3)
    shoot("run-timing")


def test_a_run_page_that_was_hidden_goes_on_where_it_was(
    page: Page, visit: Visit, notebook: Notebook, rest: httpx.Client
) -> None:
    name = notebook("hidden.ipynb", "print('once', flush=True)", "import time\ntime.sleep(600)")
    visit(panel=True)
    made = start(rest, name)
    refresh(page)
    page.get_by_role("button", name="hidden", exact=True).click()
    log = page.get_by_role("log")
    expect(log).to_have_text("once\n")
    page.locator(".lm-TabBar-tab", has_text="Launcher").click()
    expect(log).to_be_hidden()
    with page.expect_request(lambda request: "/events" in request.url) as events:
        page.locator(".lm-DockPanel-tabBar .lm-TabBar-tab", has_text="hidden").click()
    assert events.value.headers["last-event-id"]
    page.wait_for_timeout(1000)
    expect(log).to_have_text("once\n")
    rest.post(f"runs/{made['last_run']['id']}/stop").raise_for_status()
    expect(state(page)).to_contain_text("Stopped")


def test_a_long_run_is_stopped(
    page: Page, visit: Visit, shoot: Shoot, notebook: Notebook, rest: httpx.Client
) -> None:
    name = notebook("endless.ipynb", "import time\nwhile True:\n    time.sleep(0.1)")
    visit(panel=True)
    start(rest, name)
    refresh(page)
    page.get_by_role("button", name="endless", exact=True).click()
    expect(state(page)).to_contain_text("Running")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(state(page)).to_contain_text("Stopped")
    shoot("run-stopped")
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("group", name="Delete this run").get_by_role("button", name="Delete").click()
    expect(page.locator(".hm-RunPage")).to_have_count(0)
    expect(page.locator(".hm-Item", has_text="endless")).to_have_count(0)


def test_a_failed_run_says_why_and_what_to_do_next(
    page: Page, visit: Visit, shoot: Shoot, real_notebook: Notebook, rest: httpx.Client
) -> None:
    name = real_notebook("broken1.ipynb")
    visit(panel=True)
    start(rest, name)
    refresh(page)
    page.get_by_role("button", name="broken1", exact=True).click()
    expect(state(page)).to_contain_text("Failed")
    reason = page.locator(".hm-RunPage > .hm-Note.hm-mod-error")
    expect(reason).to_contain_text("AssertionError")
    expect(reason.locator("p")).to_have_count(2)
    result = page.frame_locator("iframe[title='Executed notebook']")
    expect(result.locator("pre.error").last).to_contain_text("assert False")
    shoot("run-failed")
    page.get_by_role("button", name="Run from the failed cell").click()
    expect(page.locator(".hm-RunPage:visible .hm-RunPage-state")).to_contain_text("Failed")
    expect(page.locator(".hm-RunPage")).to_have_count(2)


def test_what_is_wrong_stands_at_its_field_and_nothing_typed_is_lost(
    page: Page, visit: Visit, shoot: Shoot
) -> None:
    visit(panel=True)
    page.get_by_label("New job…").click()
    form = page.locator("form.hm-Form")
    form.get_by_label("Notebook", exact=True).fill("missing.ipynb")
    form.get_by_label("Name", exact=True).fill("kept")
    form.get_by_role("button", name="Run", exact=True).click()
    field = form.get_by_label("Notebook", exact=True)
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    expect(field).to_have_accessible_description(re.compile("not", re.IGNORECASE))
    expect(form.get_by_label("Name", exact=True)).to_have_value("kept")
    shoot("job-form-error")


def test_a_run_is_found_again_after_the_page_was_loaded_anew(
    page: Page, visit: Visit, notebook: Notebook, rest: httpx.Client, lab: Any
) -> None:
    start(rest, notebook("again.ipynb", "1"))
    visit(panel=True)
    page.get_by_role("button", name="again", exact=True).click()
    expect(state(page)).to_contain_text("Succeeded")
    name = page.url.split("/workspaces/")[1].split("/")[0]
    while "himalia-run-run-" not in rest.get(f"{lab.url}/lab/api/workspaces/{name}").text:
        page.wait_for_timeout(100)
    page.goto(page.url.split("?")[0])
    expect(state(page)).to_contain_text("Succeeded")


def test_runs_are_filtered_by_status_tag_and_name(
    page: Page, visit: Visit, notebook: Notebook, rest: httpx.Client
) -> None:
    good = start(rest, notebook("good.ipynb", "1"), tags=["filtered"])
    bad = start(rest, notebook("bad.ipynb", "1 / 0"), tags=["filtered"])
    for job in (good, bad):
        _wait_for_end(rest, job["last_run"]["id"])
    visit(panel=True)
    items = page.locator(".hm-Item")
    items.get_by_role("button", name="filtered").first.click()
    expect(items).to_have_count(2)
    page.get_by_label("Status", exact=True).select_option("failed")
    expect(items).to_have_count(1)
    expect(items).to_contain_text("bad")
    page.get_by_label("Search runs").fill("good")
    expect(page.locator(".hm-Empty")).to_contain_text("No run matches")


def _wait_for_end(rest: httpx.Client, run_id: str) -> None:
    with rest.stream("GET", f"runs/{run_id}/events") as events:
        for _ in events.iter_lines():
            pass


def test_a_server_that_does_not_answer_is_told_and_found_again(
    page: Page, visit: Visit, shoot: Shoot
) -> None:
    visit()
    page.route("**/himalia/api/**", lambda route: route.abort())
    page.locator("li[data-id='himalia-sidebar']").click()
    note = page.locator(".hm-Sidebar .hm-Note")
    expect(note).to_contain_text("does not answer")
    shoot("no-answer")
    page.unroute("**/himalia/api/**")
    note.get_by_role("button", name="Try again").click()
    expect(note).to_have_count(0)


def test_a_pipeline_is_shown_in_its_order(
    page: Page, visit: Visit, shoot: Shoot, notebook: Notebook, rest: httpx.Client
) -> None:
    def make(name: str, *after: tuple[str, str]) -> str:
        waits = [{"workload_id": job, "on": on} for job, on in after]
        spec = {"notebook": notebook(f"{name}.ipynb", "1"), "after": waits}
        return str(rest.post("jobs", json={"spec": spec, "run": False}).json()["id"])

    extract = make("extract")
    transform = make("transform", (extract, "success"))
    make("alarm", (transform, "failure"))
    rest.post(f"jobs/{extract}/runs", json={}).raise_for_status()
    visit(panel=True)
    skipped = page.locator(".hm-Item", has_text="alarm")
    expect(skipped).to_contain_text("Skipped")
    page.get_by_role("button", name="transform", exact=True).click()
    page.locator(".hm-RunPage").get_by_role("tab", name="Details").click()
    nodes = page.locator(".hm-Pipeline li")
    expect(nodes).to_have_count(3)
    expect(nodes.nth(0)).to_contain_text("extract")
    expect(nodes.nth(1)).to_contain_text("after extract, when it succeeds")
    expect(nodes.nth(2)).to_contain_text("after transform, when it fails")
    shoot("pipeline")
