"""Control at a real hub: what it stops, what it keeps, and what is left of whom the hub forgot."""

from __future__ import annotations

import asyncio
import os
import pwd
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from himalia_hub.control.hub_api import HubApi, HubUser
from tests.servers.hub import Hub
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.session import Session
from tests.servers.stalls import allowed

pytestmark = pytest.mark.asyncio
API = "/services/himalia/api/"
CONFIG = """
c.Himalia.idle_seconds = 15
c.Himalia.idle_check_seconds = 1
c.Himalia.idle_exempt_groups = ["staff"]
c.JupyterHub.load_groups = {"staff": {"users": ["ivan", "kim"]}}
c.Spawner.args = [*c.Spawner.args, "--HimaliaExtension.report_seconds=1"]
"""


@pytest.fixture(scope="module")
def quick() -> Iterator[Hub]:
    """A hub that stops idle servers soon."""
    made = Hub(config=CONFIG)
    try:
        asyncio.run(made.start())
        yield made
    finally:
        made.clear()


async def until(
    what: str, check: Callable[[], Awaitable[Any]], seconds: float = PATIENCE_SECONDS
) -> Any:
    """Wait until something is so, and return it."""
    end = time.monotonic() + seconds
    while not (found := await check()):
        assert time.monotonic() < end, what
        await asyncio.sleep(0.3)
    return found


async def servers(hub: Hub, name: str) -> dict[str, Any]:
    found: dict[str, Any] = (await hub.api("GET", f"users/{name}")).json()["servers"]
    return found


async def test_open_connections_keep_a_server_and_then_it_is_stopped(quick: Hub) -> None:
    async with Session(quick, "judy") as judy:
        socket = await judy.socket(await judy.kernel())

        async def state() -> dict[str, Any]:
            answer = await judy.ask("GET", "himalia/api/sessions/-")
            found: dict[str, Any] = answer.json()
            return found

        async def is_kept() -> bool:
            return (await state()).get("verdict") == "kept"

        await until("the connection is known", is_kept)
        assert "1 connection is open" in (await state())["why"]
        await asyncio.sleep(17)
        assert "" in await servers(quick, "judy")
        socket.close()

        async def is_stopped() -> bool:
            return "" not in await servers(quick, "judy")

        # Nobody asks the server meanwhile: that would be activity.
        await until("it is stopped", is_stopped)
    async with await quick.visitor("admin") as admin:
        assert (await admin.enter("/services/himalia/")).status_code == 200

        async def written() -> Any:
            audit = (await admin.ask("GET", f"{API}admin/audit")).json()["items"]
            found = [one for one in audit if one["action"] == "server.stop"]
            return [one for one in found if one["name"] == "judy"]

        (entry,) = await until("the stop is in the audit log", written)
        assert entry["actor"] == "control"
        assert "Nothing has happened" in entry["details"]["why"]

        async def booked() -> bool:
            usage = await admin.ask("GET", f"{API}admin/usage.csv")
            lines = [line for line in usage.text.splitlines() if ",session," in line]
            return any("judy" in line and line.count(":") > 3 for line in lines)

        await until("the session is in the ledger", booked)


async def everybody(parts: AsyncIterator[tuple[HubUser, ...]]) -> dict[str, HubUser]:
    """Return users by name, without what may change from one question to the next."""
    found = [user async for part in parts for user in part]
    return {
        user.name: replace(
            user,
            last_activity=None,
            groups=tuple(sorted(user.groups)),
            servers={
                name: replace(server, last_activity=None) for name, server in user.servers.items()
            },
        )
        for user in found
    }


async def test_the_directory_says_what_the_hubs_own_list_says(
    quick: Hub,
) -> None:
    names = [f"reader-{number}" for number in range(3)]
    for name in ("kim", *names):
        assert (await quick.api("POST", f"users/{name}")).status_code in {201, 409}
    await quick.open_server("kim")
    secret = (quick.state / "secrets" / "control-token").read_text().strip()
    hub = HubApi(f"{quick.url}/hub/api", secret)
    try:
        told = await everybody(hub.users())
        assert hub.has_directory
        kim = told["kim"]
        assert kim.groups == ("staff",)
        assert kim.servers[""].ready
        assert kim.servers[""].started is not None
        # Others' servers come and go meanwhile, kim's does not.
        listed = await everybody(hub._listed())
        assert listed.keys() == told.keys()
        assert {"kim", *names} <= told.keys()
        for name in ("kim", *names):
            assert listed[name] == told[name]
    finally:
        await hub.close()
    answer = await quick.api("GET", f"himalia/directory?after={10**9}")
    assert answer.json() == {"items": [], "next": None}
    assert (await quick.api("GET", "himalia/directory?after=x")).status_code == 400


