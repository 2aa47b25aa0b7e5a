"""The chart on a cluster: installed, used, upgraded, tested by its own tests."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright

from tests.servers.chart import HelmFailed, Release
from tests.servers.chromium import FLAGS, chromium
from tests.servers.cluster import ROOT
from tests.servers.notebooks import notebook
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.visitor import Visitor

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(900),
]
SCREENSHOTS = ROOT / "test-results/screenshots"
_ENDED = {"succeeded", "failed", "stopped", "lost", "cancelled"}
_LOOK_SECONDS = 0.5


class User:
    """Somebody at the hub, with a token for programs."""

    def __init__(self, release: Release, visitor: Visitor, token: str) -> None:
        self.release = release
        self.visitor = visitor
        self.token = token
        self.name = visitor.name

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        """Ask control, as a program does; while it is started anew it says 503."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            answer = await self.visitor.ask(
                method, f"/services/himalia/api/{path}", token=self.token, xsrf=False, **options
            )
            if answer.is_success:
                return answer.json()
            assert answer.status_code in {502, 503}, answer.text
            assert time.monotonic() < end, answer.text
            await asyncio.sleep(_LOOK_SECONDS)

    async def start(self) -> None:
        """Start the session, and wait until its server answers."""
        answer = await self.visitor.ask("POST", f"/hub/api/users/{self.name}/server")
        assert answer.status_code in {201, 202}, answer.text

        async def answers() -> bool:
            found = await self.visitor.ask(
                "GET", f"/user/{self.name}/api/status", token=self.token, xsrf=False
            )
            return found.status_code == 200

        await until(answers, lambda: json.dumps(self.release.session(self.name)["status"])[:3000])

    async def write(self, *sources: str) -> None:
        """Save a notebook through the session, as JupyterLab does."""
        await self.save("n.ipynb", {"type": "notebook", "content": json.loads(notebook(*sources))})

    async def save(self, name: str, body: object) -> None:
        """Save a file through the session."""
        path = f"/user/{self.name}/api/contents/{name}"
        answer = await self.visitor.ask("PUT", path, json=body, token=self.token, xsrf=False)
        assert answer.status_code in {200, 201}, answer.text

    async def submit(self) -> str:
        """Run the notebook as a job."""
        job = await self.ask("POST", "jobs", json={"name": "n", "spec": {"notebook": "n.ipynb"}})
        return str(job["last_run"]["id"])

    async def run(self, run_id: str) -> dict[str, Any]:
        """Return a run as it is now."""
        return dict(await self.ask("GET", f"runs/{run_id}"))


async def until(is_so: Callable[[], Any], told: Callable[[], str] = str) -> None:
    end = time.monotonic() + 2 * PATIENCE_SECONDS
    while not await is_so():
        assert time.monotonic() < end, told()
        await asyncio.sleep(_LOOK_SECONDS)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def alice(release: Release) -> AsyncIterator[User]:
    async with Visitor(release.url, "alice") as visitor:
        await visitor.log_in(release.password)
        made = await visitor.ask("POST", "/hub/api/users/alice/tokens", json={})
        user = User(release, visitor, made.json()["token"])
        await user.start()
        yield user


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def boss(release: Release) -> AsyncIterator[User]:
    """The administrator."""
    async with Visitor(release.url, "admin") as visitor:
        await visitor.log_in(release.secret("admin-password"))
        made = await visitor.ask("POST", "/hub/api/users/admin/tokens", json={})
        yield User(release, visitor, made.json()["token"])


async def test_the_defaults_end_in_a_login_page(release: Release) -> None:
    async with Visitor(release.url) as visitor:

        async def answers() -> bool:
            # Pods are ready a moment before the hub has told the proxy about itself.
            return bool((await visitor.enter("/")).status_code == 200)

        await until(answers)
        page = await visitor.enter("/")
        assert page.status_code == 200
        assert 'name="password"' in page.text
        for password in ("", "password", release.secret("admin-password")):
            form = {
                "username": "mallory",
                "password": password,
                "_xsrf": visitor.xsrf("/hub/") or "",
            }
            answer = await visitor.http.post("/hub/login", data=form)
            assert answer.status_code == 403


