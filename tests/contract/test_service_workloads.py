"""Every service: definitions, whose they are, and that asking twice makes one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from himalia.core.errors import Conflict, InvalidInput, NotFound
from himalia.core.model import RerunDraft, RunDraft, SchedulePatch, WorkloadPatch
from himalia.core.names import new_id
from himalia.core.service import Caller, RunQuery, ScheduleQuery, WorkloadQuery, WorkloadService
from himalia.core.spec import Dependency, Notification, Spec
from himalia.kinds.job import JobSpec

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_workload_is_read_back_as_it_was_made(alice):
    workload = await alice.idle(env={"KEY": "value"}, timeout_seconds=60)
    assert workload.last_run is None
    assert (workload.kind, workload.name) == ("job", "idle")
    assert workload.snapshot is not None
    assert workload.snapshot.files == 1
    assert await alice.service.workloads.get(alice.caller, "job", workload.id) == workload


async def test_workloads_are_listed_by_pages_filtered_and_sorted(alice):
    for name in ("b", "a", "c"):
        await alice.create(alice.notebook(f"{name}.ipynb", "1"), run=False)
    workloads = alice.service.workloads
    query = WorkloadQuery(kind="job", tag=alice.tag, sort="name", limit=2)
    first = await workloads.list(alice.caller, query)
    assert [item.name for item in first.items] == ["a", "b"]
    rest = WorkloadQuery(kind="job", tag=alice.tag, sort="name", limit=2, cursor=first.next_cursor)
    second = await workloads.list(alice.caller, rest)
    assert [item.name for item in second.items] == ["c"]
    assert second.next_cursor is None
    found = await workloads.list(alice.caller, WorkloadQuery(kind="job", tag=alice.tag, search="C"))
    assert [item.name for item in found.items] == ["c"]


async def test_an_update_changes_what_it_names_and_pins_the_files_anew(alice):
    workload = await alice.idle()
    workloads = alice.service.workloads
    renamed = await workloads.update(
        alice.caller, "job", workload.id, WorkloadPatch[Spec](name="new name")
    )
    assert (renamed.name, renamed.spec, renamed.snapshot) == (
        "new name",
        workload.spec,
        workload.snapshot,
    )
    alice.notebook("idle.ipynb", "2")
    patch = WorkloadPatch[Spec](spec=JobSpec(notebook="idle.ipynb", timeout_seconds=5))
    changed = await workloads.update(alice.caller, "job", workload.id, patch)
    assert changed.name == "new name"
    assert changed.spec.timeout_seconds == 5
    assert changed.snapshot is not None
    assert workload.snapshot is not None
    assert changed.snapshot.digest != workload.snapshot.digest


async def test_a_secret_is_never_sent_back_and_is_kept_by_an_update_without_it(alice):
    hook = Notification(webhook="https://example.org/hook", secret="correct horse")
    workload = await alice.idle(notify=(hook,))
    assert "correct horse" not in workload.model_dump_json()
    patch = WorkloadPatch[Spec](spec=workload.spec)
    changed = await alice.service.workloads.update(alice.caller, "job", workload.id, patch)
    assert changed.spec == workload.spec
    assert "correct horse" not in changed.model_dump_json()


async def test_deleting_a_workload_deletes_its_runs_and_schedules(alice):
    workload = await alice.create(alice.notebook("nb.ipynb", "1"))
    run = await alice.ended(workload.last_run)
    schedule = await alice.schedule(workload)
    await alice.service.workloads.delete(alice.caller, "job", workload.id)
    with pytest.raises(NotFound):
        await alice.service.workloads.get(alice.caller, "job", workload.id)
    with pytest.raises(NotFound):
        await alice.service.runs.get(alice.caller, run.id)
    with pytest.raises(NotFound):
        await alice.service.schedules.get(alice.caller, schedule.id)


async def test_every_wrong_field_is_named(alice):
    alice.notebook("nb.ipynb", "1", parameters="a = 1")
    draft = alice.draft(
        "nb.ipynb", parameters={"nope": 1}, environment="julia", formats=("nope",), files=("gone",)
    )
    with pytest.raises(InvalidInput) as caught:
        await alice.service.workloads.create(alice.caller, "job", draft)
    assert alice.fields(caught) == {
        "spec.environment",
        "spec.parameters.nope",
        "spec.formats.0",
        "spec.files.0",
    } or alice.fields(caught) == {"spec.environment", "spec.formats.0", "spec.files.0"}


@pytest.mark.parametrize("path", ["gone.ipynb", "../nb.ipynb", "/etc/passwd"])
async def test_a_notebook_that_is_not_below_the_callers_root_is_refused(alice, path):
    with pytest.raises(InvalidInput) as caught:
        await alice.create(path)
    assert alice.fields(caught) == {"spec.notebook"}


async def test_an_unknown_parameter_of_a_run_is_named(alice):
    workload = await alice.create(alice.notebook("nb.ipynb", "1", parameters="a = 1"), run=False)
    with pytest.raises(InvalidInput) as caught:
        await alice.start(workload, nope=1)
    assert alice.fields(caught) == {"parameters.nope"}


async def test_the_same_key_and_draft_make_one_workload_with_one_run(alice):
    draft = alice.draft(alice.notebook("nb.ipynb", "1"))
    workloads = alice.service.workloads
    made = await asyncio.gather(
        *(workloads.create(alice.caller, "job", draft, idempotency_key="key") for _ in range(4))
    )
    assert len({workload.id for workload in made}) == 1
    await alice.ended(made[0].last_run)
    runs = await alice.service.runs.list(alice.caller, RunQuery(workload_id=made[0].id))
    assert len(runs.items) == 1


async def test_a_repeated_request_is_answered_though_its_notebook_is_gone(alice):
    draft = alice.draft(alice.notebook("nb.ipynb", "1"), run=False)
    workloads = alice.service.workloads
    made = await workloads.create(alice.caller, "job", draft, idempotency_key="key")
    (alice.caller.root / "nb.ipynb").unlink()
    again = await workloads.create(alice.caller, "job", draft, idempotency_key="key")
    assert again.id == made.id


async def test_a_key_that_was_used_with_another_request_is_a_conflict(alice):
    workload = await alice.idle()
    await alice.service.runs.start(
        alice.caller, "job", workload.id, RunDraft(parameters={"a": 1}), idempotency_key="key"
    )
    again = await alice.service.runs.start(
        alice.caller, "job", workload.id, RunDraft(parameters={"a": 1}), idempotency_key="key"
    )
    with pytest.raises(Conflict):
        await alice.service.runs.start(
            alice.caller, "job", workload.id, RunDraft(), idempotency_key="key"
        )
    await alice.ended(again)
    runs = await alice.service.runs.list(alice.caller, RunQuery(workload_id=workload.id))
    assert len(runs.items) == 1


async def test_keys_of_other_callers_are_other_keys(alice, bob):
    mine = await alice.service.workloads.create(
        alice.caller,
        "job",
        alice.draft(alice.notebook("a.ipynb", "1"), run=False),
        idempotency_key="key",
    )
    theirs = await bob.service.workloads.create(
        bob.caller, "job", bob.draft(bob.notebook("b.ipynb", "1"), run=False), idempotency_key="key"
    )
    assert mine.id != theirs.id


async def test_what_belongs_to_another_looks_like_what_is_not_there(alice, bob):
    workload = await alice.create(alice.notebook("nb.ipynb", "1"))
    run = await alice.ended(workload.last_run)
    schedule = await alice.schedule(workload)

    def asks(
        service: WorkloadService, caller: Caller, job: str, run_id: str, sch: str
    ) -> list[Any]:
        return [
            lambda: service.workloads.get(caller, "job", job),
            lambda: service.workloads.update(caller, "job", job, WorkloadPatch[Spec](name="x")),
            lambda: service.workloads.delete(caller, "job", job),
            lambda: service.workloads.graph(caller, "job", job),
            lambda: service.runs.start(caller, "job", job, RunDraft()),
            lambda: service.runs.get(caller, run_id),
            lambda: service.runs.rerun(caller, run_id, RerunDraft()),
            lambda: service.runs.stop(caller, run_id),
            lambda: service.runs.delete(caller, run_id),
            lambda: anext(service.runs.events(caller, run_id)),
            lambda: service.runs.log(caller, run_id),
            lambda: service.runs.outputs(caller, run_id),
            lambda: service.runs.open_output(caller, run_id, "nb.ipynb"),
            lambda: service.runs.cells(caller, run_id),
            lambda: service.schedules.get(caller, sch),
            lambda: service.schedules.update(caller, sch, SchedulePatch(paused=True)),
            lambda: service.schedules.delete(caller, sch),
        ]

    async def told(ask: Any) -> str:
        with pytest.raises(NotFound) as caught:
            await ask()
        return caught.value.message

    theirs = asks(bob.service, bob.caller, workload.id, run.id, schedule.id)
    absent = asks(bob.service, bob.caller, new_id("job"), new_id("run"), new_id("sch"))
    for other, nothing in zip(theirs, absent, strict=True):
        assert await told(other) == await told(nothing)
    assert (await alice.service.runs.get(alice.caller, run.id)) == run


async def test_lists_show_nothing_of_others(alice, bob):
    workload = await alice.idle()
    await alice.schedule(workload)
    query = WorkloadQuery(kind="job", tag=alice.tag)
    assert (await bob.service.workloads.list(bob.caller, query)).items == ()
    found = await bob.service.schedules.list(bob.caller, ScheduleQuery(workload_id=workload.id))
    assert found.items == ()


async def test_a_job_can_neither_follow_nor_be_scheduled_after_anothers(alice, bob):
    workload = await alice.idle()
    with pytest.raises(InvalidInput) as caught:
        await bob.idle(after=(Dependency(workload_id=workload.id),))
    assert alice.fields(caught) == {"spec.after.0.workload_id"}
    with pytest.raises(InvalidInput) as caught:
        await bob.schedule(workload)
    assert alice.fields(caught) == {"workload_id"}


async def test_a_profile_is_refused_by_its_field_where_there_is_none(alice):
    assert await alice.service.profiles(alice.caller) == ()
    with pytest.raises(InvalidInput) as refused:
        await alice.create(alice.notebook("n.ipynb", "1"), run=False, profile="big")
    assert refused.value.problems[0].field == "spec.profile"
