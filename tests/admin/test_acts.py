"""What admins do to what others own, and what the audit log says of it afterwards."""

from __future__ import annotations

import pytest

from himalia.core.administration import Admin
from himalia.core.errors import Conflict, Forbidden, InvalidInput, NotFound
from himalia.core.model import Status
from himalia.core.team import ServerState
from tests.servers.estate import AUDITOR, BOSS, CHAIR, Estate

pytestmark = pytest.mark.asyncio


async def test_a_stopped_run_says_who_stopped_it_and_so_does_the_log(estate: Estate) -> None:
    ann = await estate.person("ann", "physics")
    run = await estate.run(await estate.workload(ann))
    stopped = await estate.administration.acts.stop_run(BOSS, run.id)
    assert stopped.status is Status.STOPPED
    assert stopped.reason is not None
    assert "boss" in stopped.reason.message
    (entry,) = await estate.log()
    assert (entry.actor, entry.action, entry.name, entry.object_id) == (
        "boss", "run.stop", "ann", run.id,
    )  # fmt: skip


async def test_an_ended_run_is_not_stopped_again(estate: Estate) -> None:
    run = await estate.run(await estate.workload(await estate.person("ann")), Status.SUCCEEDED)
    assert await estate.administration.acts.stop_run(BOSS, run.id) == run
    assert await estate.log() == []


async def test_an_ended_run_is_deleted_and_one_that_is_on_is_not(estate: Estate) -> None:
    workload = await estate.workload(await estate.person("ann"))
    ended = await estate.run(workload, Status.FAILED)
    waiting = await estate.run(workload)
    with pytest.raises(Conflict):
        await estate.administration.acts.delete_run(BOSS, waiting.id)
    await estate.administration.acts.delete_run(BOSS, ended.id)
    assert await estate.store.runs.known([ended.id, waiting.id]) == {waiting.id}
    assert [entry.action for entry in await estate.log()] == ["run.delete"]


async def test_a_workload_goes_with_its_runs(estate: Estate) -> None:
    ann = await estate.person("ann")
    workload = await estate.workload(ann)
    run = await estate.run(workload, Status.SUCCEEDED)
    await estate.administration.acts.delete_workload(BOSS, workload.id)
    assert await estate.store.runs.known([run.id]) == set()
    assert await estate.store.workloads.find(ann.owner, [workload.id]) == ()


async def test_what_could_not_be_done_is_in_the_log_as_failed(estate: Estate) -> None:
    workload = await estate.workload(await estate.person("ann"))
    await estate.run(workload)
    with pytest.raises(Conflict):
        await estate.administration.acts.delete_workload(BOSS, workload.id)
    actions = [entry.action for entry in await estate.log()]
    assert actions == ["workload.delete", "workload.delete.failed"]


async def test_a_transfer_moves_everything_to_the_heir(estate: Estate) -> None:
    ann, bob = await estate.person("ann"), await estate.person("bob")
    run = await estate.run(await estate.workload(ann), Status.SUCCEEDED)
    await estate.workload(ann, "more")
    assert await estate.administration.acts.transfer(BOSS, ann.owner, "bob") == 2
    assert (await estate.store.runs.get(bob.owner, run.id)).owner == bob.owner
    (entry,) = await estate.log()
    assert (entry.action, entry.name, entry.details["heir"]) == ("person.transfer", "ann", "bob")


@pytest.mark.parametrize("heir", ["nobody", "ann"])
async def test_a_transfer_needs_another_heir(estate: Estate, heir: str) -> None:
    ann = await estate.person("ann")
    with pytest.raises(InvalidInput) as caught:
        await estate.administration.acts.transfer(BOSS, ann.owner, heir)
    assert [problem.field for problem in caught.value.problems] == ["heir"]


async def test_a_server_is_stopped_by_name(estate: Estate) -> None:
    ann = await estate.person("ann")
    estate.servers.on[ann.owner] = (ServerState(), ServerState(name="gpu"))
    await estate.administration.acts.stop_server(BOSS, ann.owner, "gpu")
    assert estate.servers.stopped == [(ann.owner, "gpu")]
    with pytest.raises(NotFound):
        await estate.administration.acts.stop_server(BOSS, ann.owner, "none")
    assert [entry.action for entry in await estate.log()] == [
        "server.stop", "server.stop", "server.stop.failed",
    ]  # fmt: skip


async def test_030_outside_of_a_group_admins_groups_everybody_looks_absent(
    estate: Estate,
) -> None:
    bob = await estate.person("bob", "chemistry")
    estate.servers.on[bob.owner] = (ServerState(),)
    workload = await estate.workload(bob)
    run = await estate.run(workload, Status.SUCCEEDED)
    acts = estate.administration.acts
    pairs = [
        (acts.stop_run(CHAIR, run.id), acts.stop_run(CHAIR, run.id[:-5] + "00000")),
        (acts.delete_run(CHAIR, run.id), acts.delete_run(CHAIR, run.id[:-5] + "00000")),
        (
            acts.delete_workload(CHAIR, workload.id),
            acts.delete_workload(CHAIR, workload.id[:-5] + "00000"),
        ),
        (acts.transfer(CHAIR, bob.owner, "chair"), acts.transfer(CHAIR, "no-one", "chair")),
        (acts.stop_server(CHAIR, bob.owner, ""), acts.stop_server(CHAIR, "no-one", "")),
    ]
    for outside, absent in pairs:
        with pytest.raises(NotFound) as there:
            await outside
        with pytest.raises(NotFound) as nowhere:
            await absent
        # The same words, but for the name that was asked for.
        assert there.value.message[:20] == nowhere.value.message[:20]
        assert type(there.value) is type(nowhere.value)
    assert await estate.store.runs.known([run.id]) == {run.id}
    assert estate.servers.stopped == []
    assert await estate.log() == []


async def test_030_a_group_admin_transfers_to_nobody_outside(estate: Estate) -> None:
    ann, _ = await estate.person("ann", "physics"), await estate.person("bob", "chemistry")
    await estate.workload(ann)
    with pytest.raises(InvalidInput) as outside:
        await estate.administration.acts.transfer(CHAIR, ann.owner, "bob")
    with pytest.raises(InvalidInput) as absent:
        await estate.administration.acts.transfer(CHAIR, ann.owner, "nob")
    assert outside.value.message.replace("bob", "nob") == absent.value.message


async def test_030_who_left_the_group_is_out_of_reach_at_once(estate: Estate) -> None:
    ann = await estate.person("ann", "physics")
    run = await estate.run(await estate.workload(ann))
    await estate.store.team.people.seen([ann.model_copy(update={"groups": ()})])
    with pytest.raises(NotFound):
        await estate.administration.acts.stop_run(CHAIR, run.id)


async def test_029_who_may_look_changes_nothing(estate: Estate) -> None:
    ann = await estate.person("ann", "physics")
    workload = await estate.workload(ann)
    run = await estate.run(workload, Status.SUCCEEDED)
    acts = estate.administration.acts
    reader = Admin(name="reader", groups=frozenset({"physics"}), may_write=False)
    for admin in (AUDITOR, reader):
        for act in (
            acts.stop_run(admin, run.id),
            acts.delete_run(admin, run.id),
            acts.delete_workload(admin, workload.id),
            acts.transfer(admin, ann.owner, "ann"),
            acts.stop_server(admin, ann.owner, ""),
            estate.administration.orphans.end(admin, run.id),
        ):
            with pytest.raises(Forbidden):
                await act
    assert await estate.log() == []
