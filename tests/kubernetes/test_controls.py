"""Three controls on one cluster and one PostgreSQL, and what befalls all of them."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import pytest_asyncio

from tests.servers.cluster import Cluster
from tests.servers.control_crew import Crew, Member
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.pod_count import PodCount
from tests.servers.postgres import Postgres
from tests.servers.stalls import allowed
from tests.servers.tcp import TcpProxy

OUTAGE_SECONDS = float(os.environ.get("HIMALIA_TEST_OUTAGE_SECONDS", "65"))
"""Long enough for every time-out and every longest pause; by hand, try ten minutes."""
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.kubernetes,
    pytest.mark.timeout(600 + OUTAGE_SECONDS),
]
KILLS = 8
TALLY = """
import os, pathlib, time
attempt = os.environ["HIMALIA_ATTEMPT"]
tally = pathlib.Path.home() / "tally"
tally.mkdir(exist_ok=True)
(tally / f"{attempt}.{os.urandom(4).hex()}").touch()
"""
NOTEBOOKS = {
    "quick": "1",
    "slow": "time.sleep(5)",
    "flaky": "assert not attempt.endswith('-1')",
}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def wire(cluster: Cluster) -> AsyncIterator[TcpProxy]:
    """The only way that hub, controls and what makes namespaces have to the API server."""
    server = urlsplit(cluster.server)
    async with TcpProxy(server.hostname or "", server.port or 443) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def crew(cluster: Cluster, postgres: Postgres, wire: TcpProxy) -> AsyncIterator[Crew]:
    database = postgres.create()
    address = f"https://127.0.0.1:{wire.port}"
    async with Crew(cluster, store=postgres.url(database), address=address, size=3) as made:
        await made.until_all_ready()
        yield made
    postgres.drop(database)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def alice(crew: Crew) -> AsyncIterator[Member]:
    member = await Member.make(crew, "alice")
    yield member
    await member.close()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def bob(crew: Crew) -> AsyncIterator[Member]:
    member = await Member.make(crew, "bob")
    yield member
    await member.close()


@pytest.fixture
def count(cluster: Cluster, crew: Crew, tmp_path: Path) -> Any:
    counting = PodCount(cluster, tmp_path / "pods", crew.prefix)
    yield counting
    counting.close()


def tallied(member: Member) -> list[str]:
    """Return which attempts executed the user's code, as often as they did."""
    return sorted(path.name.partition(".")[0] for path in (member.home / "tally").iterdir())


async def submit(member: Member, done: asyncio.Event) -> dict[str, str]:
    """Submit jobs until it is enough; return what each run is made to do."""
    paths = {name: member.write(f"{name}.ipynb", TALLY, cell) for name, cell in NOTEBOOKS.items()}
    runs: dict[str, str] = {}
    while not done.is_set() or len(runs) < len(NOTEBOOKS):
        name = list(NOTEBOOKS)[len(runs) % len(NOTEBOOKS)]
        spec = {"retries": {"count": 1, "delay_seconds": 0}} if name == "flaky" else {}
        job = await member.submit(paths[name], key=f"{member.name}-{len(runs)}", **spec)
        runs[job["last_run"]["id"]] = name
        await asyncio.sleep(random.uniform(0.5, 3.0))
    return runs