async def test_a_session_and_a_job_have_one_image_and_one_home(alice: User) -> None:
    await alice.write("import sys; open('made.txt', 'w').write(sys.executable)")
    run_id = await alice.submit()

    async def has_ended() -> bool:
        return (await alice.run(run_id))["status"] in _ENDED

    await until(has_ended)
    run = await alice.run(run_id)
    assert run["status"] == "succeeded", run
    pod = alice.release.session("alice")
    image = alice.release.cluster.image("session")
    assert [one["image"] for one in pod["spec"]["containers"]] == [image]
    assert pod["spec"]["automountServiceAccountToken"] is False


async def test_an_announcement_is_on_the_hubs_pages_within_seconds(
    release: Release, boss: User
) -> None:
    for banner, shown in (("Down <at> noon", "Down &lt;at&gt; noon"), ("", "")):
        await boss.ask("PATCH", "admin/notice", json={"banner": banner})
        async with Visitor(release.url) as visitor:

            async def is_told(visitor: Visitor = visitor, shown: str = shown) -> bool:
                page = (await visitor.enter("/hub/login")).text
                return shown in page if shown else "announcement alert" not in page

            await until(is_told)


async def isolation(boss: User) -> dict[str, Any]:
    """Return what the admin page has of isolation, once asked of REST."""
    return dict(await boss.ask("GET", "admin/isolation"))


async def seen(boss: User, words: str) -> str:
    """Open the admin page in a browser, and return what it says of isolation."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            page = await browser.new_page(viewport={"width": 1360, "height": 1100})
            page.set_default_timeout(PATIENCE_SECONDS * 1000)
            await page.goto(f"{boss.release.url}/services/himalia/")
            await page.get_by_label("Username").fill(boss.name)
            await page.get_by_label("Password").fill(boss.release.secret("admin-password"))
            await page.get_by_role("button", name="Sign in").click()
            box = page.get_by_role("region", name="Isolation")
            await box.get_by_text(words, exact=True).wait_for()
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            await page.screenshot(path=SCREENSHOTS / f"{words.lower().replace(' ', '-')}.png")
            return await box.inner_text()
        finally:
            await browser.close()


async def test_076_the_charts_own_test_finds_users_apart(release: Release, boss: User) -> None:
    never = await isolation(boss)
    assert never["state"] == "never"
    assert f"helm test {release.name} --namespace {release.namespace}" in never["next_step"]
    before = release.users()
    try:
        said = await asyncio.to_thread(release.helm, "test", release.name, "--logs")
    except HelmFailed as error:
        raise AssertionError(str(error)) from error
    assert "Users are apart from each other and from the cluster." in said
    lines = [line for line in said.splitlines() if line.startswith("ok ")]
    assert len(lines) == 14, said
    assert sum(line.endswith(": reached") for line in lines) == 3, said
    assert set(release.users()) <= set(before)
    # What it found is on the admin page, green.
    found = await isolation(boss)
    assert (found["state"], len(found["report"]["findings"])) == ("apart", 14)
    words = await seen(boss, "Users are apart")
    assert words.count("right ") + words.count("right\n") == 14, words
    assert "wrong" not in words


def images_of_runs(release: Release) -> set[str]:
    """Return the images that Alice's runs have."""
    home = release.session("alice")["metadata"]["namespace"]
    chosen = ("--namespace", home, "--selector", "app.kubernetes.io/component=run")
    return {
        container["image"]
        for pod in release.cluster.get("pods", *chosen)["items"]
        for container in pod["spec"]["containers"]
    }


