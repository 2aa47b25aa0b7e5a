"""Two people at an installed hub, each in a browser and a namespace of their own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect
from playwright.sync_api import TimeoutError as PageTimeout

from tests.browser.user import User, wait_for
from tests.servers.chart import Release
from tests.servers.chromium import browser, jp_asyncio_loop, jp_server_cleanup
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.visitor import Visitor

__all__ = ["browser", "jp_asyncio_loop", "jp_server_cleanup"]

pytestmark = [pytest.mark.kubernetes, pytest.mark.browser, pytest.mark.timeout(900)]
GATE = """
import pathlib, time
end = time.monotonic() + 600
while 'while-away.txt' not in [one.name for one in pathlib.Path.home().iterdir()]:
    assert time.monotonic() < end
    time.sleep(0.2)
print('said by alice, who was away')
"""


class Resident(User):
    """Somebody whose session is a pod."""

    hub: Release

    def wait_for_work(self) -> None:
        """Let the session come up, and show the panel."""
        self.page.locator("li[data-id='himalia-sidebar']").wait_for(
            timeout=4 * PATIENCE_SECONDS * 1000
        )
        icon = self.page.locator("li[data-id='himalia-sidebar']")
        while not self._shows_sidebar():
            icon.click()

    def _shows_sidebar(self) -> bool:
        """Tell whether the sidebar is open, as it was at the last visit, once all is restored."""
        try:
            self.sidebar.wait_for(timeout=10_000)
        except PageTimeout:
            return False
        return True

    def stop_work(self) -> None:
        """Stop the session, on the hub's page for that."""
        self.page.goto(f"{self.hub.url}/hub/home")
        self.page.get_by_role("button", name="Stop My Server").click()
        self.page.get_by_role("button", name="Start My Server").wait_for()

    def run_in_session(self, *command: str) -> str:
        """Run a program in the session's pod."""
        about = self.pod()["metadata"]
        return self.hub.cluster.kubectl(
            *("exec", f"pod/{about['name']}", "--namespace", about["namespace"]),
            *("--container=notebook", "--", *command),
        )

    def pod(self) -> dict[str, Any]:
        return self.hub.session(self.name)

    def token(self) -> str:
        """Return a token of the user's, as programs have one."""

        async def made() -> str:
            async with Visitor(self.hub.url, self.name) as visitor:
                await visitor.log_in(self.hub.password)
                answer = await visitor.ask("POST", f"/hub/api/users/{self.name}/tokens", json={})
                return str(answer.json()["token"])

        return str(wait_for(made()))


@pytest.fixture(scope="module")
def people(release: Release, browser: Browser) -> Iterator[tuple[Resident, Resident]]:
    """Alice and Bob, who have signed in; no error in their pages is passed over."""
    errors: list[str] = []
    made = []
    for name in ("alice", "bob"):
        context = browser.new_context(viewport={"width": 1360, "height": 860}, locale="en-GB")
        context.set_default_timeout(PATIENCE_SECONDS * 1000)
        user = Resident(release, context, name)
        user.page.on("pageerror", lambda error: errors.append(str(error)))
        user.log_in("/")
        made.append(user)
    for user in made:
        user.wait_for_work()
    yield made[0], made[1]
    for user in made:
        user.shoot(f"cluster-end-of-{user.name}")
        user.stop_work()
        user.page.context.close()
    assert not errors


def test_each_has_a_namespace_and_a_home_of_their_own(people: tuple[Resident, Resident]) -> None:
    spaces = {user.pod()["metadata"]["namespace"] for user in people}
    assert len(spaces) == 2
    for user in people:
        user.write("mine.ipynb", f"print('by {user.name}')")
        about = user.hub.cluster.get("persistentvolume", user.pod()["metadata"]["namespace"])
        assert about["spec"]["claimRef"]["namespace"] in spaces
        assert user.run_in_session("cat", "/home/jovyan/mine.ipynb").count(f"by {user.name}") == 1
        user.shoot(f"cluster-{user.name}")