async def test_090_whichever_control_is_killed_each_attempt_is_one_pod_and_each_run_ends_once(
    crew: Crew, alice: Member, bob: Member, count: PodCount
) -> None:
    seed = int.from_bytes(os.urandom(4))
    random.seed(seed)
    print(f"seed {seed}")
    done = asyncio.Event()
    work = [asyncio.create_task(submit(member, done)) for member in (alice, bob)]
    for _ in range(KILLS):
        await asyncio.sleep(random.uniform(0.3, 3.0))
        number = random.randrange(crew.size)
        await asyncio.to_thread(crew.replace, number, is_new=random.random() < 0.5)
    done.set()
    attempts = []
    for member, submitted in zip((alice, bob), await asyncio.gather(*work), strict=True):
        ended = [await member.ended(run_id) for run_id in submitted]
        assert {run["status"] for run in ended} == {"succeeded"}, ended
        # Control's death is no reason to give up an attempt, nor to make another.
        assert {run["lost_attempts"] for run in ended} == {0}, ended
        for run in ended:
            assert run["attempt"] == (2 if submitted[run["id"]] == "flaky" else 1), run
        listed = await member.ask("GET", "runs", params={"limit": 100})
        assert {run["id"] for run in listed["items"]} == set(submitted)
        mine = [f"{run['id']}-{n + 1}" for run in ended for n in range(run["attempt"])]
        assert tallied(member) == sorted(mine)
        attempts += mine
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await asyncio.to_thread(member.pods):  # noqa: ASYNC110
                await asyncio.sleep(0.5)
    counted = await asyncio.to_thread(count.of, attempts)
    assert counted == dict.fromkeys(attempts, 1)
    assert crew.ended == []
    assert "unexpected trouble" not in crew.log()


ONCE = """
import os, pathlib, time
tries = pathlib.Path.home() / "{name}"
tries.open("a").write("x")
if tries.stat().st_size == 1: time.sleep(3600)
"""
"""Is executed for long at the first try, and is done at once at the second."""
WAITS = """
import pathlib, time
while not (pathlib.Path.home() / "{name}").exists(): time.sleep(0.1)
"""


async def job(member: Member, name: str, *cells: str, **spec: Any) -> Any:
    """Make a job of these cells that runs, and return it."""
    return await member.submit(member.write(f"{name}.ipynb", *cells), key=name, **spec)