async def test_078_an_upgrade_keeps_secrets_sessions_and_jobs(alice: User) -> None:
    release = alice.release
    await alice.write(
        "import pathlib, time",
        "home, end = pathlib.Path.home(), time.monotonic() + 600",
        "while 'go.txt' not in [one.name for one in home.iterdir()]:\n"
        "    assert time.monotonic() < end\n"
        "    time.sleep(0.2)",
    )
    run_id = await alice.submit()

    async def runs() -> bool:
        return (await alice.run(run_id))["status"] == "running"

    await until(runs)
    # What runs the job is what the session is, by digest.
    assert images_of_runs(release) == {release.cluster.image("session")}
    secrets, session = release.secrets(), release.session("alice")["metadata"]["uid"]
    hub = release.get("pods", "--selector", "component=hub")["items"][0]["metadata"]["uid"]
    authority, certificates = release.authority(), release.certificates()
    # Changed values, so that the hub and control are started anew: what an administrator might open
    # by mistake, for the test after this. Certificates that are old enough are renewed.
    more = {"singleuser": {"networkPolicy": {"egress": [{}]}}, "internalTls": {"renewAfterDays": 0}}
    release.put("upgrade", more)
    assert release.secrets() == secrets
    assert release.authority() == authority
    renewed = release.certificates()
    assert renewed.keys() == certificates.keys()
    assert not set(renewed.values()) & set(certificates.values())
    pods = release.get("pods", "--selector", "component=hub")["items"]
    assert hub not in {pod["metadata"]["uid"] for pod in pods}
    assert release.session("alice")["metadata"]["uid"] == session

    async def answers() -> bool:
        found = await alice.visitor.ask(
            "GET", "/user/alice/api/status", token=alice.token, xsrf=False
        )
        return bool(found.status_code == 200)

    await until(answers)
    assert (await alice.run(run_id))["status"] == "running"
    await alice.save("go.txt", {"type": "file", "format": "text", "content": ""})

    async def has_ended() -> bool:
        return (await alice.run(run_id))["status"] in _ENDED

    await until(has_ended)
    run = await alice.run(run_id)
    assert (run["status"], run["attempt"]) == ("succeeded", 1), run


async def test_076_the_charts_own_test_finds_users_who_are_not(
    release: Release, boss: User
) -> None:
    with pytest.raises(HelmFailed):
        await asyncio.to_thread(release.helm, "test", release.name)
    said = release.cluster.kubectl("logs", "test-isolation", "--namespace", release.namespace)
    assert "WRONG  the cluster's API server: reached" in said
    found = await isolation(boss)
    wrong = {one["name"] for one in found["report"]["findings"] if not one["is_right"]}
    assert found["state"] == "open"
    assert "api-server" in wrong
    words = await seen(boss, "Users are not apart")
    assert "the cluster's API server: reached" in words
    log = (await boss.ask("GET", "admin/audit", params={"search": "isolation.test"}))["items"]
    assert [len(one["details"]["wrong"]) for one in log] == [len(wrong), 0]


async def test_077_accounts_may_do_what_their_parts_do_and_no_more(release: Release) -> None:
    def may(account: str, verb: str, what: str, namespace: str) -> bool:
        who = f"system:serviceaccount:{release.namespace}:{account}"
        try:
            # What comes after a slash would be taken for an object's name.
            kind, _, part = what.partition("/")
            named = what if verb == "bind" else kind
            more = [f"--subresource={part}"] if part and verb != "bind" else []
            said = release.cluster.kubectl(
                *("auth", "can-i", verb, named, "--as", who, "--namespace", namespace, *more)
            )
        except AssertionError:
            return False
        return said.strip() == "yes"

    (home,) = {release.session("alice")["metadata"]["namespace"]}
    allowed = [
        ("hub", "create", "pods", home),
        ("control", "create", "pods/exec", home),
        ("namespaces", "create", "namespaces", home),
    ]
    for account in ("hub", "control", "namespaces", "default"):
        allowed_here = [one for one in allowed if one[0] == account]
        for one in allowed_here:
            assert may(*one), one
        for verb, what, where in (
            ("get", "secrets", home),
            ("get", "secrets", release.namespace),
            ("list", "secrets", "kube-system"),
            ("create", "pods", release.namespace),
            ("create", "pods", "kube-system"),
            ("create", "pods/exec", release.namespace),
            ("create", "serviceaccounts/token", home),
            ("create", "clusterrolebindings", home),
            ("escalate", "clusterroles", home),
            ("bind", "clusterroles/cluster-admin", home),
            ("impersonate", "users", home),
        ):
            assert not may(account, verb, what, where), (account, verb, what, where)
    for account in ("hub", "control"):
        assert not may(account, "create", "namespaces", home)