def test_work_goes_on_without_its_session_and_its_result_is_opened_in_the_next(
    people: tuple[Resident, Resident],
) -> None:
    alice = people[0]
    alice.write("tick.ipynb", "print('ticked')")
    alice.run("tick.ipynb")
    expect(alice.page.locator(".hm-RunPage-state:visible")).to_contain_text("Succeeded")
    alice.page.get_by_role("tab", name="Jobs", exact=True).click()
    alice.page.get_by_role("button", name="Schedule tick…").click()
    alice.page.get_by_label("Cron line").fill("* * * * *")
    alice.page.get_by_role("button", name="Schedule", exact=True).click()
    alice.page.get_by_role("tab", name="Runs", exact=True).click()
    alice.write("long.ipynb", GATE)
    long = alice.run("long.ipynb")
    expect(alice.page.locator(".hm-RunPage-state:visible")).to_contain_text("Running")
    alice.shoot("cluster-running")
    token, space = alice.token(), alice.pod()["metadata"]["namespace"]

    alice.stop_work()
    with pytest.raises(ValueError, match="not enough values"):
        alice.pod()

    with httpx.Client(
        base_url=f"{alice.hub.url}/services/himalia/api/",
        headers={"Authorization": f"token {token}"},
        timeout=PATIENCE_SECONDS,
    ) as rest:
        ticked = _until_ticked(rest)
        assert rest.get(f"runs/{long}").json()["status"] == "running"
        alice.hub.cluster.kubectl(
            *("exec", "pod/himalia-agent", "--namespace", space),
            *("--", "touch", "/home/jovyan/while-away.txt"),
        )
        _until_ended(rest, long)
        [schedule] = rest.get("schedules").json()["items"]
        assert rest.delete(f"schedules/{schedule['id']}").status_code == 204
    with pytest.raises(ValueError, match="not enough values"):
        alice.pod()

    alice.page.get_by_role("button", name="Start My Server").click()
    alice.wait_for_work()
    item = alice.sidebar.locator(".hm-Item", has_text="long")
    expect(item).to_contain_text("Succeeded")
    item.get_by_role("button", name="long", exact=True).click()
    result = alice.page.frame_locator("iframe[title='Executed notebook']:visible")
    expect(result.locator("pre.stream")).to_have_text("said by alice, who was away\n")
    alice.shoot("cluster-result")
    assert alice.ask("GET", f"himalia/api/runs/{ticked}")["status"] == 200


def _until_ticked(rest: httpx.Client) -> str:
    """Wait for a run that a schedule made, and that succeeded; return its id."""
    end = time.monotonic() + 2 * PATIENCE_SECONDS
    while True:
        runs = rest.get("runs", params={"status": "succeeded"}).json()["items"]
        made = [run["id"] for run in runs if run["schedule_id"] is not None]
        if made:
            return str(made[0])
        assert time.monotonic() < end, json.dumps(runs)
        time.sleep(1)


def _until_ended(rest: httpx.Client, run_id: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while (run := rest.get(f"runs/{run_id}").json())["status"] != "succeeded":
        assert run["status"] == "running", run
        assert time.monotonic() < end, run
        time.sleep(0.5)


def test_076_neither_s_pod_token_or_page_reaches_the_other(
    people: tuple[Resident, Resident],
) -> None:
    alice, bob = people
    target = bob.pod()["status"]["podIP"]
    knock = (
        "import socket, sys\n"
        "try: socket.create_connection((sys.argv[1], 8888), timeout=5); print('open')\n"
        "except OSError: print('closed')\n"
    )
    assert bob.run_in_session("python", "-c", knock, "127.0.0.1").strip() == "open"
    assert alice.run_in_session("python", "-c", knock, target).strip() == "closed"

    mounts = alice.run_in_session("cat", "/proc/mounts")
    assert bob.pod()["metadata"]["namespace"].removeprefix(alice.hub.namespace) not in mounts

    head = {"Authorization": f"token {alice.token()}"}
    for path, status in (
        ("/user/alice/api/status", {200}),
        ("/user/bob/api/status", {403, 404}),
        ("/hub/api/users/bob", {403, 404}),
    ):
        answer = httpx.get(f"{alice.hub.url}{path}", headers=head, timeout=PATIENCE_SECONDS)
        assert answer.status_code in status, (path, answer.status_code)

    page = alice.page.context.new_page()
    answer = page.goto(alice.hub.home("bob") + "lab")
    assert answer is not None
    assert answer.status in {403, 404}
    page.close()

    ours, theirs = (user.pod()["metadata"]["namespace"] for user in people)
    account = f"system:serviceaccount:{ours}:himalia-session"
    for what in ("pods", "persistentvolumeclaims", "secrets"):
        with pytest.raises(AssertionError, match="forbidden"):
            alice.hub.cluster.kubectl("get", what, "--namespace", theirs, "--as", account)