async def until_told(member: Member, run_id: str, *codes: str) -> Any:
    """Wait until a run that has not ended has a reason, one of these."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while ((run := await member.run(run_id))["reason"] or {}).get("code") not in codes:  # noqa: ASYNC110
            await asyncio.sleep(0.2)
    assert run["status"] in {"queued", "starting", "running"}, run
    assert run["reason"]["next_step"], run
    return run


async def every_minute(member: Member, made: Any) -> Any:
    """Have a job run at each minute."""
    body = {"workload_id": made["id"], "cron": "* * * * *", "time_zone": "UTC"}
    return await member.ask("POST", "schedules", json=body)


async def until_ticked(member: Member, schedule: Any, **about: str) -> Any:
    """Return runs that a schedule made, the youngest first, once there are any of these."""
    asked = {"schedule_id": schedule["id"], **about}
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (runs := await member.ask("GET", "runs", params=asked))["items"]:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
    return runs


async def ticked(member: Member, schedule: Any) -> None:
    """See the first run that the schedule made succeed, and end the schedule."""
    runs = await until_ticked(member, schedule)
    await member.ask("DELETE", f"schedules/{schedule['id']}")
    assert (await member.ended(runs["items"][-1]["id"]))["status"] == "succeeded"


async def test_a_namespace_that_is_deleted_is_told_of_and_comes_back_with_all_that_is_to_run(
    crew: Crew, alice: Member
) -> None:
    live = (await job(alice, "live", ONCE.format(name="live")))["last_run"]["id"]
    large = (await job(alice, "large", "1", resources={"cpu": 900}))["last_run"]["id"]
    regular = await job(alice, "regular", "1")
    schedule = await every_minute(alice, regular)
    await alice.ended(regular["last_run"]["id"])
    await alice.until(live, "running")
    await until_told(alice, large, "unschedulable")
    before = crew.cluster.get("namespace", alice.space)["metadata"]["uid"]

    # Something in it does not go, as may be.
    inside = ("--namespace", alice.space)
    held = {"name": "held", "finalizers": ["tests.himalia.io/held"]}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": held}
    crew.cluster.kubectl("create", "--filename=-", *inside, given=config)
    begun = time.monotonic()
    try:
        crew.cluster.kubectl("delete", "namespace", alice.space, "--wait=false")
        told = await until_told(alice, live, "out_of_sight")
        assert told["status"] == "running", told
        assert "being deleted" in told["reason"]["message"], told
        # It could be looked at in time, and started anew, or could not.
        told = await until_told(alice, large, "unavailable", "out_of_sight")
        assert "being deleted" in told["reason"]["message"], told
        refused = await alice.once("POST", f"jobs/{regular['id']}/runs", json={})
        assert refused.status_code == 503, refused.text
        assert "being deleted" in refused.json()["error"]["message"]
        assert time.monotonic() - begun < allowed(60, begun), told
    finally:
        bare = '{"metadata": {"finalizers": null}}'
        crew.cluster.kubectl("patch", "configmap/held", *inside, "--type=merge", "--patch", bare)
    # What is to run is what brings it back.
    ended = await alice.ended(live)
    assert (ended["status"], ended["attempt"], ended["lost_attempts"]) == ("succeeded", 2, 1)
    assert (alice.home / "live").read_text() == "xx"
    assert crew.cluster.get("namespace", alice.space)["metadata"]["uid"] != before
    await ticked(alice, schedule)
    waiting = await until_told(alice, large, "unschedulable")
    assert waiting["lost_attempts"] == 0, waiting
    await alice.ask("POST", f"runs/{large}/stop")
    assert (await alice.ended(large))["status"] == "stopped"
    later = await job(alice, "later", "1")
    assert (await alice.ended(later["last_run"]["id"]))["status"] == "succeeded"
    assert crew.ended == []


async def test_an_api_server_that_is_gone_for_long_costs_no_run_and_no_process(
    crew: Crew, wire: TcpProxy, alice: Member
) -> None:
    quiet = (await job(alice, "quiet", WAITS.format(name="go")))["last_run"]["id"]
    dead = (await job(alice, "dead", ONCE.format(name="dead")))["last_run"]["id"]
    known = await job(alice, "known", "1")
    schedule = await every_minute(alice, known)
    await alice.ended(known["last_run"]["id"])
    for run_id in (quiet, dead):
        await alice.until(run_id, "running")

    await wire.vanish()
    begun = time.monotonic()
    await asyncio.to_thread(crew.cluster.kubectl, *FORCED, f"{dead}-1", "-n", alice.space)
    (alice.home / "go").touch()
    for one in crew.controls:
        said = await ready(one.url, "degraded")
        assert "API server" in said["parts"]["backend"], said
        assert said["parts"]["store"] == "ok"
    assert time.monotonic() - begun < allowed(30, begun)
    # Whoever asks is answered, with what is known or with why it cannot be done.
    for run_id in (quiet, dead):
        told = await until_told(alice, run_id, "out_of_sight")
        assert told["status"] == "running", told
    assert time.monotonic() - begun < allowed(60, begun)
    refused = await alice.once("POST", f"jobs/{known['id']}/runs", json={})
    assert refused.status_code == 503, refused.text
    assert "API server" in refused.json()["error"]["message"]
    # Schedules go on; what cannot start yet waits, and says why.
    waiting = await until_ticked(alice, schedule, status="queued")
    told = await until_told(alice, waiting["items"][0]["id"], "unavailable")
    assert "API server" in told["reason"]["message"], told
    await asyncio.sleep(max(OUTAGE_SECONDS - (time.monotonic() - begun), 0))
    assert crew.ended == []

    await wire.heal()
    back = time.monotonic()
    for one in crew.controls:
        await ready(one.url, "ready")
    ended = await alice.ended(quiet)
    assert time.monotonic() - back < allowed(10, back), ended
    assert (ended["status"], ended["attempt"], ended["lost_attempts"]) == ("succeeded", 1, 0)
    ended = await alice.ended(dead)
    assert (ended["status"], ended["attempt"], ended["lost_attempts"]) == ("succeeded", 2, 1)
    await ticked(alice, schedule)
    assert crew.ended == []
    assert "unexpected trouble" not in crew.log()


FORCED = ("delete", "pod", "--grace-period=0", "--force")


async def ready(url: str, status: str) -> Any:
    """Wait until a control says that it is in some state; it always says something."""
    async with asyncio.timeout(PATIENCE_SECONDS), httpx.AsyncClient(trust_env=False) as client:
        while True:
            said = (await client.get(f"{url}health/ready")).json()
            if said["status"] == status:
                return said
            await asyncio.sleep(0.2)
