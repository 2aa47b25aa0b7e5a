"""What a user sees of their usage in JupyterLab."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
from playwright.sync_api import Page, expect

Visit = Callable[..., None]
Shoot = Callable[[str], None]
Notebook = Callable[..., str]


def run(rest: httpx.Client, name: str, **spec: Any) -> str:
    """Run a notebook to its end; returns the run's id."""
    answer = rest.post("jobs", json={"spec": {"notebook": name, **spec}})
    assert answer.status_code == 201, answer.text
    run_id = str(answer.json()["last_run"]["id"])
    with rest.stream("GET", f"runs/{run_id}/events") as events:
        assert "event: end" in "".join(events.iter_text())
    return run_id


def open_usage(page: Page) -> Any:
    page.locator(".hm-Sidebar").get_by_role("button", name="Usage and quotas").click()
    usage = page.locator(".hm-Usage")
    expect(usage.get_by_role("heading", name="Usage", exact=True)).to_be_visible()
    return usage


def test_usage_is_shown_by_kind_by_project_and_line_by_line(
    page: Page, visit: Visit, shoot: Shoot, notebook: Notebook, rest: httpx.Client
) -> None:
    name = notebook("booked.ipynb", "sum(range(10**6))")
    run_id = run(rest, name, project="grant 42", resources={"cpu": 2})
    visit(panel=True)
    usage = open_usage(page)
    expect(usage).to_contain_text("Nobody set a limit on what you run.")
    kinds = usage.get_by_role("table", name="By kind")
    expect(kinds.get_by_role("row", name="job")).to_be_visible()
    project = usage.get_by_role("table", name="By project").get_by_role("row", name="grant 42")
    expect(project.get_by_role("cell").first).to_have_text("1")
    line = usage.get_by_role("table", name="What was on").get_by_role("row", name="booked").first
    expect(line).to_contain_text("grant 42")
    expect(line).to_contain_text("MiB")
    shoot("usage")
    with page.expect_download() as download:
        usage.get_by_role("link", name="Download as CSV").click()
    rows = csv.DictReader(io.StringIO(download.value.path().read_text(), newline=""))
    [row] = [row for row in rows if row["object_id"] == run_id]
    assert (row["project"], row["cpu"]) == ("grant 42", "2.0")
    line.get_by_role("button", name="booked").click()
    expect(page.locator(".hm-RunPage h1")).to_have_text("booked")


def test_an_earlier_month_is_chosen(page: Page, visit: Visit) -> None:
    visit(panel=True)
    usage = open_usage(page)
    now = datetime.now(UTC)
    before = f"{now.year - (now.month == 1)}-{(now.month - 2) % 12 + 1:02}"
    usage.get_by_label("Month (UTC)").select_option(before)
    expect(usage).to_contain_text("Nothing was used in this month.")
    expect(usage.get_by_role("link", name="Download as CSV")).to_have_attribute(
        "download", f"usage-{before}.csv"
    )


def test_a_job_is_booked_on_a_project_in_the_form(
    page: Page, visit: Visit, shoot: Shoot, notebook: Notebook, rest: httpx.Client
) -> None:
    run(rest, notebook("earlier.ipynb", "1"), project="thesis")
    visit(notebook("chosen.ipynb", "1"))
    page.get_by_role("button", name="Run as job").click()
    form = page.locator("form.hm-Form")
    field = form.get_by_label("Project")
    choices = page.locator(f"datalist[id='{field.get_attribute('list')}'] option[value='thesis']")
    expect(choices).to_have_count(1)
    field.fill("a;b")
    form.get_by_role("button", name="Run", exact=True).click()
    expect(form).to_contain_text("A project has letters, digits")
    field.fill("thesis")
    form.get_by_text("Limits and retries").click()
    form.get_by_label("Cores").fill("1.5")
    form.get_by_label("Memory in GiB").fill("2")
    shoot("job-form-project")
    form.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator(".hm-RunPage-state")).to_contain_text("Succeeded")
    [job] = rest.get("jobs", params={"search": "chosen"}).json()["items"]
    assert job["spec"]["project"] == "thesis"
    assert job["spec"]["resources"] == {"cpu": 1.5, "memory_bytes": 2 * 2**30}