async def test_only_who_may_know_everybody_is_told_the_directory(quick: Hub) -> None:
    assert (await quick.api("GET", "himalia/directory", token="nobodys")).status_code == 403
    assert (await quick.api("POST", "users/lena")).status_code == 201
    for name, scopes in (("lena", None), ("admin", ["list:users", "read:users"])):
        made = await quick.api(
            "POST", f"users/{name}/tokens", json={"scopes": scopes} if scopes else {}
        )
        token = made.json()["token"]
        answer = await quick.api("GET", "himalia/directory", token=token)
        assert answer.status_code == 403, answer.text
        assert "items" not in answer.json()


async def test_whoever_is_deleted_leaves_nothing_to_a_new_user_of_the_same_name(
    quick: Hub,
) -> None:
    async with Session(quick, "ivan") as ivan:
        run = await ivan.job("print('of the first ivan')")
        assert (await ivan.ended(run["id"]))["status"] == "succeeded"
        long = await ivan.job("import time; time.sleep(600)", name="long.ipynb")
        await ivan.write("secret.ipynb", "1")
    homes = quick.state / "homes"
    (old_home,) = homes.glob("ivan-*")
    old_accounts = [one for one in pwd.getpwall() if one.pw_dir == str(old_home)]
    assert bool(old_accounts) is (os.geteuid() == 0)
    async with await quick.visitor("admin") as admin:
        assert (await admin.enter("/services/himalia/")).status_code == 200
        answer = await admin.ask("DELETE", "/hub/api/users/ivan")
        assert answer.status_code == 204, answer.text

        async def is_settled() -> bool:
            answer = await admin.ask("GET", f"{API}admin/audit")
            assert answer.status_code == 200, answer.text
            page = answer.json()["items"]
            return any((one["action"], one["name"]) == ("person.settle", "ivan") for one in page)

        await until("what was ivan's is gone", is_settled, 90)
        assert not old_home.exists()
        accounts = [one.pw_uid for one in old_accounts]
        assert not [one for one in pwd.getpwall() if one.pw_uid in accounts]
        everything = (await admin.ask("GET", f"{API}admin/workloads")).json()["items"]
        assert not [row for row in everything if row["name"] == "ivan"]
        async with Session(quick, "ivan") as ivan:
            (new_home,) = homes.glob("ivan-*")
            assert new_home != old_home
            for path in ("jobs", "runs", "schedules"):
                assert (await ivan.ask("GET", f"himalia/api/{path}")).json()["items"] == []
            for one in (run["id"], long["id"]):
                assert (await ivan.ask("GET", f"himalia/api/runs/{one}")).status_code == 404
            usage = (await ivan.ask("GET", "himalia/api/usage")).json()["items"]
            assert not [entry for entry in usage if entry["kind"] != "session"]
            assert all(entry["owner"] == new_home.name for entry in usage)
            assert (await ivan.ask("GET", "api/contents/secret.ipynb")).status_code == 404


async def test_008_a_token_that_is_taken_away_opens_nothing_within_ten_seconds(quick: Hub) -> None:
    async with await quick.visitor("trent") as visitor:
        made = (await visitor.ask("POST", "/hub/api/users/trent/tokens")).json()
        bearer = {"Authorization": f"token {made['token']}"}
        async with httpx.AsyncClient(base_url=quick.url, trust_env=False, headers=bearer) as client:
            assert (await client.get(f"{API}jobs")).status_code == 200
            await visitor.ask("DELETE", f"/hub/api/users/trent/tokens/{made['id']}")
            began = time.monotonic()
            while (await client.get(f"{API}jobs")).status_code != 401:
                assert time.monotonic() - began < allowed(10, began)
                await asyncio.sleep(0.1)


async def test_health_is_open_and_the_rest_is_not(quick: Hub) -> None:
    async with httpx.AsyncClient(base_url=quick.url, trust_env=False) as client:
        answer = await client.get("/services/himalia/health/ready")
        assert answer.json()["parts"] == {"store": "ok", "backend": "ok"}
        for path in ("metrics", "api/jobs", "api/openapi.json", "api/admin/overview", "x"):
            assert (await client.get(f"/services/himalia/{path}")).status_code == 401
