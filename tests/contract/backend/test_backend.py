"""What every backend promises about an attempt."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from himalia.backends.base import Phase
from himalia.core.model import Status
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio


async def test_an_attempt_runs_to_its_outcome(bench: Any) -> None:
    ref = bench.ref()
    assert (await bench.look(ref)).phase is Phase.ABSENT

    await bench.backend.start(ref, bench.plan("print('hello')", "6 * 7"))
    seen = await bench.until_ended(ref)

    assert seen.phase is Phase.ENDED
    assert seen.outcome is not None
    assert seen.outcome.status is Status.SUCCEEDED
    assert seen.outcome.reason is None
    assert seen.outcome.use.cpu_seconds > 0
    assert seen.outcome.use.peak_memory_bytes > 10 * 2**20
    assert seen.outcome.versions.kernel == "python3"
    assert len(seen.outcome.versions.packages_digest) == 64
    assert (seen.progress.done, seen.progress.total, seen.progress.current) == (2, 2, None)
    assert seen.started_at is not None
    assert seen.ended_at is not None
    assert seen.started_at <= seen.ended_at


async def test_a_failed_attempt_ends_with_its_reason(bench: Any) -> None:
    ref = bench.ref()
    await bench.backend.start(ref, bench.plan("raise ValueError('no')"))
    seen = await bench.until_ended(ref)

    assert seen.outcome is not None
    assert seen.outcome.status is Status.FAILED
    assert seen.outcome.reason is not None
    assert seen.outcome.reason.code == "cell_failed"
    assert "ValueError: no" in seen.outcome.reason.message


async def test_starting_twice_executes_once(bench: Any, work: Path) -> None:
    tally = work / "tally"
    plan = bench.plan(f"with open({str(tally)!r}, 'a') as f: f.write('x')")
    ref = bench.ref()

    await asyncio.gather(*(bench.backend.start(ref, plan) for _ in range(5)))
    await bench.until_ended(ref)
    await bench.backend.start(ref, plan)
    await bench.renew()
    await bench.backend.start(ref, plan)

    assert (await bench.look(ref)).phase is Phase.ENDED
    assert tally.read_text() == "x"


async def test_the_kernel_has_the_plans_variables_and_none_of_the_services(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "canary")
    ref = bench.ref()
    plan = bench.plan("import os\nprint(os.environ['HIMALIA_TEST'], *os.environ.values())")
    await bench.backend.start(ref, plan)
    await bench.until_ended(ref)

    log = await bench.backend.log(ref, offset=0, limit=100_000)
    assert log.data.startswith(b"given ")
    assert b"canary" not in log.data


async def test_another_backend_finds_the_attempt_that_runs(bench: Any, work: Path) -> None:
    go = work / "go"
    source = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)"
    ref = bench.ref()
    await bench.backend.start(ref, bench.plan("1", source))
    await bench.until_cell(ref, 1)

    await bench.renew()
    seen = await bench.look(ref)
    assert seen.phase is Phase.RUNNING
    assert seen.progress.done == 1
    go.touch()

    seen = await bench.until_ended(ref)
    assert seen.outcome is not None
    assert seen.outcome.status is Status.SUCCEEDED


async def test_a_stop_is_heard_and_may_be_repeated(bench: Any) -> None:
    ref = bench.ref()
    await bench.backend.start(ref, bench.plan("print('kept')", "import time; time.sleep(600)"))
    await bench.until_cell(ref, 1)

    await bench.backend.stop(ref)
    await bench.backend.stop(ref)
    seen = await bench.until_ended(ref)
    await bench.backend.stop(ref)

    assert seen.outcome is not None
    assert seen.outcome.status is Status.STOPPED
    notebook = b"".join([part async for part in bench.backend.read_output(ref, "n.ipynb")])
    assert b"kept" in notebook
    assert await bench.look(ref) == seen


async def test_what_does_not_hear_is_killed_after_its_grace(bench: Any) -> None:
    ref = bench.ref()
    await bench.backend.start(ref, bench.plan("1", "import time; time.sleep(600)"))
    await bench.until_cell(ref, 1)
    bench.signal(ref, signal.SIGSTOP)

    await bench.backend.stop(ref)
    seen = await bench.until_ended(ref)

    assert seen.outcome is not None
    assert seen.outcome.status is Status.STOPPED


async def test_an_attempt_stopped_before_its_start_never_starts(bench: Any, work: Path) -> None:
    proof = work / "proof"
    ref = bench.ref()
    await bench.backend.stop(ref)
    await bench.backend.start(ref, bench.plan(f"open({str(proof)!r}, 'w')"))

    seen = await bench.until_ended(ref)
    assert seen.outcome is not None
    assert seen.outcome.status is Status.STOPPED
    assert not proof.exists()


async def test_an_attempt_whose_runner_was_killed_is_lost_with_all_it_started(
    bench: Any, work: Path
) -> None:
    children = work / "children"
    source = (
        "import os, subprocess, sys, time\n"
        "started = [subprocess.Popen(['sleep', '600']) for _ in range(2)]\n"
        "started.append(subprocess.Popen(['setsid', 'sleep', '600']))\n"
        f"with open({str(children)!r}, 'w') as f:\n"
        "    print(os.getpid(), *(child.pid for child in started), file=f)\n"
    )
    ref = bench.ref()
    await bench.backend.start(ref, bench.plan(source, "time.sleep(600)"))
    await bench.until_cell(ref, 1)

    bench.signal(ref, signal.SIGKILL)
    seen = await bench.until_ended(ref)

    assert seen.phase is Phase.LOST
    assert seen.outcome is None
    assert seen.reason is not None
    for pid in children.read_text().split():
        await bench.until_dead(ref, int(pid))
    await bench.backend.start(ref, bench.plan("1"))
    assert (await bench.look(ref)).phase is Phase.LOST


async def test_processes_that_a_run_left_behind_end_with_it(bench: Any, work: Path) -> None:
    left = work / "left"
    source = (
        "import subprocess\n"
        "child = subprocess.Popen(['setsid', 'sleep', '600'])\n"
        f"print(child.pid, file=open({str(left)!r}, 'w'), flush=True)"
    )
    ref = bench.ref()
    await bench.backend.start(ref, bench.plan(source))
    await bench.until_ended(ref)

    assert not bench.where.is_alive(ref, int(left.read_text()))


async def test_a_late_result_never_takes_the_place_of_an_earlier_one(bench: Any) -> None:
    ref = bench.ref()
    await bench.backend.stop(ref)
    before = await bench.until_ended(ref)
    folder = bench.places.runs / ref.run_id / str(ref.attempt)
    other = json.loads((folder / "result.json").read_text()) | {"attempt": 2}
    (folder / "result.json").write_text(json.dumps(other))

    assert before.phase is Phase.ENDED
    async with asyncio.timeout(PATIENCE_SECONDS):
        # Where the folder is on another machine, it may take a second to be seen there.
        while (await bench.look(ref)).phase is not Phase.LOST:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_what_was_removed_is_absent(bench: Any) -> None:
    ref = bench.ref()
    await bench.backend.start(ref, bench.plan("import os\nos.mkdir('d', 0o500)\nos.chmod('.', 0)"))
    await bench.until_ended(ref)

    await bench.backend.remove(ref)
    await bench.backend.remove(ref)

    assert (await bench.look(ref)).phase is Phase.ABSENT
    assert await bench.backend.outputs(ref) == ()


async def test_many_attempts_at_once_all_end(bench: Any) -> None:
    refs = [bench.ref() for _ in range(6)]
    await asyncio.gather(*(bench.backend.start(ref, bench.plan("1 + 1")) for ref in refs))
    for ref in refs:
        seen = await bench.until_ended(ref)
        assert seen.outcome is not None
        assert seen.outcome.status is Status.SUCCEEDED


async def test_environments_have_one_default_that_comes_first(bench: Any) -> None:
    environments = await bench.backend.environments(bench.owner)
    assert [environment.is_default for environment in environments][:1] == [True]
    assert sum(environment.is_default for environment in environments) == 1
