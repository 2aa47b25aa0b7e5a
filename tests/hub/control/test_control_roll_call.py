"""Who is gone, and who only seems so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from himalia.core.administration import AuditQuery
from himalia.core.errors import Conflict, HimaliaError, NotFound, Unavailable
from himalia.core.loop import alone
from himalia.core.service import RunQuery
from himalia_hub.control import roll_call as module
from himalia_hub.control.roll import Rolls
from himalia_hub.control.roll_call import RollCall, RollRules
from tests.hub.control.conftest import queued_run

pytestmark = pytest.mark.asyncio
FAR = timedelta(days=1)


class Estate:
    """Purges, as control's own does, and touches no account."""

    def __init__(self, people):
        self.people = people
        self.swept = []

    async def settle(self, person):
        await self.people.purge(person.owner)
        return True

    async def sweep(self, present):
        self.swept.append(set(present))


@pytest.fixture
def call(hub_api, store, monkeypatch):
    monkeypatch.setattr(module, "_BETWEEN_SECONDS", 0.0)
    return RollCall(
        hub=hub_api,
        rolls=Rolls(hub_api),
        team=store.team,
        estate=Estate(store.team.people),
        lead=alone,
        rules=RollRules(every_seconds=0.01, most_missing=3),
    )


async def present(store):
    return {person.name for person in await store.team.people.present()}


async def test_people_are_known_as_the_hub_has_them(call, hub_server, store):
    hub_server.add("alice", groups=["physics", "art"])
    hub_server.add("root", admin=True)
    await call.step()
    people = {person.name: person for person in await store.team.people.present()}
    assert people["alice"].groups == ("art", "physics")
    assert people["root"].is_admin
    hub_server.users["alice"].groups = ["art"]
    await call.step()
    assert (await store.team.people.named("alice")).groups == ("art",)


async def test_all_are_called_however_many_there_are(call, hub_server, store):
    for number in range(250):
        hub_server.add(f"user-{number}")
    await call.step()
    assert len(await present(store)) == 250
    assert hub_server.asked["users"] == 3


async def test_a_hub_with_a_directory_is_asked_there_and_more_often(hub_api, hub_server):
    rolls = Rolls(hub_api)
    for number in range(250):
        hub_server.add(f"user-{number}", groups=["physics"])
    hub_server.server("user-7")
    listed = (await rolls.within(0)).users
    slow = rolls.fair_seconds
    hub_server.has_directory = True
    hub_server.asked.clear()
    told = (await rolls.within(0)).users
    assert dict(told) == dict(listed)
    assert hub_server.asked == {"himalia/directory": 3}
    assert rolls.fair_seconds < slow / 5


async def test_whoever_is_missing_twice_is_gone_with_all_that_was_theirs(call, hub_server, store):
    alice = hub_server.add("alice")
    hub_server.add("bob")
    await call.step()
    run = await queued_run(store, alice.owner)
    hub_server.remove("alice")
    await call.step()
    assert await present(store) == {"alice", "bob"}
    await call.step()
    assert await present(store) == {"bob"}
    with pytest.raises(NotFound):
        await store.runs.get(alice.owner, run.id)
    page = await store.team.notices.audit(AuditQuery(), None)
    assert [entry.action for entry in page.items] == ["person.settle", "person.gone"]
    assert {entry.actor for entry in page.items} == {"control"}


async def test_a_new_user_of_the_same_name_has_nothing_of_the_old_one(call, hub_server, store):
    alice = hub_server.add("alice")
    await call.step()
    await queued_run(store, alice.owner)
    hub_server.remove("alice")
    heir = hub_server.add("alice")
    assert heir.owner != alice.owner
    for _ in range(3):
        await call.step()
    person = await store.team.people.named("alice")
    assert person.owner == heir.owner
    assert not (await store.runs.list(heir.owner, RunQuery())).items
    now = datetime.now(UTC)
    entries = await store.team.usage.entries({heir.owner}, now - FAR, now + FAR, limit=10)
    assert not entries.items


