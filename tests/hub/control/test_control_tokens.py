"""Whose a token is, and for how long control believes it."""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import time
from datetime import UTC, datetime

import pytest

from himalia.core.errors import Forbidden, NotFound, Unauthenticated, Unavailable
from himalia_hub.control import roll
from himalia_hub.control.roll import Rolls
from himalia_hub.control.run_tokens import RunTokens
from himalia_hub.control.scopes import check
from himalia_hub.control.sessions import Sessions
from himalia_hub.control.tokens import Tokens, TokenTimes
from himalia_hub.control.verdicts import Rules
from tests.hub.control.conftest import queued_run

pytestmark = pytest.mark.asyncio
QUICK = TokenTimes(told=0.3, untold=0.3, unknown=0.2, reports=60)


@pytest.fixture
def tokens(hub_api, store):
    return Tokens(
        hub_api,
        team=lambda: store.team,
        met=lambda person: store.team.people.seen((person,)),
        times=QUICK,
    )


async def test_a_token_speaks_for_its_user_by_an_id_that_no_other_user_has(tokens, hub_server):
    alice = hub_server.add("alice", groups=["physics"])
    identity = await tokens.identify(hub_server.token("alice"))
    assert (identity.name, identity.owner) == ("alice", alice.owner)
    assert identity.groups == ("physics",)
    assert identity.server is None


async def test_a_servers_token_says_which_server_it_is(tokens, hub_server):
    hub_server.add("alice")
    scopes = ("access:servers!server=alice/two", "read:users!user=alice")
    assert (await tokens.identify(hub_server.token("alice", *scopes))).server == "two"


async def test_answers_are_remembered_and_asked_for_once(tokens, hub_server):
    hub_server.add("alice")
    token = hub_server.token("alice")
    await asyncio.gather(*(tokens.identify(token) for _ in range(50)))
    assert hub_server.asked["user"] == 1
    assert (tokens.counts.misses, tokens.counts.hits) == (50, 0)
    await tokens.identify(token)
    assert hub_server.asked["user"] == 1


async def test_008_a_token_that_ended_is_refused_in_time(tokens, hub_server):
    hub_server.add("alice")
    token = hub_server.token("alice")
    await tokens.identify(token)
    del hub_server.tokens[token]
    await asyncio.sleep(QUICK.untold)
    with pytest.raises(Unauthenticated):
        await tokens.identify(token)


async def test_008_what_the_hub_tells_takes_effect_at_once(tokens, hub_server):
    hub_server.add("alice")
    token = hub_server.token("alice")
    await tokens.identify(token, is_report=True)
    del hub_server.tokens[token]
    tokens.forget("bob")
    await tokens.identify(token, is_report=True)
    tokens.forget("alice")
    with pytest.raises(Unauthenticated):
        await tokens.identify(token, is_report=True)


async def test_answers_are_good_for_ten_seconds_at_most():
    times = TokenTimes()
    assert max(times.told, times.untold, times.unknown) <= 10
    # Where nobody tells of changes: the first answer, and then a stream's next check.
    assert 2 * times.untold <= 10


async def test_reports_cost_the_hub_nothing(tokens, hub_server):
    hub_server.add("alice")
    token = hub_server.token("alice")
    await tokens.identify(token, is_report=True)
    await asyncio.sleep(QUICK.untold)
    await tokens.identify(token, is_report=True)
    assert hub_server.asked["user"] == 1


async def test_the_check_of_a_servers_token_says_how_the_server_is(hub_api, hub_server, store):
    rolls = Rolls(hub_api)
    tokens = Tokens(hub_api, team=lambda: store.team, saw=rolls.saw)
    sessions = Sessions(hub=hub_api, rolls=rolls, team=store.team, rules=Rules(idle_seconds=3600))
    alice = hub_server.add("alice")
    hub_server.server("alice")
    await tokens.identify(hub_server.token("alice"))
    assert (await sessions.find(alice.owner, "alice", "")).ready
    assert hub_server.asked == {"user": 1}
    # Of another server nothing was said, and what a roll says later counts more.
    with pytest.raises(NotFound):
        await sessions.find(alice.owner, "alice", "two")
    assert hub_server.asked == {"user": 1, "users/alice": 1}
    hub_server.users["alice"].servers.clear()
    await rolls.within(0)
    with pytest.raises(NotFound):
        await sessions.find(alice.owner, "alice", "")


async def test_013_no_number_of_users_fills_the_memory(hub_api, monkeypatch):
    monkeypatch.setattr(roll, "_MOST_SEEN", 10)
    rolls = Rolls(hub_api)
    for number in range(30):
        rolls.saw(f"owner-{number}", {})
    assert len(rolls._seen) == 10


