"""Agents over standard input and output, that prepare runs which others start, elsewhere."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from himalia.agents import messages as m
from himalia.agents.account import Account
from himalia.agents.backend import AgentBackend
from himalia.agents.fleet import Agents
from himalia.agents.link import ChildLink, Cut
from himalia.agents.process import AgentProcess, environment
from himalia.agents.settings import AgentSettings
from himalia.backends.base import AttemptRef, Observation, Phase
from himalia.core.errors import Unavailable
from himalia.core.model import Reason, Status
from himalia.core.names import new_id
from himalia.core.places import Places
from himalia.core.spec import Resources
from himalia.kinds.base import RunPlan
from himalia.runners.attempt import AttemptFolder
from himalia.runners.task import RUNNER, NotebookTask
from tests.servers.environment import server_python
from tests.servers.notebooks import pinned
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio

OWNER = "me"
SLEEPS = "import time; time.sleep(600)"
BROKEN = Reason(code="image_missing", message="There is no such image.")


async def over_stdio(_owner: str, account: Account, settings: AgentSettings) -> AgentProcess:
    """Start an agent as a container's program is started: with pipes and nothing else."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(settings.python, "-I", "-m", "himalia.agents.agent", "--stdio"),
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        cwd="/",
        env=environment(account, settings),
    )
    assert process.stdout is not None
    assert process.stdin is not None
    return AgentProcess(ChildLink(process, process.stdout, process.stdin))


