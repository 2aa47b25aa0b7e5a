"""What a user does with schedules in JupyterLab."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from playwright.sync_api import Page, expect


def test_a_new_job_is_made_once_and_scheduled_with_its_next_times_shown_before(
    page: Page,
    visit: Callable[..., None],
    shoot: Callable[[str], None],
    real_notebook: Callable[[str], str],
    rest: httpx.Client,
) -> None:
    visit(real_notebook("no_parameters.ipynb"))
    page.get_by_role("button", name="Run as job").click()
    page.get_by_label("Name", exact=True).fill("weekly report")
    page.get_by_label("Run it now").uncheck()
    page.get_by_label("Run on a schedule").check()
    page.get_by_label("Cron line").fill("61 * * * *")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("cron")
    page.get_by_label("How often").select_option("0 9 * * 1-5")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    ticks = page.locator(".hm-Ticks")
    expect(ticks.locator("li")).to_have_count(10)
    expect(ticks).to_contain_text("At 09:00")
    expect(ticks).to_contain_text("Monday")
    expect(page.get_by_label("Cron line")).not_to_have_attribute("aria-invalid", "true")
    ticks.scroll_into_view_if_needed()
    shoot("schedule-in-form")
    page.get_by_role("button", name="Create", exact=True).click()
    expect(page.locator("form.hm-Form")).to_have_count(0)
    [job] = rest.get("jobs", params={"search": "weekly report"}).json()["items"]
    assert job["last_run"] is None
    [schedule] = rest.get("schedules", params={"workload_id": job["id"]}).json()["items"]
    assert (schedule["cron"], schedule["time_zone"]) == ("0 9 * * 1-5", "Europe/Berlin")


def test_a_schedule_is_made_corrected_paused_and_deleted(
    page: Page,
    visit: Callable[..., None],
    shoot: Callable[[str], None],
    notebook: Callable[..., str],
    rest: httpx.Client,
) -> None:
    name = notebook("timed.ipynb", "1")
    rest.post("jobs", json={"spec": {"notebook": name}, "run": False}).raise_for_status()
    visit(panel=True)
    page.get_by_role("tab", name="Jobs", exact=True).click()
    page.get_by_role("button", name="Schedule timed…").click()
    cron = page.get_by_label("Cron line")
    cron.fill("61 * * * *")
    expect(cron).to_have_attribute("aria-invalid", "true")
    shoot("schedule-error")
    cron.fill("30 4 1 * *")
    expect(page.locator(".hm-Ticks li")).to_have_count(10)
    page.get_by_role("button", name="Schedule", exact=True).click()

    page.get_by_role("tab", name="Schedules", exact=True).click()
    item = page.locator(".hm-Item", has_text="timed")
    expect(item).to_contain_text("30 4 1 * *")
    item.get_by_role("button", name="Pause the schedule of timed").click()
    expect(item).to_contain_text("Paused")
    shoot("schedules")
    item.get_by_role("button", name="timed", exact=True).click()
    expect(page.get_by_label("Paused")).to_be_checked()
    page.get_by_role("button", name="Delete", exact=True).click()
    sure = page.get_by_role("group", name="Delete this schedule")
    sure.get_by_role("button", name="Delete").click()
    expect(item).to_have_count(0)
