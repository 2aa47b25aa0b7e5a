"""An agent is its owner's, and may say anything: that is the owner's trouble alone."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from himalia.agents.account import Account
from himalia.agents.backend import AgentBackend
from himalia.agents.fleet import Agents
from himalia.agents.premises import AgentPremises
from himalia.agents.settings import AgentSettings
from himalia.backends.base import AttemptRef, Phase, Refused
from himalia.core.errors import HimaliaError, InvalidInput, Unavailable
from himalia.core.model import Status
from himalia.core.names import new_id
from himalia.core.spec import Resources
from himalia.kinds.base import RunPlan
from himalia.kinds.job import JobSpec
from tests.servers.environment import server_python
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.people import People, Resident, quick, served
from tests.servers.stalls import allowed

pytestmark = pytest.mark.asyncio

AT_START = ("mute at once", "another protocol", "bytes", "huge", "cut short", "dies at once")
LATER = (
    *("another's id", "no id", "a list", "neither", "a strange error", "deep", "a long number"),
    *("no number", "surrogate", "no utf-8", "more than asked", "mute"),
    *("dies", "answers and dies", "twice"),
)
SILENT = ("mute at once", "cut short", "mute")
PLAN = RunPlan(
    runner="none",
    task={},
    environment="",
    env={},
    resources=Resources(),
    snapshot_digest=None,
    timeout_seconds=None,
)


def hostile(people: People, **changes: object) -> AgentSettings:
    """Return settings with which Mallory's agent says what she likes, and gets little time."""
    program = people.folder / "hostile.py"
    shutil.copy(Path(__file__).with_name("hostile.py"), program)
    program.chmod(0o755)
    env = {"REAL_PYTHON": str(server_python())}
    usual = {"start_seconds": 60.0, "answer_seconds": 60.0, "max_troubles": 1}
    return quick(python=program, env=env, **(usual | changes))


@pytest_asyncio.fixture
async def agents(people: People) -> AsyncIterator[Agents]:
    fleet = Agents(people.of_owner, hostile(people))
    yield fleet
    await fleet.close()


@asynccontextmanager
async def evil(people: People, how: str) -> AsyncIterator[str]:
    """Have Mallory's agents be like this; give her owner's id."""
    file = people.account("mallory").home / "evil"
    file.write_text(how)
    try:
        yield people.owner("mallory")
    finally:
        file.unlink()


def ref(owner: str) -> AttemptRef:
    return AttemptRef(owner=owner, run_id=new_id("run"), attempt=1)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 - of another process nothing else tells
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("how", [*AT_START, *LATER])
async def test_whatever_an_agent_says_its_owners_runs_fail_with_a_reason(
    people: People, how: str
) -> None:
    seconds = 1.0 if how in SILENT else 60.0
    settings = hostile(people, start_seconds=seconds, answer_seconds=seconds)
    agents = Agents(people.of_owner, settings)
    backend = AgentBackend(agents)
    memory = psutil.Process().memory_info().rss
    async with evil(people, how) as owner, asyncio.timeout(PATIENCE_SECONDS):
        reason = None
        while reason is None:
            try:
                await backend.start(ref(owner), PLAN)
            except Unavailable:
                await asyncio.sleep(0.3)
            except Refused as error:
                reason = error.reason
        assert reason.code == "agent_failed"
        assert reason.message.isprintable()
        assert "admin" in reason.next_step
    await agents.close()
    assert psutil.Process().memory_info().rss < memory + 200 * 2**20


@pytest.mark.parametrize(
    ("how", "why"),
    [("answers and dies", "it ended"), ("twice", "it said an answer to what nobody asked")],
)
async def test_an_agent_that_goes_bad_between_two_requests_is_trouble_each_time(
    people: People, caplog: pytest.LogCaptureFixture, how: str, why: str
) -> None:
    agents = Agents(people.of_owner, hostile(people))
    backend, starts = AgentBackend(agents), 0

    async def start_again_and_again() -> None:
        nonlocal starts
        while True:
            await backend.start(ref(owner), PLAN)
            starts += 1
            await until(lambda: not agents.owners())

    async with evil(people, how) as owner, asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(Refused, match=why):
            await start_again_and_again()
    assert agents.trouble(owner) == why
    noted = [record for record in caplog.records if "trouble number" in record.getMessage()]
    assert len(noted) == starts >= 2
    await agents.close()


async def test_an_agent_that_control_has_ended_is_no_trouble(people: People) -> None:
    agents = Agents(people.of_owner, hostile(people, max_troubles=0))
    owner = people.owner("mallory")
    for _ in range(2):
        await AgentBackend(agents).environments(owner)
        process = psutil.Process(agents.pid(owner) or -1)
        await agents.end(owner)
        assert not process.is_running()
    await AgentBackend(agents).environments(owner)
    assert agents.trouble(owner) is None
    await agents.close()


