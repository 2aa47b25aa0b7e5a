"""Users with hosts of their own, behind TLS: what one user's page can do to whoever opens it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect

from tests.browser.user import User, wait_for
from tests.servers.hub import Hub
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.timeout(600)
HER_SERVER = '''
"""Whoever runs a server decides what it answers: this one shows a page to everybody."""
import json, os
from jupyter_server import serverapp
from tornado.web import RequestHandler

class Page(RequestHandler):
    def get(self):
        for cookie in json.loads(self.get_argument("cookies", "[]")):
            self.add_header("Set-Cookie", cookie)
        self.finish("<!DOCTYPE html><title>Alice's page</title>")

if os.environ.get("JUPYTERHUB_USER") == "alice":
    plain = serverapp.ServerWebApplication.__init__

    def made(self, *args, **kwargs):
        plain(self, *args, **kwargs)
        self.add_handlers(".*", [("/user/alice/page", Page)])

    serverapp.ServerWebApplication.__init__ = made
'''


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    made = Hub(host="hub.localhost", is_secure=True)
    theirs = made.folder / "servers"
    theirs.mkdir(mode=0o755)
    (theirs / "jupyter_server_config.py").write_text(HER_SERVER)
    with made.config.open("a") as config:
        config.write(f"c.Spawner.environment['JUPYTER_CONFIG_PATH'] = {str(theirs)!r}\n")
    try:
        wait_for(made.start())
        wait_for(made.api("POST", "users/alice"))
        wait_for(made.open_server("alice"))
        yield made
    finally:
        made.clear()


def somebody(browser: Browser) -> BrowserContext:
    context = browser.new_context(
        viewport={"width": 1360, "height": 860}, locale="en-GB", ignore_https_errors=True
    )
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    return context


@pytest.fixture(scope="module")
def bob(hub: Hub, browser: Browser) -> Iterator[User]:
    """Bob, who has signed in, and whose server runs."""
    user = User(hub, somebody(browser), "bob")
    user.sign_in()
    user.open_panel()
    yield user
    user.shoot("end-of-bob-behind-tls")
    user.page.context.close()


@pytest.fixture(scope="module")
def admin(hub: Hub, browser: Browser) -> Iterator[User]:
    """An admin, on the admin page."""
    user = User(hub, somebody(browser), "admin")
    user.log_in("/hub/home")
    user.page.get_by_role("button", name="Services").click()
    user.page.get_by_role("link", name="himalia").click()
    expect(user.page.locator("#himalia-reach")).to_contain_text("You administer everybody")
    yield user
    user.page.context.close()


def open_hers(hub: Hub, user: User, *cookies: str) -> Page:
    """Open Alice's page in a tab of somebody's, with cookies that her server sets."""
    page = user.page.context.new_page()
    answer = page.goto(f"{hub.home('alice')}page?cookies={quote(json.dumps(cookies))}")
    assert answer is not None
    assert answer.status == 200
    return page


def whose(page: Page, hub: Hub) -> str:
    """Return whom the hub takes a browser for."""
    page.goto(f"{hub.url}/hub/home")
    return str(page.evaluate("window.jhdata.user"))


def test_a_login_a_session_a_job_and_the_admin_page_work_behind_tls(
    hub: Hub, bob: User, admin: User
) -> None:
    assert bob.page.url.startswith(f"{hub.home('bob')}lab")
    bob.write("mine.ipynb", "print('behind TLS')")
    bob.run("mine.ipynb")
    expect(bob.page.locator(".hm-RunPage-state")).to_contain_text("Succeeded")
    result = bob.page.frame_locator("iframe[title='Executed notebook']")
    expect(result.locator("pre.stream")).to_have_text("behind TLS\n")
    assert urlsplit(admin.page.url)._replace(fragment="").geturl() == hub.service
    expect(admin.page.locator("#himalia-live")).to_have_text("Live")
    admin.page.get_by_role("tab", name="Workloads").click()
    expect(admin.page.locator("#himalia-panel-workloads")).to_contain_text("mine")


def test_019_cookies_of_logins_are_bound_to_one_host_each(hub: Hub, bob: User, admin: User) -> None:
    of_bob = {cookie["name"]: cookie for cookie in bob.page.context.cookies()}
    of_admin = {cookie["name"]: cookie for cookie in admin.page.context.cookies()}
    hosts = {
        "__Host-jupyterhub-hub-login": (of_bob, "hub.localhost"),
        "__Host-jupyterhub-user-bob": (of_bob, "bob.hub.localhost"),
        "__Host-service-himalia": (of_admin, "himalia--service.hub.localhost"),
    }
    for name, (cookies, host) in hosts.items():
        cookie = cookies[name]
        assert cookie["domain"] == host  # without a dot: not for hosts below it
        assert cookie["path"] == "/"
        assert cookie["secure"]
        assert cookie["httpOnly"]
    for cookies in (of_bob, of_admin):
        wide = {name for name, cookie in cookies.items() if cookie["domain"].startswith(".")}
        assert wide == {"jupyterhub-session-id"}
        names = [name for name in cookies if name.startswith(("jupyterhub-", "service-"))]
        assert names == ["jupyterhub-session-id"]


ATTACK = """async ({theirs, mine}) => {
  const said = {};
  const send = async (name, url, options) => {
    try {
      const answer = await fetch(url, {credentials: 'include', ...options});
      said[name] = answer.type === 'opaque' ? 'opaque' : `${answer.status} ${await answer.text()}`;
    } catch (error) { said[name] = error.name; }
  };
  const form = {'Content-Type': 'text/plain'};
  for (const url of theirs.loaded) {
    for (const [kind, at] of [['img', 'src'], ['iframe', 'src'], ['object', 'data']]) {
      const element = document.createElement(kind);
      const done = new Promise(over => { element.onload = element.onerror = over; });
      element[at] = url;
      document.body.append(element);
      await done;
    }
  }
  for (const [name, url] of Object.entries(theirs.read)) {
    await send(`read ${name}`, url, {});
    await send(`peek ${name}`, url, {mode: 'no-cors'});
  }
  for (const [name, [method, url, body]] of Object.entries(theirs.write)) {
    if (method === 'POST') {
      await send(`post ${name}`, url, {method, mode: 'no-cors', headers: form, body});
      await send(`post ${name} with my token`, `${url}?_xsrf=${mine}`,
                 {method, mode: 'no-cors', headers: form, body});
    }
    await send(`ask ${name}`, url, {method, headers: {'X-XSRFToken': mine}, body});
  }
  for (const [name, url] of Object.entries(theirs.sockets)) {
    said[`socket ${name}`] = await new Promise(done => {
      const socket = new WebSocket(url);
      socket.onopen = () => done('open');
      socket.onerror = () => done('refused');
    });
  }
  return said;
}"""


def targets(hub: Hub, kernel: str) -> dict[str, Any]:
    """Return what a page could try with the cookies of Bob's browser, or of an admin's."""
    bobs, api, control = hub.home("bob"), f"{hub.url}/hub/api", f"{hub.service}api"
    notice = json.dumps({"banner": "By Alice", "is_draining": True})
    job = json.dumps({"spec": {"notebook": "mine.ipynb"}, "run": True})
    return {
        "loaded": [f"{hub.url}/hub/logout"],
        "read": {
            "files": f"{bobs}api/contents",
            "a file": f"{bobs}files/mine.ipynb",
            "runs": f"{bobs}himalia/api/runs",
            "hub": f"{api}/user",
            "token page": f"{hub.url}/hub/token",
            "logout": f"{hub.url}/hub/logout",
            "admin": f"{control}/admin/workloads",
            "admin page": hub.service,
        },
        "write": {
            "a kernel": ["POST", f"{bobs}api/kernels", "{}"],
            "a job": ["POST", f"{bobs}himalia/api/jobs", job],
            "a file": ["PUT", f"{bobs}api/contents/hers.txt", "{}"],
            "a token": ["POST", f"{api}/users/bob/tokens", "{}"],
            "his server": ["DELETE", f"{api}/users/bob/server", None],
            "a notice": ["PATCH", f"{control}/admin/notice", notice],
            "a posted notice": ["POST", f"{control}/admin/notice", notice],
        },
        "sockets": {
            "kernel": f"{bobs.replace('https', 'wss')}api/kernels/{kernel}/channels",
            "events": f"{bobs.replace('https', 'wss')}api/events/subscribe",
        },
    }


def has(user: User) -> tuple[int, int]:
    """Return how many kernels and jobs somebody has."""
    kernels, jobs = user.ask("GET", "api/kernels"), user.ask("GET", "himalia/api/jobs")
    return len(json.loads(kernels["text"])), len(json.loads(jobs["text"])["items"])


def tokens_of(name: str, hub: Hub) -> set[str]:
    """Return the ids of the tokens that somebody, and not a login, made."""
    tokens = wait_for(hub.api("GET", f"users/{name}/tokens")).json()["api_tokens"]
    return {token["id"] for token in tokens if token["oauth_client"] == "JupyterHub"}


def test_015_a_page_of_alice_s_reads_and_does_nothing_in_the_name_of_who_opens_it(
    hub: Hub, bob: User, admin: User
) -> None:
    made = bob.ask("POST", "api/kernels", {"name": "python3"})
    assert made["status"] == 201, made
    theirs = targets(hub, json.loads(made["text"])["id"])
    before = (has(bob), tokens_of("bob", hub))
    for user in (bob, admin):
        page = open_hers(hub, user)
        said = page.evaluate(ATTACK, {"theirs": theirs, "mine": "0"})
        # "opaque": it was sent, and the page does not see what came of it.
        assert set(said.values()) <= {"TypeError", "opaque", "refused"}, said
        page.close()
    assert (has(bob), tokens_of("bob", hub)) == before
    assert bob.ask("GET", "api/contents/hers.txt")["status"] == 404
    assert "By Alice" not in bob.ask("GET", "himalia/api/notice")["text"]
    page = bob.page.context.new_page()
    assert whose(page, hub) == "bob"
    page.close()


def test_019_cookies_that_alice_s_page_sets_sign_nobody_in_as_her(
    hub: Hub, browser: Browser, bob: User, admin: User
) -> None:
    alice = User(hub, somebody(browser), "alice")
    alice.log_in("/hub/home")
    alice.page.goto(f"{hub.home('alice')}lab")
    alice.page.locator("li[data-id='himalia-sidebar']").wait_for()
    hers = {cookie["name"]: cookie["value"] for cookie in alice.page.context.cookies()}
    login, server = hers["__Host-jupyterhub-hub-login"], hers["__Host-jupyterhub-user-alice"]
    alice.page.context.close()
    tossed = [
        f"{prefix}{name}={value}; Domain=hub.localhost; Path={path}; Secure"
        for name, value, path in (
            ("jupyterhub-hub-login", login, "/hub/"),
            ("jupyterhub-user-bob", server, "/user/bob/"),
            ("service-himalia", server, "/services/himalia/"),
            ("oauthenticator-state", "x", "/"),
        )
        for prefix in ("", "__Host-")
    ]
    nobody = User(hub, somebody(browser), "nobody")
    for user in (bob, admin, nobody):
        page = open_hers(hub, user, *tossed)
        page.evaluate("cookies => cookies.forEach(one => { document.cookie = one; })", tossed)
        wide = {c["name"] for c in user.page.context.cookies() if c["domain"][0] == "."}
        assert "jupyterhub-hub-login" in wide  # browsers take it, and the hub does not
        assert not any(name.startswith("__Host-") for name in wide)
        if user is nobody:
            page.goto(f"{hub.url}/hub/home")
            expect(page.get_by_label("Username")).to_be_visible()
        else:
            assert whose(page, hub) == user.name
        page.close()
    nobody.page.context.close()
    bob.page.reload()
    bob.sidebar.wait_for()
    assert bob.ask("GET", "api/me")["text"].count('"bob"')
    admin.page.reload()
    expect(admin.page.locator("#himalia-live")).to_have_text("Live")
    for user in (bob, admin):
        for name in ("jupyterhub-hub-login", "jupyterhub-user-bob", "service-himalia"):
            user.page.context.clear_cookies(domain=".hub.localhost", name=name)


def test_024_alice_s_page_frames_no_page_and_gets_no_hold_of_one(
    hub: Hub, bob: User, admin: User
) -> None:
    page = {"type": "file", "format": "text", "content": "<title>Mine</title>"}
    assert bob.ask("PUT", "api/contents/mine.html", page)["status"] == 201
    pages = {
        "hub": (bob, f"{hub.url}/hub/home"),
        "token": (bob, f"{hub.url}/hub/token"),
        "lab": (bob, f"{hub.home('bob')}lab"),
        "file": (bob, f"{hub.home('bob')}files/mine.html"),
        "admin": (admin, hub.service),
    }
    for name, (user, url) in pages.items():
        page = open_hers(hub, user)
        page.evaluate(
            """url => new Promise((done, late) => {
              const frame = document.createElement('iframe');
              frame.onload = done;
              setTimeout(() => late(new Error(`${url} loads for ever`)), 120_000);
              frame.src = url;
              document.body.append(frame);
            })""",
            url,
        )
        shown = page.frames[1].url
        assert shown.startswith("chrome-error://"), (name, shown)
        with page.context.expect_page() as opened:
            page.evaluate("url => { window.theirs = window.open(url); }", url)
        opened.value.wait_for_load_state()
        reach = page.evaluate(
            "() => { try { return theirs.document.title; } catch (error) { return error.name; } }"
        )
        is_severed = page.evaluate("theirs.closed")
        assert reach == "SecurityError" or is_severed, (name, reach)
        assert is_severed or name in {"lab", "file"}, name
        opened.value.close()
        page.close()


def test_019_a_cookie_bomb_is_answered_as_too_large(hub: Hub, browser: Browser) -> None:
    victim = User(hub, somebody(browser), "victim")
    page = open_hers(hub, victim)
    page.evaluate(
        """() => { for (let number = 0; number < 20; number++) {
          document.cookie = `c${number}=${'x'.repeat(3000)}; Domain=hub.localhost; Path=/`;
        } }"""
    )
    for url in (f"{hub.url}/hub/login", f"{hub.home('bob')}lab", hub.service):
        tab = victim.page.context.new_page()
        with tab.expect_response(url) as refused, suppress(Error):
            tab.goto(url)  # there is nothing to show
        assert refused.value.status == 431, url
    victim.page.context.clear_cookies()
    answer = page.goto(f"{hub.url}/hub/login")
    assert answer is not None
    assert answer.status == 200
    victim.page.context.close()
