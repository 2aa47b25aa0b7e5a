"""Agents come and go, and what they started goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from himalia.agents.account import Account
from himalia.agents.backend import AgentBackend
from himalia.agents.fleet import Agents
from himalia.agents.premises import AgentPremises
from himalia.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from himalia.core.model import Status
from himalia.core.names import new_id
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.people import People, Resident, quick, served

pytestmark = pytest.mark.asyncio

WAITS = "import os, time\nwhile not os.path.exists(os.path.expanduser('~/go')): time.sleep(0.05)"


@pytest_asyncio.fixture
async def agents(people: People) -> AsyncIterator[Agents]:
    fleet = Agents(people.of_owner, quick())
    yield fleet
    await fleet.close()


def open_files(pid: int) -> list[tuple[int, str]]:
    folder = Path(f"/proc/{pid}/fd")
    return [(int(path.name), os.readlink(path)) for path in folder.iterdir()]  # noqa: PTH115


def about(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - of another process nothing else tells
            await asyncio.sleep(0.05)


async def test_runs_outlive_their_agent_and_control(people: People, tmp_path: Path) -> None:
    async with served(people, tmp_path) as (service, agents):
        alice = Resident(people, service, "alice")
        (alice.account.home / "go").unlink(missing_ok=True)
        run = await alice.until((await alice.job(WAITS)).last_run, Status.RUNNING)
        first = agents.pid(alice.owner)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: agents.pid(alice.owner) not in {first, None})
        (mine,) = await AgentBackend(agents).running(alice.owner)
        assert (mine.run_id, mine.attempt) == (run.id, 1)
    async with served(people, tmp_path) as (service, _):
        again = Resident(people, service, "alice")
        (again.account.home / "go").touch()
        ended = await again.ended(run)
        assert (ended.status, ended.attempt) == (Status.SUCCEEDED, 1)


async def test_an_agent_that_nobody_asks_ends_and_comes_back(people: People) -> None:
    agents = Agents(people.of_owner, quick(idle_seconds=0.4))
    owner, backend = people.owner("alice"), AgentBackend(agents)
    await backend.environments(owner)
    process = psutil.Process(agents.pid(owner) or -1)
    await until(lambda: not process.is_running())
    assert agents.owners() == ()
    assert await backend.pool(owner) is None, "to tell that, none is started"
    assert agents.owners() == ()
    assert (await backend.environments(owner))[0].is_default
    assert agents.owners() == (owner,)
    await agents.close()


async def test_no_more_agents_are_up_than_may_be(people: People) -> None:
    agents = Agents(people.of_owner, quick(max_agents=2))
    backend = AgentBackend(agents)
    owners = [f"alice-{number}" for number in range(3)]
    for owner in owners:
        await backend.environments(owner)
    assert set(agents.owners()) == set(owners[1:])
    await agents.close()


async def test_agents_end_with_control(people: People, agents: Agents) -> None:
    owner = people.owner("alice")
    await AgentBackend(agents).environments(owner)
    process = psutil.Process(agents.pid(owner) or -1)
    await agents.close()
    assert not process.is_running()
    with pytest.raises(Unavailable, match="ending"):
        await AgentBackend(agents).environments(owner)


async def test_many_requests_are_answered_at_once(people: People, agents: Agents) -> None:
    owner, backend = people.owner("alice"), AgentBackend(agents)
    found = await asyncio.gather(*(backend.environments(owner) for _ in range(100)))
    assert len(set(found)) == 1
    assert agents.owners() == (owner,)


async def test_requests_that_nobody_waits_for_any_more_do_no_harm(
    people: People, agents: Agents
) -> None:
    owner, backend = people.owner("alice"), AgentBackend(agents)
    await backend.environments(owner)
    first = agents.pid(owner)
    for _ in range(50):
        asking = asyncio.create_task(backend.environments(owner))
        await asyncio.sleep(0)
        asking.cancel()
    await asyncio.sleep(0.5)
    await backend.environments(owner)
    assert agents.pid(owner) == first


async def test_errors_come_through_with_their_fields(people: People, tmp_path: Path) -> None:
    async with served(people, tmp_path) as (service, agents):
        alice = Resident(people, service, "alice")
        with pytest.raises(InvalidInput) as caught:
            await alice.job("1", environment="no-such")
        assert [problem.field for problem in caught.value.problems] == ["spec.environment"]
        with pytest.raises(Conflict, match="not kept any more"):
            await AgentPremises(agents).hold(alice.owner, f"sha256:{'0' * 64}")


async def test_without_an_account_there_is_no_agent(tmp_path: Path) -> None:
    async def nobody(_owner: str) -> Any:
        raise NotFound("There is no such person.")

    agents = Agents(nobody, quick())
    with pytest.raises(NotFound):
        await AgentBackend(agents).environments("ann")
    assert await AgentPremises(agents).free_bytes("ann") > 0
    await agents.close()


async def test_a_place_that_cannot_be_had_now_is_asked_for_with_pauses_and_is_no_trouble(
    people: People,
) -> None:
    asked: list[str] = []
    is_open = False

    async def account(owner: str) -> Account:
        asked.append(owner)
        if not is_open:
            raise Unavailable("There is no room.")
        return await people.of_owner(owner)

    agents = Agents(account, quick())
    owner, backend = people.owner("alice"), AgentBackend(agents)
    begun = time.monotonic()
    while time.monotonic() < begun + 3:
        with pytest.raises(Unavailable, match=r"There is no room\."):
            await backend.environments(owner)
        await asyncio.sleep(0.01)
    assert 2 <= len(asked) <= 6
    assert agents.broken(owner) is None
    is_open = True
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not agents.owners():
            with suppress(Unavailable):
                await backend.environments(owner)
            await asyncio.sleep(0.05)
    await agents.close()


async def test_a_python_that_cannot_be_started_says_so(people: People, tmp_path: Path) -> None:
    agents = Agents(people.of_owner, quick(python=tmp_path / "python"))
    with pytest.raises(Unavailable, match="cannot be started"):
        await AgentBackend(agents).environments(people.owner("alice"))
    await agents.close()


async def test_warm_processes_are_kept_for_an_owner(people: People, tmp_path: Path) -> None:
    async with served(people, tmp_path, quick(pool_size=1)) as (service, _):
        alice = Resident(people, service, "alice")
        job = await alice.job("1")
        await alice.ended(job.last_run)
        pool = (await service.status(alice.caller)).pool
        assert pool is not None
        assert pool.limit == 1
        ended = await alice.ended(await alice.start(job))
        assert ended.status is Status.SUCCEEDED


async def test_an_agent_has_nothing_of_controls(
    people: People, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "canary-in-env")
    owner, account = people.owner("alice"), people.account("alice")
    with tempfile.NamedTemporaryFile(prefix="canary-file-") as secret:
        os.set_inheritable(secret.fileno(), True)
        await AgentBackend(agents).environments(owner)
        process = psutil.Process(agents.pid(owner) or -1)
        links = [link for _, link in open_files(process.pid)]
    assert links
    assert not [link for link in links if "canary-file" in link]
    environment = process.environ()
    assert "canary-in-env" not in str(environment)
    assert not [name for name in environment if name.startswith(("JUPYTERHUB", "HIMALIA"))]
    assert environment["HOME"] == str(account.home) == process.cwd()
    status = about(process.pid)
    assert "\nNoNewPrivs:\t1\n" in status
    assert "\nUmask:\t0077\n" in status
    if account.uid is not None:
        assert set(process.uids()) == {account.uid}
        assert set(process.gids()) == {account.gid}
        assert f"\nGroups:\t{account.gid} \n" in status


async def test_what_an_account_had_goes_to_no_later_owner(people: People, agents: Agents) -> None:
    premises = AgentPremises(agents)
    first, second = "alice-first", "alice-second"
    assert await premises.outputs(first, new_id("run"), 1) != await premises.outputs(
        second, new_id("run"), 1
    )
    account = await agents.account(first)
    assert account.state(first) != account.state(second)
    assert account.state(first).parent == account.state(second).parent
