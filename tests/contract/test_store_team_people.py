"""Every store knows who there is, and what becomes of a person's things."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from himalia.core.administration import PersonQuery
from himalia.core.errors import Conflict, NotFound
from himalia.core.model import Run, Status, Target
from himalia.core.service import RunQuery, ScheduleQuery, WorkloadQuery
from himalia.core.team import Person
from himalia.store.base import Change, Key, Store
from himalia.store.team import Grant

pytestmark = pytest.mark.asyncio

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def person(name: str, *groups: str, **fields: Any) -> Person:
    usual = {"owner": f"{name}-id", "name": name, "first_seen_at": NOW, "last_seen_at": NOW}
    return Person(groups=groups, **(usual | fields))


async def test_people_are_kept_as_they_were_seen_last(store: Store) -> None:
    people = store.team.people
    await people.seen([person("ann", "red"), person("bob", is_admin=True)])
    later = NOW + timedelta(hours=1)
    changed = person("ann", "blue", "green", first_seen_at=later, last_seen_at=later)
    await people.seen([changed, person("cy")])
    ann = await people.get("ann-id")
    assert ann == changed.model_copy(update={"first_seen_at": NOW})
    assert [one.name for one in await people.present()] == ["ann", "bob", "cy"]
    assert (await people.named("bob")).is_admin
    assert await people.members(["green", "red"]) == {"ann-id"}
    assert await people.members([]) == frozenset()
    # A look that comes late takes nothing back.
    await people.seen([changed.model_copy(update={"last_seen_at": NOW})])
    assert (await people.get("ann-id")).last_seen_at == later


async def test_who_is_not_there_is_not_found(store: Store) -> None:
    for ask in (store.team.people.get("ann-id"), store.team.people.named("ann")):
        with pytest.raises(NotFound):
            await ask


async def test_a_new_user_of_the_same_name_is_another_person(store: Store) -> None:
    people = store.team.people
    await people.seen([person("ann", "red")])
    await people.gone("ann-id", NOW)
    await people.seen([person("ann", owner="ann-other")])
    assert (await people.named("ann")).owner == "ann-other"
    assert [one.owner for one in await people.present()] == ["ann-other"]
    assert await people.members(["red"]) == frozenset()
    assert (await people.get("ann-id")).gone_at == NOW
    # Who is gone stays so, whatever an old list says.
    await people.seen([person("ann", "red")])
    assert (await people.get("ann-id")).gone_at == NOW


async def test_of_who_is_gone_nothing_goes_on(store: Store, make: Any) -> None:
    workload = await make.stored(store, owner="ann-id")
    on = await make.held(store, workload)
    await store.holds.change(on.run.id, on.token, Change(status=Status.RUNNING))
    queued = await make.queued(store, workload)
    schedule = await store.schedules.insert(make.schedule(workload))
    await store.team.people.seen([person("ann")])
    grant = Grant(
        owner="ann-id",
        run_id=on.run.id,
        scopes=(),
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )
    await store.team.grants.put("digest", grant)
    await store.team.people.gone("ann-id", NOW)
    run = await store.runs.get("ann-id", on.run.id)
    assert (run.status, run.target) == (Status.RUNNING, Target.STOP)
    ended = await store.runs.get("ann-id", queued.id)
    assert ended.status is Status.STOPPED
    assert ended.reason is not None
    assert ended.reason.code == "owner_gone"
    assert (await store.schedules.get("ann-id", schedule.id)).paused
    assert await store.team.grants.find("digest", datetime.now(UTC)) is None
    assert [one.owner for one in await store.team.people.unsettled()] == ["ann-id"]


async def _ended(store: Store, make: Any, owner: str) -> Run:
    workload = await make.stored(store, owner=owner, tags=("t",))
    await make.stored(store, owner=owner, name="after", after=({"workload_id": workload.id},))
    await store.schedules.insert(make.schedule(workload), key=_key(owner))
    return await make.queued(store, workload, status=Status.SUCCEEDED)


def _key(owner: str) -> Key:
    return Key(owner=owner, key="once", digest="d")


async def test_what_was_theirs_can_be_given_to_an_heir(store: Store, make: Any) -> None:
    run = await _ended(store, make, "ann-id")
    await store.team.people.seen([person("ann"), person("bob")])
    await store.team.people.gone("ann-id", NOW)
    assert await store.team.people.transfer("ann-id", "bob-id") == 2
    assert (await store.runs.get("bob-id", run.id)).owner == "bob-id"
    assert len((await store.workloads.list("bob-id", WorkloadQuery(kind="job"))).items) == 2
    tagged = await store.runs.list("bob-id", RunQuery(tag="t"))
    assert [one.id for one in tagged.items] == [run.id]
    assert len(await store.workloads.edges("bob-id")) == 1
    assert len((await store.schedules.list("bob-id", ScheduleQuery())).items) == 1
    assert await store.made_under(_key("bob-id")) is None
    assert await store.team.people.unsettled() == ()
    with pytest.raises(NotFound):
        await store.runs.get("ann-id", run.id)


async def test_what_was_theirs_can_be_deleted_but_for_the_books(store: Store, make: Any) -> None:
    run = await _ended(store, make, "ann-id")
    other = await _ended(store, make, "bob-id")
    await store.team.people.seen([person("ann")])
    await store.team.people.gone("ann-id", NOW)
    assert [one.id for one in await store.team.people.purge("ann-id")] == [run.id]
    assert await store.runs.known([run.id, other.id]) == {other.id}
    assert (await store.workloads.list("ann-id", WorkloadQuery(kind="job"))).items == ()
    assert (await store.schedules.list("ann-id", ScheduleQuery())).items == ()
    assert await store.made_under(_key("ann-id")) is None
    assert await store.team.people.unsettled() == ()
    assert (await store.team.people.get("ann-id")).name == "ann"


@pytest.mark.parametrize("what", ["transfer", "purge"])
async def test_what_still_runs_is_neither_given_nor_deleted(
    store: Store, make: Any, what: str
) -> None:
    workload = await make.stored(store, owner="ann-id")
    await make.queued(store, workload)
    people = store.team.people
    act = people.transfer("ann-id", "bob-id") if what == "transfer" else people.purge("ann-id")
    with pytest.raises(Conflict, match="has not ended"):
        await act
    assert (await store.workloads.get("ann-id", "job", workload.id)).owner == "ann-id"


@pytest.mark.parametrize(
    "twin",
    ["ALICE", "\uff41\uff4c\uff49\uff43\uff45", "ali\u200dce", "ali\u00adce", "alice"],
)
async def test_006_an_account_never_gets_a_name_that_another_has(store: Store, twin: str) -> None:
    people = store.team.people
    alice = await people.account("https://one", "a", "alice")
    other = await people.account("https://two", "a", twin)
    assert alice == "alice"
    assert other == f"{twin}-2"
    # Whatever the provider says later, an account stays who it was.
    assert await people.account("https://one", "a", "admin") == "alice"
    assert await people.account("https://two", "a", "alice") == other


async def test_006_first_logins_at_once_are_two_users(open_store: Callable[[], Store]) -> None:
    stores = [open_store() for _ in range(4)]
    await asyncio.gather(*(one.open() for one in stores))
    names = await asyncio.gather(
        *(one.team.people.account("i", f"s{number}", "alice") for number, one in enumerate(stores))
    )
    again = await asyncio.gather(*(one.team.people.account("i", "s0", "x") for one in stores))
    await asyncio.gather(*(one.close() for one in stores))
    assert sorted(names) == ["alice", "alice-2", "alice-3", "alice-4"]
    assert set(again) == {names[0]}


async def test_a_list_of_people_is_in_order_and_counts(store: Store, make: Any) -> None:
    people = [
        person("Bea", "red", last_seen_at=NOW + timedelta(hours=2)),
        person("ann", "red", "blue", last_seen_at=NOW + timedelta(hours=1)),
        person("cy"),
        person("dan"),
    ]
    await store.team.people.seen(people)
    await store.team.people.gone("dan-id", NOW)
    workload = await make.stored(store, owner="ann-id")
    await make.held(store, workload)
    await make.queued(store, workload)
    lists = store.team.lists

    async def names(owners: frozenset[str] | None = None, **query: Any) -> list[str]:
        page = await lists.people(PersonQuery(**query), owners)
        return [row.person.name for row in page.items]

    assert await names() == ["ann", "Bea", "cy"]
    assert await names(sort="-last_seen_at") == ["Bea", "ann", "cy"]
    assert await names(search="E") == ["Bea"]
    assert await names(group="red") == ["ann", "Bea"]
    assert await names(frozenset({"cy-id", "dan-id"})) == ["cy"]
    assert await names(frozenset()) == []
    first = await lists.people(PersonQuery(limit=1), None)
    (row,) = first.items
    assert (row.running, row.queued, row.workloads) == (1, 1, 1)
    assert row.person.groups == ("blue", "red")
    assert await names(limit=2, cursor=first.next_cursor) == ["Bea", "cy"]


async def test_an_account_is_known_once_it_has_a_name(store: Store) -> None:
    people = store.team.people
    assert await people.known_account("https://one", "a") is None
    await people.account("https://one", "a", "alice")
    assert await people.known_account("https://one", "a") == "alice"
    assert await people.known_account("https://two", "a") is None
