"""The panel without a mouse, with a screen reader's eyes, and in the dark."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from playwright.sync_api import Page, expect

Visit = Callable[..., None]
Notebook = Callable[..., str]

NAMELESS = """() => [...document.querySelectorAll(
    '.hm-Widget button, .hm-Widget input, .hm-Widget select, .hm-Widget textarea, .hm-Widget a')]
  .filter(node => node.checkVisibility())
  .filter(node => !node.textContent.trim() && !node.getAttribute('aria-label') && !node.title
    && !(node.labels && [...node.labels].some(label => label.textContent.trim())))
  .map(node => node.outerHTML)"""
CONTRAST = """() => {
  const channel = value => (value /= 255) <= 0.03928
    ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) =>
    0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const colour = text => text.match(/[\\d.]+/g).map(Number);
  const ground = node => {
    for (; node; node = node.parentElement) {
      const found = colour(getComputedStyle(node).backgroundColor);
      if (found.length < 4 || found[3] > 0.5) return found;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('.hm-Widget *')]
    .filter(node => node.checkVisibility() && !node.disabled && [...node.childNodes].some(
      child => child.nodeType === Node.TEXT_NODE && child.textContent.trim()))
    .map(node => {
      const [one, two] = [light(colour(getComputedStyle(node).color)), light(ground(node))]
        .sort((a, b) => b - a);
      return [(one + 0.05) / (two + 0.05), node.outerHTML.slice(0, 200)];
    })
    .filter(([contrast]) => contrast < 3);
}"""


def command(page: Page, words: str) -> None:
    """Run a command by its name, as the keyboard does."""
    palette = page.locator(".lm-CommandPalette-input")
    for _ in range(20):  # JupyterLab takes its shortcuts up some time after it shows itself.
        page.keyboard.press("Control+Shift+C")
        try:
            expect(palette).to_be_focused(timeout=2000)
            break
        except AssertionError:
            page.keyboard.press("Escape")
    page.keyboard.type(words)
    page.locator(".lm-CommandPalette-item.lm-mod-active", has_text=words).wait_for()
    page.keyboard.press("Enter")


def press_until(page: Page, key: str, focused: str) -> None:
    """Press a key until what `focused` selects has the focus; a hundred times at most."""
    for _ in range(100):
        if page.evaluate("query => document.activeElement.matches(query)", focused):
            return
        page.keyboard.press(key)
    raise AssertionError(f"the focus never came to {focused}")


def choose_theme(page: Page, name: str) -> None:
    """Choose a theme in the menu; JupyterLab keeps it for every page to come."""
    page.get_by_role("menuitem", name="Settings").click()
    for label in ("Theme", name):
        page.locator(".lm-Menu-itemLabel").get_by_text(label, exact=True).click()
    page.locator(f"body[data-jp-theme-name='{name}']").wait_for(state="attached")


def test_a_job_is_made_watched_and_found_with_the_keyboard_alone(
    page: Page, visit: Visit, notebook: Notebook
) -> None:
    visit(notebook("typed.ipynb", "print(word)", parameters="word = 'default'"))
    page.get_by_text("| Idle").wait_for()  # Until then the notebook takes the focus to itself.
    command(page, "Run as job")
    page.locator("form.hm-Form").wait_for()
    press_until(page, "Tab", "[aria-label='Value of word']")
    page.keyboard.press("Control+A")
    page.keyboard.type("typed")
    page.keyboard.press("Enter")
    expect(page.locator(".hm-RunPage-state")).to_contain_text("Succeeded")
    page.locator("iframe[title='Executed notebook']").wait_for()
    press_until(page, "Tab", ".hm-RunPage [role='tab'][aria-selected='true']")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Log")).to_be_focused()
    expect(page.get_by_role("log")).to_contain_text("typed")

    command(page, "Show Himalia")
    page.locator(".hm-Sidebar").wait_for()
    press_until(page, "Tab", ".hm-Sidebar .hm-Item-name")
    expect(page.locator(":focus")).to_have_text("typed")
    page.keyboard.press("Enter")
    expect(page.locator(".hm-RunPage")).to_have_count(1)


def test_every_control_has_a_name_and_every_change_is_announced(
    page: Page, visit: Visit, notebook: Notebook, rest: httpx.Client
) -> None:
    name = notebook("named.ipynb", "1", parameters="x = 1")
    made = rest.post("jobs", json={"spec": {"notebook": name, "tags": ["named"]}}).json()
    rest.post("schedules", json={"workload_id": made["id"], "cron": "0 0 1 1 *"})
    visit(panel=True)
    for tab in ("Runs", "Jobs", "Schedules"):
        page.get_by_role("tab", name=tab, exact=True).click()
        page.locator(".hm-Item").first.wait_for()
        assert page.evaluate(NAMELESS) == []
    page.get_by_role("tab", name="Runs", exact=True).click()
    page.get_by_role("button", name="named", exact=True).first.click()
    state = page.locator(".hm-RunPage-state")
    expect(state).to_contain_text("Succeeded")
    expect(state).to_have_attribute("aria-live", "polite")
    for tab in ("Log", "Timing", "Files", "Details"):
        page.locator(".hm-RunPage").get_by_role("tab", name=tab).click()
        assert page.evaluate(NAMELESS) == []
    page.get_by_role("button", name="Edit job…").click()
    page.locator("form.hm-Form").wait_for()
    page.get_by_label("Add a schedule").check()
    for summary in page.locator("form.hm-Form summary").all():
        summary.click()
    page.get_by_role("button", name="Add variable").click()
    page.get_by_role("button", name="Add parameter").click()
    assert page.evaluate(NAMELESS) == []


def test_the_dark_theme_is_dark_everywhere_and_can_be_read(
    page: Page,
    visit: Visit,
    shoot: Callable[[str], None],
    notebook: Notebook,
    rest: httpx.Client,
) -> None:
    name = notebook("night.ipynb", "print('seen at night')", "1 / 0", "2")
    rest.post("jobs", json={"spec": {"notebook": name, "tags": ["etl"]}}).raise_for_status()
    visit(panel=True)
    page.get_by_role("button", name="night", exact=True).first.click()
    expect(page.locator(".hm-RunPage-state")).to_contain_text("Failed")
    assert page.evaluate(CONTRAST) == []
    choose_theme(page, "JupyterLab Dark")
    body = page.frame_locator("iframe[title='Executed notebook']").locator("body")
    expect(body).to_have_css("background-color", "rgb(33, 33, 33)")
    shoot("dark-run")
    assert page.evaluate(CONTRAST) == []
    page.get_by_role("button", name="Edit job…").click()
    page.locator("form.hm-Form").wait_for()
    page.get_by_label("Add a schedule").check()
    page.locator(".hm-Ticks li").first.wait_for()
    shoot("dark-form")
    assert page.evaluate(CONTRAST) == []
    choose_theme(page, "JupyterLab Light")