@pytest.mark.parametrize("token", ["", "x" * 5000, "t\u00f6ken", "hmr_unknown", "nobody"])
async def test_what_is_no_token_is_refused(tokens, token):
    with pytest.raises(Unauthenticated):
        await tokens.identify(token)


async def test_unknown_tokens_are_remembered_for_a_moment(tokens, hub_server):
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await tokens.identify("nobody")
    assert hub_server.asked["user"] == 1


async def test_013_no_number_of_tokens_fills_the_memory(hub_api, hub_server, store):
    tokens = Tokens(hub_api, team=lambda: store.team, limit=10)
    for number in range(30):
        with pytest.raises(Unauthenticated):
            await tokens.identify(f"guess-{number}")
    assert len(tokens._entries) == 10


async def test_a_hub_that_does_not_answer_is_unavailable_and_forgets_nobody(tokens, hub_server):
    hub_server.add("alice")
    token = hub_server.token("alice")
    await tokens.identify(token)
    hub_server.is_broken = True
    await asyncio.sleep(QUICK.untold)
    with pytest.raises(Unavailable):
        await tokens.identify(token)
    hub_server.is_broken = False
    await tokens.identify(token)


async def test_a_token_that_may_not_say_when_its_user_was_made_is_looked_up(tokens, hub_server):
    alice = hub_server.add("alice", groups=["physics"])
    hub_server.says_created = False
    identity = await tokens.identify(hub_server.token("alice"))
    assert (identity.owner, identity.groups) == (alice.owner, ("physics",))


async def test_026_a_new_user_of_the_same_name_is_never_taken_for_the_old_one(
    tokens, hub_server, monkeypatch
):
    hub_server.add("alice")
    hub_server.says_created = False
    token = hub_server.token("alice")
    ask = tokens._hub.user

    async def replaced(name):
        # Between the two questions.
        hub_server.remove("alice")
        hub_server.add("alice")
        return await ask(name)

    monkeypatch.setattr(tokens._hub, "user", replaced)
    with pytest.raises(Unauthenticated):
        await tokens.identify(token)


async def test_whoever_comes_is_known_before_anything_of_theirs_is_stored(
    tokens, hub_server, store
):
    alice = hub_server.add("alice", groups=["physics"])
    await tokens.identify(hub_server.token("alice"))
    person = await store.team.people.get(alice.owner)
    assert (person.name, person.groups) == ("alice", ("physics",))


async def test_a_services_token_owns_nothing(tokens, hub_server):
    assert (await tokens.identify(hub_server.service_token)).owner == ""


async def test_a_runs_token_is_its_owners_and_ends_with_the_run(tokens, hub_server, store):
    alice = hub_server.add("alice")
    await tokens.identify(hub_server.token("alice"))
    run = await queued_run(store, alice.owner)
    env = await RunTokens(store.team.grants, "http://127.0.0.1:1/services/himalia/").env(run)
    assert env["HIMALIA_CONTROL_URL"] == "http://127.0.0.1:1/services/himalia/"
    identity = await tokens.identify(env["HIMALIA_TOKEN"])
    assert (identity.owner, identity.name) == (alice.owner, "alice")
    assert hub_server.asked["user"] == 1
    check(identity.scopes, "himalia:tokens", "write", name="alice")
    check(identity.scopes, "himalia:runs", "read", name="alice")
    for resource in ("jobs", "runs", "schedules", "sessions"):
        with pytest.raises(Forbidden):
            check(identity.scopes, f"himalia:{resource}", "write", name="alice")
    await store.team.people.gone(alice.owner, datetime.now(UTC))
    with pytest.raises(Unauthenticated):
        await tokens.identify(env["HIMALIA_TOKEN"])


async def test_a_runs_token_is_kept_nowhere_as_it_is(tokens, store, tmp_path):
    run = await queued_run(store, "ann")
    env = await RunTokens(store.team.grants, "http://127.0.0.1:1/").env(run)
    content = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert env["HIMALIA_TOKEN"].encode() not in content
    assert hashlib.sha256(env["HIMALIA_TOKEN"].encode()).hexdigest().encode() in content


async def test_a_check_of_a_known_token_costs_less_than_a_millisecond(hub_api, hub_server, store):
    tokens = Tokens(hub_api, team=lambda: store.team)
    hub_server.add("alice")
    token = hub_server.token("alice")
    await tokens.identify(token)
    times = []
    for _ in range(500):
        began = time.perf_counter()
        await tokens.identify(token)
        times.append(time.perf_counter() - began)
    assert statistics.median(times) < 0.001
