"""jupyter-scheduler's own panel, as it is shipped, over our service."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import nbformat
from playwright.sync_api import Locator, Page, expect

from tests.servers.patience import PATIENCE_SECONDS

Visit = Callable[..., None]
Shoot = Callable[[str], None]
Notebook = Callable[..., str]


def test_a_job_runs_with_a_parameter_and_its_files_are_downloaded(
    page: Page, visit: Visit, shoot: Shoot, notebook: Notebook, lab: Any
) -> None:
    visit(notebook("theirs.ipynb", "print('from', x)", parameters="x = 1"))
    form = _form(page)
    form.get_by_title("Add new parameter").click()
    form.locator("[name='parameter-0-name']").fill("x")
    form.locator("[name='parameter-0-value']").fill("41")
    form.locator("#jp-create-job-jobName").click()
    form.get_by_role("button", name="Create").click()

    row = _row(page, "theirs")
    _reload_until(page, row, "Completed")
    row.get_by_title('Download output files for "theirs"').click()
    expect(row.get_by_role("link", name="Notebook", exact=True)).to_be_visible()
    expect(row.get_by_role("link", name="HTML", exact=True)).to_be_visible()
    shoot("scheduler-downloaded")
    (executed,) = lab.root.glob("jobs/theirs-*/theirs-*.ipynb")
    cells = nbformat.read(executed, as_version=4).cells
    assert cells[-1].outputs[0].text == "from 41\n"


def test_a_job_is_stopped_and_deleted(page: Page, visit: Visit, notebook: Notebook) -> None:
    visit(notebook("endless.ipynb", "import time; time.sleep(600)"))
    _form(page).get_by_role("button", name="Create").click()
    row = _row(page, "endless")
    _reload_until(page, row, "In progress")
    row.get_by_title('Stop "endless"').click()
    row.get_by_role("button", name="Stop", exact=True).click()
    _reload_until(page, row, "Stopped")
    row.get_by_title('Delete "endless"').click()
    row.get_by_role("button", name="Delete", exact=True).click()
    expect(row).to_have_count(0)


def test_a_notebook_is_scheduled_and_paused(
    page: Page, visit: Visit, shoot: Shoot, notebook: Notebook
) -> None:
    visit(notebook("regular.ipynb", "print(1)"))
    form = _form(page)
    form.get_by_label("Run on a schedule").check()
    form.get_by_role("button", name="Create").click()
    page.get_by_role("tab", name="Job Definitions").click()
    row = _row(page, "regular")
    expect(row).to_contain_text("Active")
    row.get_by_title('Pause "regular"').click()
    expect(row).to_contain_text("Paused")
    shoot("scheduler-paused")


def _form(page: Page) -> Locator:
    page.locator("[data-command='scheduling:create-from-notebook']").click()
    form = page.locator("form.jp-create-job-form")
    expect(form.locator("#jp-create-job-environment")).to_have_text("Kernel of the notebook")
    return form


def _row(page: Page, name: str) -> Locator:
    return (
        page.get_by_role("row")
        .filter(has=page.get_by_role("link", name=name, exact=True))
        .or_(
            page.get_by_role("row").filter(has=page.get_by_title(f'Open detail view for "{name}"'))
        )
    )


def _reload_until(page: Page, row: Locator, text: str) -> None:
    """Press Reload until the list, which does not follow by itself, shows `text`."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        page.get_by_role("button", name="Reload").click()
        page.wait_for_timeout(500)
        if row.count() and text in (row.first.text_content() or ""):
            return
    expect(row).to_contain_text(text)
