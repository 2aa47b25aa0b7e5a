"""Every service: runs, from their start to their end."""

from __future__ import annotations

import json

import pytest

from himalia.core.errors import Conflict
from himalia.core.model import RerunDraft, Run, Status, Trigger, WorkloadPatch
from himalia.core.spec import Spec
from himalia.kinds.job import JobSpec

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_notebook_runs_to_its_end_with_its_parameters(alice):
    notebook = alice.notebook("nb.ipynb", "print(a + b)", parameters="a = 1\nb = 2")
    workload = await alice.create(notebook, parameters={"b": 40}, formats=("html",))
    run = await alice.ended(workload.last_run)
    assert run.status is Status.SUCCEEDED, run.reason
    assert run.trigger is Trigger.USER
    assert (run.progress.done, run.attempt) == (run.progress.total, 1)
    outputs = await alice.service.runs.outputs(alice.caller, run.id)
    assert outputs[0].role == "notebook"
    assert {output.role for output in outputs} == {"notebook", "export"}
    assert "41" in await alice.text(run, outputs[0].name)


async def test_a_runs_own_parameters_take_precedence_name_by_name(alice):
    notebook = alice.notebook("nb.ipynb", "print(f'{a}-{b}')", parameters="a = 1\nb = 2")
    workload = await alice.create(notebook, run=False, parameters={"a": 10, "b": 20})
    run = await alice.ended(await alice.start(workload, b=30))
    assert run.parameters == {"a": 10, "b": 30}
    outputs = await alice.service.runs.outputs(alice.caller, run.id)
    assert "10-30" in await alice.text(run, outputs[0].name)


async def test_a_run_uses_the_files_as_they_were_when_the_job_was_made(alice):
    (alice.caller.root / "data.txt").write_text("before")
    notebook = alice.notebook("nb.ipynb", "print(open('data.txt').read())")
    workload = await alice.create(notebook, run=False, files=("data.txt",))
    (alice.caller.root / "data.txt").write_text("after")
    (alice.caller.root / "nb.ipynb").unlink()
    run = await alice.ended(await alice.start(workload))
    assert run.status is Status.SUCCEEDED, run.reason
    outputs = await alice.service.runs.outputs(alice.caller, run.id)
    assert "before" in await alice.text(run, outputs[0].name)


async def test_a_failed_cell_fails_the_run_with_a_reason_and_a_next_step(alice):
    workload = await alice.create(alice.notebook("nb.ipynb", "1", "1 / 0", "2"))
    run = await alice.ended(workload.last_run)
    assert run.status is Status.FAILED
    assert run.reason is not None
    assert (run.reason.code, bool(run.reason.next_step)) == ("cell_failed", True)
    assert "ZeroDivisionError" in run.reason.message
    cells = await alice.service.runs.cells(alice.caller, run.id)
    assert [event.cell.state for event in cells if event.cell is not None][-1] == "failed"


async def test_a_run_can_be_stopped_and_then_stays_stopped(alice):
    workload = await alice.create(alice.notebook("nb.ipynb", "import time; time.sleep(600)"))
    assert workload.last_run is not None
    await alice.until(workload.last_run.id, Status.RUNNING)
    await alice.service.runs.stop(alice.caller, workload.last_run.id)
    run = await alice.ended(workload.last_run)
    assert run.status is Status.STOPPED
    assert await alice.service.runs.stop(alice.caller, run.id) == run


async def test_a_rerun_has_the_parameters_and_the_snapshot_of_the_first(alice):
    notebook = alice.notebook("nb.ipynb", "print(a)", parameters="a = 1")
    workload = await alice.create(notebook, run=False)
    first = await alice.ended(await alice.start(workload, a=7))
    again = await alice.service.runs.rerun(alice.caller, first.id, RerunDraft())
    assert (again.rerun_of, again.parameters) == (first.id, {"a": 7})
    assert again.snapshot_digest == first.snapshot_digest
    assert (await alice.ended(again)).status is Status.SUCCEEDED