async def test_a_start_that_an_agent_refuses_fails_at_once(people: People, agents: Agents) -> None:
    async with evil(people, "an error") as owner:
        with pytest.raises(Refused, match="boo"):
            await AgentBackend(agents).start(ref(owner), PLAN)


async def test_lies_are_cut_to_what_was_asked(people: People, agents: Agents) -> None:
    backend, premises = AgentBackend(agents), AgentPremises(agents)
    async with evil(people, "liar") as owner:
        one = ref(owner)
        log = await backend.log(one, offset=5, limit=100)
        assert (len(log.data), log.next_offset - log.offset) == (100, 100)
        events, position = await backend.events(one, after=7)
        assert (len(events), position) == (10, 17)
        assert len(events[0].name) <= 1000
        seen = await backend.observe([one])
        assert set(seen) == {one}
        assert seen[one].phase is Phase.ENDED
        assert seen[one].reason is not None
        assert len(seen[one].reason.message) <= 20_000
        assert "\0" not in seen[one].reason.message
        (first,) = await premises.runs(owner, after="", limit=10)
        assert await premises.runs(owner, after=first, limit=10) == []
        with pytest.raises(InvalidInput, match="has been changed"):
            await premises.spec(owner, "sha256:0", JobSpec(notebook="n.ipynb"))
        assert await premises.free_bytes(owner) > 0, "where an agent makes no sense, control looks"


@pytest.mark.parametrize("what", ["outputs", "attempts", "environments", "read_output"])
async def test_answers_that_cannot_be_are_not_taken(
    people: People, agents: Agents, what: str
) -> None:
    backend, premises = AgentBackend(agents), AgentPremises(agents)
    async with evil(people, "liar") as owner:
        one = ref(owner)
        asking: dict[str, Any] = {
            "outputs": lambda: backend.outputs(one),
            "attempts": lambda: premises.attempts(owner, one.run_id),
            "environments": lambda: backend.environments(owner),
            "read_output": lambda: anext(backend.read_output(one, "n.ipynb")),
        }
        with pytest.raises(Unavailable, match="wrong answer"):
            await asking[what]()


async def test_a_restless_agent_is_heard_at_a_bounded_rate(people: People, agents: Agents) -> None:
    async with evil(people, "restless") as owner:
        await AgentBackend(agents).outputs(ref(owner))
        heard, end = 0, time.monotonic() + 4
        while time.monotonic() < end:
            await agents.changes()
            heard += 1
        assert heard < 40


async def test_a_mute_agent_keeps_nobody_else_waiting(people: People, tmp_path: Path) -> None:
    async with served(people, tmp_path, hostile(people)) as (service, agents):
        mallory, alice = (Resident(people, service, name) for name in ("mallory", "alice"))
        hers = await mallory.job("import time; time.sleep(600)")
        mine = await alice.job("1", run=False)
        before = await alice.ended(await alice.start(mine))
        await mallory.until(hers.last_run, Status.RUNNING)
        async with evil(people, "mute"):
            await agents.end(mallory.owner)
            assert hers.last_run is not None
            await service.runs.stop(mallory.caller, hers.last_run.id)
            begun = time.monotonic()
            after = await alice.ended(await alice.start(mine))
            spent = time.monotonic() - begun
            assert spent < allowed(12, begun), "less than the time that Mallory's agent has"
            assert (before.status, after.status) == (Status.SUCCEEDED, Status.SUCCEEDED)
        # Her runs come to their end, too, when the agent is itself again.
        await agents.end(mallory.owner)
        assert (await mallory.ended(hers.last_run)).status in {Status.STOPPED, Status.FAILED}


async def test_a_run_that_nobody_can_look_after_any_more_fails_and_says_why(
    people: People, tmp_path: Path
) -> None:
    async with served(people, tmp_path, hostile(people)) as (service, agents):
        mallory = Resident(people, service, "mallory")
        job = await mallory.job("1", run=False)
        async with evil(people, "bytes"):
            await agents.end(mallory.owner)
            with pytest.raises(HimaliaError):
                await mallory.start(job)
        await asyncio.sleep(1.0)
        run = await mallory.start(job)
        async with evil(people, "no id"):
            await agents.end(mallory.owner)
            ended = await mallory.ended(run)
        assert ended.status is Status.FAILED
        assert ended.reason is not None
        assert ended.reason.code == "agent_failed"


async def test_no_agent_runs_as_root(people: People, tmp_path: Path) -> None:
    async def account(_owner: str) -> Account:
        return Account(name="root", home=tmp_path, uid=0, gid=0)

    agents = Agents(account, hostile(people))
    if os.geteuid() == 0:
        with pytest.raises(Unavailable, match="no agent runs as root"):
            await AgentBackend(agents).outputs(ref("ann"))
    assert agents.owners() == ()
    await agents.close()
