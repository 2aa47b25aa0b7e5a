"""What everybody used, summed and exported."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from himalia.core.team import By, Person, UsageEntry
from tests.servers.estate import BOSS, CHAIR, Estate

pytestmark = pytest.mark.asyncio

SINCE = datetime(2026, 3, 1, tzinfo=UTC)
UNTIL = datetime(2026, 4, 1, tzinfo=UTC)


@pytest.fixture
def store_address(sqlite_address: str) -> str:
    """Which database it is makes no difference here."""
    return sqlite_address


async def used(estate: Estate, person: Person, hours: float, *, at: datetime = SINCE) -> None:
    """Book a session."""
    entry_id = f"ses-{person.name}-{at:%d}-{hours}"
    usage = estate.store.team.usage
    await usage.begin(
        UsageEntry(
            id=entry_id,
            kind="session",
            owner=person.owner,
            name=person.name,
            groups=person.groups,
            object_id="",
            started_at=at,
        )
    )
    await usage.end(entry_id, at + timedelta(hours=hours))


async def test_usage_is_summed_by_user_and_group(estate: Estate) -> None:
    ann = await estate.person("ann", "physics", "lab")
    bob = await estate.person("bob", "chemistry")
    await used(estate, ann, 3)
    await used(estate, bob, 2)
    await used(estate, bob, 50, at=UNTIL)
    ledger = estate.administration.ledger
    by_owner = await ledger.totals(BOSS, By.OWNER, SINCE, UNTIL)
    assert [(total.name, total.hours) for total in by_owner] == [("ann", 3.0), ("bob", 2.0)]
    by_group = await ledger.totals(BOSS, By.GROUP, SINCE, UNTIL)
    assert {total.subject: total.hours for total in by_group} == {
        "physics": 3.0, "lab": 3.0, "chemistry": 2.0,
    }  # fmt: skip


async def test_027_a_sum_that_was_kept_is_not_shown_to_somebody_else(estate: Estate) -> None:
    await used(estate, await estate.person("ann", "physics", "lab"), 3)
    await used(estate, await estate.person("bob", "chemistry"), 2)
    ledger = estate.administration.ledger
    for by in By:
        everything = await ledger.totals(BOSS, by, SINCE, UNTIL)
        assert sum(total.hours for total in everything) >= 5
        theirs = await ledger.totals(CHAIR, by, SINCE, UNTIL)
        assert sum(total.hours for total in theirs) == 3
        assert {total.subject for total in theirs}.isdisjoint({"chemistry", "lab"})


async def test_every_line_is_exported_and_only_those_of_members_to_a_group_admin(
    estate: Estate,
) -> None:
    ann = await estate.person("ann", "physics", "lab")
    bob = await estate.person("bob", "chemistry")
    for day in range(1, 29):
        at = SINCE.replace(day=day)
        for hour in range(4):
            await used(estate, ann, 0.1 + hour, at=at)
            await used(estate, bob, 0.1 + hour, at=at)
    ledger = estate.administration.ledger
    every = [entry async for entry in ledger.entries(BOSS, SINCE, UNTIL)]
    assert len({entry.id for entry in every}) == len(every) == 224
    theirs = [entry async for entry in ledger.entries(CHAIR, SINCE, UNTIL)]
    assert {(entry.name, entry.groups) for entry in theirs} == {("ann", ("physics",))}
    assert len(theirs) == 112
