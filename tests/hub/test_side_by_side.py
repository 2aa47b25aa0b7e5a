"""Two users at work at one hub."""

from __future__ import annotations

import asyncio
import os

import pytest

from tests.servers.hub import Hub
from tests.servers.session import Session

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(400)]


async def test_two_users_run_jobs_side_by_side_each_as_themselves(hub: Hub) -> None:
    async with Session(hub, "alice") as alice, Session(hub, "bob") as bob:
        code = "import os, pathlib\nprint(os.getuid(), pathlib.Path.home())"
        runs = await asyncio.gather(alice.job(code), bob.job(code))
        ends = await asyncio.gather(alice.ended(runs[0]["id"]), bob.ended(runs[1]["id"]))
        assert [end["status"] for end in ends] == ["succeeded", "succeeded"], ends
        said = [await alice.said(runs[0]["id"]), await bob.said(runs[1]["id"])]
        assert "/homes/alice-" in said[0]
        assert "/homes/bob-" in said[1]
        if os.geteuid() == 0:
            accounts = [hub.account(name) for name in ("alice", "bob")]
            assert [text.split()[0] for text in said] == [str(one.pw_uid) for one in accounts]
        # Neither sees the other's, by list or by name.
        assert (await bob.ask("GET", f"himalia/api/runs/{runs[0]['id']}")).status_code == 404
        listed = (await bob.ask("GET", "himalia/api/runs")).json()["items"]
        assert {run["id"] for run in listed} == {runs[1]["id"]}


async def test_one_user_does_not_get_into_anothers_server(hub: Hub) -> None:
    async with Session(hub, "alice"), Session(hub, "bob") as bob:
        page = await bob.visitor.enter("/user/alice/lab")
        assert page.status_code == 403
        api = await bob.visitor.ask("GET", "/user/alice/api/contents")
        assert api.status_code == 403


async def test_a_new_home_begins_with_the_tour(hub: Hub) -> None:
    async with Session(hub, "grace") as grace:
        names = {one["name"] for one in (await grace.ask("GET", "api/contents")).json()["content"]}
        assert {"tour.ipynb", "report.ipynb"} <= names
        await grace.ask("DELETE", "api/contents/tour.ipynb")
        await hub.api("DELETE", "users/grace/server")
    async with Session(hub, "grace") as grace:
        assert (await grace.ask("GET", "api/contents/tour.ipynb")).status_code == 404


async def test_jobs_go_on_when_their_users_server_is_stopped(hub: Hub) -> None:
    async with Session(hub, "heidi") as heidi:
        run = await heidi.job("import time; time.sleep(6); print('went on')")
        answer = await hub.api("DELETE", "users/heidi/server")
        assert answer.status_code in {202, 204}
    async with Session(hub, "heidi") as heidi:
        assert (await heidi.ended(run["id"]))["status"] == "succeeded"
        assert "went on" in await heidi.said(run["id"])
