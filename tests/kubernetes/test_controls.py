"""Three controls on one cluster and one PostgreSQL, and what befalls all of them."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from tests.servers.cluster import Cluster
from tests.servers.control_crew import Crew, Member
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.pod_count import PodCount
from tests.servers.postgres import Postgres
from tests.servers.tcp import TcpProxy

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.kubernetes,
    pytest.mark.timeout(600),
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
