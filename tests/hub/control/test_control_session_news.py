"""Sessions that begin and end between two looks at the hub are in the ledger all the same."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from himalia.core.errors import Unavailable
from himalia.core.names import owner_id
from himalia_hub.control.hub_api import HubServer, HubUser
from himalia_hub.control.roll import Roll
from himalia_hub.control.session_ledger import SessionLedger, SessionNews
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio
CREATED = datetime(2026, 1, 1, tzinfo=UTC)
OWNER = owner_id("alice", CREATED)
NOW = datetime.now(UTC)


def told(started, *, is_on):
    """Say what the hub says."""
    said = {
        "name": "alice",
        "created": f"{CREATED.replace(tzinfo=None).isoformat()}Z",
        "groups": ["physics"],
        "server": "",
        "started": f"{started.replace(tzinfo=None).isoformat()}Z",
        "is_on": is_on,
    }
    return json.dumps(said)


def roll(started=None, *, at=NOW):
    """Make a list in which Alice's server is on, if it is said since when."""
    servers = {} if started is None else {"": HubServer(started=started)}
    alice = HubUser(name="alice", created=CREATED, groups=("physics",), servers=servers)
    return Roll(users={OWNER: alice}, at=at, at_mono=0.0)


@pytest.fixture
def ledger(store):
    return SessionLedger(store.team.usage)


@pytest_asyncio.fixture
async def news(ledger):
    made = SessionNews(ledger)
    task = asyncio.create_task(made.loop.run())
    yield made
    await made.loop.stop()
    await task


async def entries(store, *, count):
    """Return the ledger's lines, once there are so many and all of them have an end."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            page = await store.team.usage.entries(
                None, NOW - timedelta(days=2), NOW + timedelta(days=2), limit=10
            )
            if len(page.items) >= count and all(one.ended_at for one in page.items):
                return page.items
            await asyncio.sleep(0.02)


async def test_a_session_that_no_roll_ever_saw_is_booked_once(news, ledger, store):
    started = datetime.now(UTC) - timedelta(seconds=3)
    news.told(told(started, is_on=True))
    news.told(told(started, is_on=False))
    (entry,) = await entries(store, count=1)
    assert (entry.owner, entry.name, entry.groups) == (OWNER, "alice", ("physics",))
    assert (entry.kind, entry.title, entry.started_at) == ("session", "JupyterLab", started)
    assert 3 <= (entry.ended_at - started).total_seconds() < PATIENCE_SECONDS
    # Whatever is told again, or listed late, changes nothing.
    news.told(told(started, is_on=True))
    news.told(told(started, is_on=False))
    await ledger.book(roll(started))
    await ledger.book(roll())
    assert await entries(store, count=1) == (entry,)


async def test_an_end_alone_is_enough(news, store):
    """As after control was away at the beginning."""
    started = NOW - timedelta(hours=1)
    news.told(told(started, is_on=False))
    (entry,) = await entries(store, count=1)
    assert (entry.ended_at - started).total_seconds() >= 3600


async def test_what_a_roll_saw_is_the_same_session(news, ledger, store):
    started = NOW - timedelta(minutes=10)
    await ledger.book(roll(started))
    news.told(told(started, is_on=True))
    news.told(told(started, is_on=False))
    assert len(await entries(store, count=1)) == 1


async def test_a_roll_from_before_a_session_does_not_end_it(ledger, store):
    started = NOW + timedelta(seconds=1)
    await ledger.book(roll(started, at=NOW + timedelta(seconds=2)))
    await ledger.book(roll(at=NOW))
    assert len(await store.team.usage.open_sessions()) == 1
    await ledger.book(roll(at=NOW + timedelta(minutes=1)))
    assert await store.team.usage.open_sessions() == ()


async def test_what_is_heard_while_the_store_is_away_is_booked_then(
    news, ledger, store, monkeypatch
):
    book, failures = ledger.book_news, 3

    async def away(*one):
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise Unavailable("The store is away.")
        await book(*one)

    monkeypatch.setattr(ledger, "book_news", away)
    started = [NOW - timedelta(hours=hours) for hours in (3, 2, 1)]
    for one in started:
        news.told(told(one, is_on=False))
    assert sorted(one.started_at for one in await entries(store, count=3)) == started


async def test_what_cannot_be_read_is_left_alone(news, store):
    for text in ("", "{}", "[]", '{"name": 1}', told(NOW, is_on=True).replace("alice", "")):
        news.told(text)
    news.told(told(NOW - timedelta(minutes=1), is_on=False))
    assert len(await entries(store, count=1)) == 1