class Home:
    """One owner's home, with runners that this test starts as a cluster would."""

    def __init__(self, folder: Path) -> None:
        self.places = Places(home=folder / ".himalia" / OWNER).prepare_files()
        self.settings = AgentSettings(python=server_python(), pool_size=0, runs_elsewhere=True)
        self.account = Account(name="me", home=folder)
        self.agents = Agents(self._account, self.settings, launch=over_stdio)
        self.backend = AgentBackend(self.agents)

    async def _account(self, _owner: str) -> Account:
        return self.account

    def ref(self) -> AttemptRef:
        return AttemptRef(owner=OWNER, run_id=new_id("run"), attempt=1)

    def folder(self, ref: AttemptRef) -> AttemptFolder:
        return AttemptFolder(self.places.runs / ref.run_id / str(ref.attempt))

    async def prepare(self, *cells: str) -> AttemptRef:
        ref = self.ref()
        plan = RunPlan(
            runner=RUNNER,
            task=NotebookTask(notebook="n.ipynb").to_json(),
            environment="python3",
            env={},
            resources=Resources(cpu=2),
            snapshot_digest=pinned(self.places, *cells),
            timeout_seconds=None,
            grace_seconds=4,
        )
        await self.backend.start(ref, plan)
        await self.backend.start(ref, plan)
        return ref

    async def runner(self, ref: AttemptRef) -> asyncio.subprocess.Process:
        folder = str(self.folder(ref).path)
        return await asyncio.create_subprocess_exec(
            *(self.settings.python, "-P", "-m", "himalia.runners.pod", RUNNER, folder),
            env=environment(self.account, self.settings),
        )

    async def look(self, ref: AttemptRef) -> Observation:
        return (await self.backend.observe([ref]))[ref]

    async def until(self, ref: AttemptRef, phase: Phase) -> Observation:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (seen := await self.look(ref)).phase is not phase:
                await self.backend.changes()
            return seen

    async def until_cell(self, ref: AttemptRef, index: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (await self.look(ref)).progress.current != index:
                await self.backend.changes()

    async def conclude(self, ref: AttemptRef, reason: Reason | None, *, is_gone: bool) -> str:
        asked = m.Conclude(run_id=ref.run_id, attempt=1, reason=reason, is_gone=is_gone)
        return (await self.agents.ask(OWNER, "conclude", asked, m.Seen)).phase


@pytest_asyncio.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    home = Home(tmp_path)
    yield home
    await home.agents.close()


async def test_of_many_runners_one_executes(home: Home, tmp_path: Path) -> None:
    tally = tmp_path / "tally"
    source = f"import os\nopen({str(tally)!r}, 'a').write('x' + os.environ['OMP_NUM_THREADS'])"
    ref = await home.prepare(source)
    assert (await home.look(ref)).phase is Phase.STARTING
    assert await home.backend.running(OWNER) == ()

    runners = await asyncio.gather(*(home.runner(ref) for _ in range(4)))
    seen = await home.until(ref, Phase.ENDED)
    assert {await runner.wait() for runner in (*runners, await home.runner(ref))} == {0}

    assert seen.outcome is not None
    assert seen.outcome.status is Status.SUCCEEDED
    assert tally.read_text() == "x2"
    assert [output.name for output in await home.backend.outputs(ref)] == ["n.ipynb"]
    await home.backend.remove(ref)
    assert (await home.look(ref)).phase is Phase.ABSENT


async def test_who_is_stopped_before_a_runner_came_never_runs(home: Home) -> None:
    ref = await home.prepare("1")
    await home.backend.stop(ref)
    seen = await home.look(ref)
    assert seen.outcome is not None
    assert seen.outcome.status is Status.STOPPED
    before = home.folder(ref).result.read_bytes()
    await (await home.runner(ref)).wait()
    assert home.folder(ref).result.read_bytes() == before
    assert not home.folder(ref).console.exists()


async def test_a_signal_is_a_stop_only_with_the_word_of_it(home: Home) -> None:
    refs = [await home.prepare("1", SLEEPS) for _ in range(2)]
    runners = [await home.runner(ref) for ref in refs]
    for ref in refs:
        await home.until_cell(ref, 1)
    await home.backend.stop(refs[0])
    for runner in runners:
        runner.send_signal(signal.SIGTERM)
        await runner.wait()
    stopped, evicted = [await home.look(ref) for ref in refs]
    assert stopped.outcome is not None
    assert stopped.outcome.status is Status.STOPPED
    assert evicted.phase is Phase.RUNNING, "of its runner the folder does not know"
    assert await home.conclude(refs[1], None, is_gone=True) == "lost"


async def test_a_stopped_runner_that_was_killed_was_stopped(home: Home) -> None:
    ref = await home.prepare("1", SLEEPS)
    runner = await home.runner(ref)
    await home.until_cell(ref, 1)
    assert await home.conclude(ref, BROKEN, is_gone=False) == "running"
    await home.backend.stop(ref)
    runner.kill()
    await runner.wait()
    assert await home.conclude(ref, None, is_gone=True) == "ended"
    seen = await home.look(ref)
    assert seen.outcome is not None
    assert seen.outcome.status is Status.STOPPED


async def test_a_run_that_cannot_come_up_is_settled_once(home: Home) -> None:
    ref = await home.prepare("1")
    assert await home.conclude(ref, None, is_gone=True) == "absent"
    assert await home.conclude(ref, BROKEN, is_gone=False) == "ended"
    await (await home.runner(ref)).wait()
    seen = await home.look(ref)
    assert seen.outcome is not None
    assert (seen.outcome.status, seen.outcome.reason) == (Status.FAILED, BROKEN)


async def test_a_prepared_folder_is_as_it_was_whoever_prepares_it_again(home: Home) -> None:
    ref = await home.prepare("1")
    (home.folder(ref).work / "mine").touch()
    other = Home(home.account.home)
    plan = RunPlan(
        runner=RUNNER,
        task={},
        environment="",
        env={},
        resources=Resources(),
        snapshot_digest=None,
        timeout_seconds=None,
    )
    await other.backend.start(ref, plan)
    await other.agents.close()
    assert (home.folder(ref).work / "mine").exists()


async def test_an_agent_ends_when_nobody_talks_to_it_any_more(home: Home) -> None:
    await home.backend.environments(OWNER)
    pid = home.agents.pid(OWNER)
    assert pid is not None
    await home.agents.end(OWNER)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_way_that_breaks_is_no_trouble_with_the_agent(home: Home) -> None:
    made: list[AgentProcess] = []

    async def cut(owner: str, account: Account, settings: AgentSettings) -> AgentProcess:
        made.append(await over_stdio(owner, account, settings))
        made[-1]._link = Broken(made[-1]._link)  # type: ignore[assignment,arg-type]
        return made[-1]

    agents = Agents(home._account, home.settings, launch=cut)
    for _ in range(home.settings.max_troubles + 3):
        with pytest.raises(Unavailable, match="wire"):
            await AgentBackend(agents).environments(OWNER)
    assert agents.trouble(OWNER) is None
    assert len(made) > home.settings.max_troubles
    await agents.close()


class Broken:
    """A link that breaks instead of bringing anything."""

    def __init__(self, link: ChildLink) -> None:
        self._link = link

    def __getattr__(self, name: str) -> object:
        return getattr(self._link, name)

    async def readexactly(self, _n: int) -> bytes:
        raise Cut("the wire was cut")