async def test_a_rerun_is_of_what_the_first_was_made_for_whatever_the_job_became(alice):
    workload = await alice.create(alice.notebook("first.ipynb", "print('the ' + 'first')"))
    first = await alice.ended(workload.last_run)
    alice.notebook("other.ipynb", "print('an' + 'other')")
    patch = WorkloadPatch[Spec](spec=JobSpec(notebook="other.ipynb"))
    await alice.service.workloads.update(alice.caller, "job", workload.id, patch)

    async def left(run):
        run = await alice.ended(run)
        assert run.status is Status.SUCCEEDED, run.reason
        return await alice.text(run, "first.ipynb" if run.rerun_of else "other.ipynb")

    again = await alice.service.runs.rerun(alice.caller, first.id, RerunDraft())
    assert "the first" in await left(again)
    assert "another" in await left(await alice.start(workload))


async def test_a_rerun_from_the_failed_cell_keeps_the_outputs_before_it(alice):
    flag = alice.caller.root / "flag"
    notebook = alice.notebook(
        "nb.ipynb",
        "import time; stamp = time.time_ns(); print('stamp', stamp)",
        f"import os; assert os.path.exists({str(flag)!r}); print('went on')",
    )
    workload = await alice.create(notebook)
    first = await alice.ended(workload.last_run)
    assert first.status is Status.FAILED
    flag.touch()
    draft = RerunDraft(from_failed_cell=True)
    run = await alice.ended(await alice.service.runs.rerun(alice.caller, first.id, draft))
    assert run.status is Status.SUCCEEDED, run.reason
    assert run.from_failed_cell

    async def printed(of: Run) -> str:
        outputs = await alice.service.runs.outputs(alice.caller, of.id)
        cell = json.loads(await alice.text(of, outputs[0].name))["cells"][0]
        return "".join(cell["outputs"][0]["text"])

    assert await printed(run) == await printed(first)


async def test_only_an_ended_run_with_a_failed_cell_goes_on_from_it(alice):
    workload = await alice.create(alice.notebook("nb.ipynb", "1"))
    run = await alice.ended(workload.last_run)
    with pytest.raises(Conflict):
        await alice.service.runs.rerun(alice.caller, run.id, RerunDraft(from_failed_cell=True))


async def test_a_run_that_has_not_ended_can_be_neither_repeated_nor_deleted(alice):
    workload = await alice.create(alice.notebook("nb.ipynb", "import time; time.sleep(600)"))
    run = workload.last_run
    assert run is not None
    with pytest.raises(Conflict):
        await alice.service.runs.rerun(alice.caller, run.id, RerunDraft())
    with pytest.raises(Conflict):
        await alice.service.runs.delete(alice.caller, run.id)
    with pytest.raises(Conflict):
        await alice.service.workloads.delete(alice.caller, "job", workload.id)
    await alice.service.runs.stop(alice.caller, run.id)
    await alice.ended(run)
    await alice.service.runs.delete(alice.caller, run.id)
    await alice.service.workloads.delete(alice.caller, "job", workload.id)


async def test_the_service_tells_how_it_does_and_where_notebooks_run(alice, composed):
    status = await alice.service.status(alice.caller)
    assert (status.backend, status.limit) == (composed.local.parts.backend.name, 2)
    assert status.memory_bytes > 0
    environments = await alice.service.environments(alice.caller)
    assert environments[0].name == "python3"
    assert [item.is_default for item in environments].count(True) == 1


async def test_a_run_in_the_queue_tells_its_place(alice):
    workload = await alice.create(
        alice.notebook("nb.ipynb", "import time; time.sleep(600)"), run=False
    )
    runs = [await alice.start(workload) for _ in range(4)]
    for run in runs[:2]:
        await alice.until(run.id, Status.RUNNING)
    places = [(await alice.service.runs.get(alice.caller, run.id)).position for run in runs]
    for run in runs[::-1]:
        await alice.service.runs.stop(alice.caller, run.id)
    for run in runs:
        await alice.ended(run)
    assert places == [None, None, 1, 2]
