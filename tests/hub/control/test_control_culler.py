"""Which servers are stopped, by whom, and what is kept of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from himalia.core.administration import AuditQuery
from himalia.core.errors import Forbidden, NotFound
from himalia.core.loop import alone
from himalia.core.service import Caller
from himalia.core.team import Person, SessionReport, TokenRequest
from himalia_hub.control.culler import Culler
from himalia_hub.control.roll import Rolls
from himalia_hub.control.sessions import HubServers, LocalHub, Sessions
from himalia_hub.control.verdicts import SILENT_SECONDS, Rules
from tests.hub.control.conftest import queued_run

pytestmark = pytest.mark.asyncio
LONG = timedelta(seconds=3600 + SILENT_SECONDS + 60)


class Broker:
    """Gives what it is asked for."""

    async def token(self, name, audience):
        return name, audience


@pytest.fixture
def sessions(hub_api, store):
    rules = Rules(idle_seconds=3600, exempt_groups=("staff",))
    return Sessions(hub=hub_api, rolls=Rolls(hub_api), team=store.team, rules=rules)


@pytest.fixture
def culler(hub_api, sessions, store):
    return Culler(
        hub=hub_api,
        sessions=sessions,
        notices=store.team.notices,
        lead=alone,
        every_seconds=0.001,
    )


@pytest.fixture
def hub(store, sessions):
    return LocalHub(team=store.team, sessions=sessions, broker=Broker())


def caller(user, server=None):
    return Caller(owner=user.owner, root="/", name=user.name, server=server)


async def test_idle_servers_are_stopped_and_others_are_not(culler, hub_server, store):
    for name, groups in (("idle", ()), ("busy", ()), ("boss", ("staff",))):
        hub_server.add(name, groups=groups)
    hub_server.server("idle", idle=LONG)
    hub_server.server("idle", "fresh")
    hub_server.server("busy")
    hub_server.server("boss", idle=LONG)
    await culler.step()
    assert hub_server.stopped == [("idle", "")]
    (entry,) = (await store.team.notices.audit(AuditQuery(), None)).items
    assert (entry.actor, entry.action, entry.name) == ("control", "server.stop", "idle")
    assert "Nothing has happened" in entry.details["why"]


async def test_what_a_session_tells_keeps_its_server(culler, hub, hub_server):
    user = hub_server.add("alice")
    hub_server.server("alice", idle=LONG)
    state = await hub.report(caller(user, ""), SessionReport(busy_kernels=2))
    assert (state.verdict, state.busy_kernels) == ("kept", 2)
    await culler.step()
    assert hub_server.stopped == []
    await hub.report(caller(user, ""), SessionReport())
    await culler.step()
    assert hub_server.stopped == [("alice", "")]


async def test_runs_keep_their_owners_server(culler, hub, hub_server, store):
    user = hub_server.add("alice")
    hub_server.add("bob")
    for name in ("alice", "bob"):
        hub_server.server(name, idle=LONG)
    await queued_run(store, user.owner)
    now = datetime.now(UTC)
    await store.holds.claim("me", now=now, lease_until=now + timedelta(minutes=1), limit=10)
    await culler.step()
    assert hub_server.stopped == [("bob", "")]
    assert "1 run is on" in (await hub.server(caller(user), "")).why


async def test_a_server_that_woke_up_meanwhile_is_not_stopped(culler, hub_server, sessions):
    hub_server.add("alice")
    hub_server.server("alice", idle=LONG)
    await sessions.rolls.within(0)
    hub_server.server("alice")
    culler._every = 60
    await culler.step()
    assert hub_server.stopped == []


async def test_a_server_tells_of_itself_alone(hub, hub_server):
    user = hub_server.add("alice")
    hub_server.server("alice")
    hub_server.server("alice", "two")
    with pytest.raises(Forbidden):
        await hub.report(caller(user, ""), SessionReport(server_name="two"))


async def test_026_nobody_sees_anothers_server(hub, hub_server):
    hub_server.add("alice")
    hub_server.server("alice")
    bob = hub_server.add("bob")
    with pytest.raises(NotFound):
        await hub.server(caller(bob), "")
    with pytest.raises(NotFound):
        await hub.report(caller(bob), SessionReport())
    # Not with her name, either: the id counts.
    with pytest.raises(NotFound):
        await hub.server(Caller(owner=bob.owner, root="/", name="alice"), "")


async def test_tokens_come_from_the_broker_in_the_callers_name(hub, hub_server):
    user = hub_server.add("alice")
    assert await hub.token(caller(user), TokenRequest(audience="lake")) == ("alice", "lake")


async def test_admins_see_servers_with_one_question(hub_api, hub_server, sessions, store):
    hub_server.has_directory = True
    users = [hub_server.add(f"user-{number}") for number in range(20)]
    for user in users[:5]:
        hub_server.server(user.name)
    now = datetime.now(UTC)
    people = [
        Person(owner=user.owner, name=user.name, first_seen_at=now, last_seen_at=now)
        for user in users
    ]
    servers = HubServers(hub=hub_api, sessions=sessions)
    states = await servers.states(people)
    assert set(states) == {user.owner for user in users[:5]}
    assert await servers.count(None) == 5
    assert await servers.count({users[0].owner, users[9].owner}) == 1
    assert hub_server.asked == {"himalia/directory": 1}
    await servers.stop(people[0], "")
    assert hub_server.stopped == [("user-0", "")]