async def test_a_failed_question_between_takes_nobodys_things(call, hub_server, store):
    hub_server.add("alice")
    hub_server.add("bob")
    await call.step()
    alice = hub_server.users.pop("alice")
    await call.step()
    hub_server.is_broken = True
    with pytest.raises(Unavailable):
        await call.step()
    hub_server.is_broken = False
    await call.step()
    assert await present(store) == {"alice", "bob"}
    hub_server.users["alice"] = alice
    await call.step()
    await call.step()
    assert await present(store) == {"alice", "bob"}


async def test_an_empty_list_is_no_answer(call, hub_server, store):
    hub_server.add("alice")
    await call.step()
    hub_server.users.clear()
    for _ in range(3):
        with pytest.raises(HimaliaError):
            await call.step()
    assert await present(store) == {"alice"}


async def test_a_list_that_lacks_somebody_whom_the_hub_knows_is_not_believed(
    call, hub_server, hub_api, store, monkeypatch
):
    hub_server.add("alice")
    hub_server.add("bob")
    await call.step()
    ask = hub_api.users

    async def short():
        async for part in ask():
            yield tuple(user for user in part if user.name != "alice")

    monkeypatch.setattr(hub_api, "users", short)
    for _ in range(3):
        await call.step()
    assert await present(store) == {"alice", "bob"}


async def test_many_that_are_missing_at_once_are_a_mistake(call, hub_server, store, caplog):
    for number in range(6):
        hub_server.add(f"user-{number}")
    await call.step()
    for number in range(1, 5):
        hub_server.remove(f"user-{number}")
    for _ in range(3):
        await call.step()
    assert len(await present(store)) == 6
    assert "most_missing" in caplog.text


async def test_what_cannot_go_yet_is_tried_again(call, hub_server, store, monkeypatch):
    alice = hub_server.add("alice")
    hub_server.add("bob")
    await call.step()
    await queued_run(store, alice.owner)
    hub_server.remove("alice")
    estate, tries = call._estate, []

    async def later(person):
        tries.append(person.owner)
        if len(tries) == 1:
            raise Conflict("A run has not ended.")
        await store.team.people.purge(person.owner)
        return True

    monkeypatch.setattr(estate, "settle", later)
    for _ in range(4):
        await call.step()
    assert tries == [alice.owner, alice.owner]
    assert not await store.team.people.unsettled()


async def test_sessions_are_in_the_ledger_from_their_start_to_their_end(call, hub_server, store):
    alice = hub_server.add("alice", groups=["physics"])
    hub_server.server("alice", idle=timedelta(minutes=10))
    for _ in range(2):
        await call.step()
    now = datetime.now(UTC)
    (entry,) = (await store.team.usage.entries({alice.owner}, now - FAR, now + FAR, limit=10)).items
    assert (entry.kind, entry.name, entry.groups) == ("session", "alice", ("physics",))
    assert timedelta(minutes=9) < now - entry.started_at < timedelta(minutes=11)
    assert entry.ended_at is None
    hub_server.users["alice"].servers.clear()
    await call.step()
    (entry,) = (await store.team.usage.entries({alice.owner}, now - FAR, now + FAR, limit=10)).items
    assert entry.ended_at is not None


async def test_another_control_books_no_session_twice(call, hub_server, hub_api, store):
    alice = hub_server.add("alice")
    hub_server.server("alice")
    hub_server.server("alice", "two")
    await call.step()
    other = RollCall(
        hub=hub_api,
        rolls=Rolls(hub_api),
        team=store.team,
        estate=Estate(store.team.people),
        lead=alone,
        rules=RollRules(every_seconds=1, most_missing=3),
    )
    await other.step()
    now = datetime.now(UTC)
    page = await store.team.usage.entries({alice.owner}, now - FAR, now + FAR, limit=10)
    assert sorted(entry.object_id for entry in page.items) == ["", "two"]
