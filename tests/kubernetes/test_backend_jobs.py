"""Jobs as pods: what they are given, what they leave, and what follows from their end."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from himalia.core.model import ScheduleDraft, Status, Trigger
from himalia.core.service import RunQuery
from himalia.core.spec import Dependency, Retries
from tests.kubernetes.conftest import Tenant
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_job_runs_on_what_was_pinned_and_leaves_its_outputs(me: Tenant) -> None:
    me.file("data.csv", "1,2")
    job = await me.job(
        "print(open('data.csv').read())",
        "open('out.txt', 'w').write('done')",
        "import os\nprint(os.environ['HOME'], os.getuid(), os.path.exists('/var/run/secrets'))",
        run=False,
        files=("data.csv",),
        outputs=("*.txt",),
        formats=("script",),
    )
    me.file("data.csv", "changed")
    me.write("raise ValueError('changed')")

    run = await me.ended(await me.start(job))

    assert (run.status, run.reason) == (Status.SUCCEEDED, None)
    assert (run.progress.done, run.progress.total) == (3, 3)
    assert run.use is not None
    assert run.use.cpu_seconds > 0
    log = await me.said(run)
    assert "1,2\n" in log
    assert "/home/jovyan 1000 False\n" in log
    outputs = await me.service.runs.outputs(me.caller, run.id)
    assert [output.name for output in outputs] == ["n.ipynb", "n.py", "out.txt"]
    async with asyncio.timeout(PATIENCE_SECONDS):
        while me.pods():  # noqa: ASYNC110 - of another system nothing else tells
            await asyncio.sleep(0.5)
    # What it left does not lie in the pod.
    assert await me.said(run) == log


async def test_a_failed_run_is_tried_again_and_the_next_job_follows(me: Tenant) -> None:
    first = await me.job(
        "import os\np = os.path.expanduser('~/tries')\nopen(p, 'a').write('x')\n"
        "assert os.path.getsize(p) == 2",
        run=False,
        retries=Retries(count=1, delay_seconds=0),
    )
    second = await me.job("2", run=False, after=(Dependency(workload_id=first.id),))
    run = await me.ended(await me.start(first))
    assert (run.status, run.attempt) == (Status.SUCCEEDED, 2)
    page = await me.service.runs.list(me.caller, RunQuery(workload_id=second.id))
    assert page.items[0].trigger is Trigger.DEPENDENCY
    assert (await me.ended(page.items[0])).status is Status.SUCCEEDED


async def test_a_run_is_stopped_and_keeps_what_it_had(me: Tenant) -> None:
    job = await me.job("print('kept')", "import time; time.sleep(600)")
    run = await me.until(job.last_run, Status.RUNNING)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await me.service.runs.get(me.caller, run.id)).progress.done < 1:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    await me.service.runs.stop(me.caller, run.id)
    ended = await me.ended(run)
    assert ended.status is Status.STOPPED
    assert ended.reason is not None
    assert ended.reason.code == "stopped_by_user"
    assert "kept" in await me.said(run)


async def test_a_schedule_ticks_while_nobody_is_there(me: Tenant) -> None:
    job = await me.job("3", run=False)
    soon = datetime.now(UTC).minute + 1
    minutes = ",".join(str((soon + number) % 60) for number in range(5))
    draft = ScheduleDraft(workload_id=job.id, cron=f"{minutes} * * * *")
    schedule = await me.service.schedules.create(me.caller, draft)
    async with asyncio.timeout(60 + PATIENCE_SECONDS):
        while not (  # noqa: ASYNC110
            page := await me.service.runs.list(me.caller, RunQuery(workload_id=job.id))
        ).items:
            await asyncio.sleep(0.5)
    await me.service.schedules.delete(me.caller, schedule.id)
    assert page.items[0].trigger is Trigger.SCHEDULE
    assert (await me.ended(page.items[0])).status is Status.SUCCEEDED
