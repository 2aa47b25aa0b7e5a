"""Every service: what the caller used, and what quotas leave them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from himalia.core.errors import Conflict, InvalidInput, TooMany
from himalia.core.model import RerunDraft, Status
from himalia.core.service import Caller
from himalia.core.team import By, Notice, Person, Quota, SessionReport, TokenRequest, UsageEntry
from himalia.store.team import TeamStore
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG = timedelta(days=1)


class Rule:
    """Sets the quota of one user."""

    def __init__(self, team: TeamStore, caller: Caller) -> None:
        self.team = team
        self.caller = caller

    async def put(self, **limits: Any) -> Quota:
        quota = Quota(scope="user", subject=self.caller.owner, **limits)
        await self.team.quotas.put(quota)
        return quota


@pytest_asyncio.fixture(loop_scope="session")
async def quota(team: TeamStore, alice: Any) -> AsyncIterator[Rule]:
    """Alice's quota, until the end of the test."""
    now, owner = datetime.now(UTC), alice.caller.owner
    await team.people.seen([Person(owner=owner, name=owner, first_seen_at=now, last_seen_at=now)])
    rule = Rule(team, alice.caller)
    await rule.put()
    yield rule
    await team.quotas.remove("user", owner)


async def _entries(asker: Any) -> tuple[UsageEntry, ...]:
    now = datetime.now(UTC)
    page = await asker.service.usage.entries(asker.caller, now - LONG, now + LONG)
    return page.items


async def test_a_run_is_in_its_owners_ledger_alone(alice: Any, bob: Any) -> None:
    resources = {"cpu": 2, "memory_bytes": 2**30}
    notebook = alice.notebook("nb.ipynb", "sum(range(10**6))")
    workload = await alice.create(notebook, project="p1", resources=resources)
    run = await alice.ended(workload.last_run)
    (entry,) = await _entries(alice)
    assert entry.object_id == run.id
    assert (entry.kind, entry.project, entry.cpu) == ("job", "p1", 2)
    assert entry.memory_bytes == 2**30
    assert entry.ended_at is not None
    assert entry.started_at < entry.ended_at
    assert entry.cpu_seconds > 0
    assert await _entries(bob) == ()
    now = datetime.now(UTC)
    for by, subject in ((By.KIND, "job"), (By.PROJECT, "p1")):
        usage = alice.service.usage
        (total,) = await usage.totals(alice.caller, by, now - LONG, now + LONG)
        assert (total.subject, total.entries) == (subject, 1)
        assert total.hours == pytest.approx(
            (entry.ended_at - entry.started_at).total_seconds() / 3600
        )
        assert await usage.totals(bob.caller, by, now - LONG, now + LONG) == ()


async def test_each_try_is_in_the_ledger(alice: Any) -> None:
    notebook = alice.notebook("nb.ipynb", "1 / 0")
    workload = await alice.create(notebook, retries={"count": 1, "delay_seconds": 0})
    run = await alice.ended(workload.last_run)
    assert {entry.id for entry in await _entries(alice)} == {f"{run.id}-1", f"{run.id}-2"}


@pytest.mark.parametrize("by", [By.OWNER, By.GROUP])
async def test_what_others_use_is_not_told(alice: Any, by: By) -> None:
    now = datetime.now(UTC)
    with pytest.raises(InvalidInput) as caught:
        await alice.service.usage.totals(alice.caller, by, now - LONG, now)
    assert alice.fields(caught) == {"by"}


async def test_a_time_that_ends_before_it_begins_is_refused(alice: Any) -> None:
    now = datetime.now(UTC)
    with pytest.raises(InvalidInput):
        await alice.service.usage.entries(alice.caller, now, now - LONG)


async def test_a_run_beyond_the_quota_waits_and_says_why(alice: Any, quota: Rule) -> None:
    own = await quota.put(running=1, run_hours=100)
    first = await alice.create(alice.notebook("long.ipynb", "import time; time.sleep(30)"))
    await alice.until(first.last_run.id, Status.STARTING, Status.RUNNING)
    second = await alice.create(alice.notebook("quick.ipynb", "1"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            waiting = await alice.service.runs.get(alice.caller, second.last_run.id)
            if waiting.reason is not None:
                break
            await asyncio.sleep(0.05)
    assert (waiting.status, waiting.reason.code) == (Status.QUEUED, "quota")
    assert waiting.position == 1
    (standing,) = await alice.service.usage.standings(alice.caller)
    assert (standing.quota, standing.running) == (own, 1)
    await alice.service.runs.stop(alice.caller, first.last_run.id)
    ended = await alice.ended(second.last_run)
    assert (ended.status, ended.reason) == (Status.SUCCEEDED, None)


@pytest.mark.parametrize(
    ("limits", "resources", "field"),
    [
        ({"cpu": 2}, {"cpu": 3}, "spec.resources.cpu"),
        ({"cpu": 0.5}, {}, "spec.resources.cpu"),
        ({"memory_bytes": 2**30}, {"memory_bytes": 2**31}, "spec.resources.memory_bytes"),
    ],
)
async def test_a_run_that_alone_asks_for_more_than_its_quota_is_refused(
    alice: Any, quota: Rule, limits: dict[str, Any], resources: dict[str, Any], field: str
) -> None:
    workload = await alice.idle(resources=resources)
    await quota.put(**limits)
    for call in (
        alice.create(alice.notebook("nb.ipynb", "1"), resources=resources),
        alice.start(workload),
    ):
        with pytest.raises(InvalidInput, match="Your quota allows") as caught:
            await call
        assert alice.fields(caught) == {field}
    # Without a run it may be kept.
    await alice.create(alice.notebook("nb.ipynb", "1"), run=False, resources=resources)


async def test_when_the_months_hours_are_used_up_runs_are_refused(alice: Any, quota: Rule) -> None:
    workload = await alice.create(alice.notebook("nb.ipynb", "1"))
    run = await alice.ended(workload.last_run)
    await quota.put(run_hours=0)
    until = r"run hours a month.* anew on \d{4}-\d\d-01 at 00:00 UTC"
    for call in (
        alice.create(alice.notebook("nb.ipynb", "1")),
        alice.start(workload),
        alice.service.runs.rerun(alice.caller, run.id, RerunDraft()),
    ):
        with pytest.raises(TooMany, match=until):
            await call
    await quota.put(running=0)
    with pytest.raises(TooMany, match="allows no runs"):
        await alice.start(workload)


async def test_a_repeated_request_gets_its_answer_whatever_the_quota_became(
    alice: Any, quota: Rule
) -> None:
    draft = alice.draft(alice.notebook("nb.ipynb", "1"))
    create = alice.service.workloads.create
    first = await create(alice.caller, "job", draft, idempotency_key="once")
    await quota.put(run_hours=0)
    again = await create(alice.caller, "job", draft, idempotency_key="once")
    assert again.id == first.id


async def test_what_needs_a_hub_says_so(alice: Any) -> None:
    hub = alice.service.hub
    assert await hub.notice(alice.caller) == Notice()
    for call in (
        hub.report(alice.caller, SessionReport()),
        hub.server(alice.caller, "one"),
        hub.token(alice.caller, TokenRequest(audience="warehouse")),
    ):
        with pytest.raises(Conflict, match="needs a hub"):
            await call


async def test_a_home_is_told_with_what_is_used_of_it(alice: Any) -> None:
    use = await alice.service.usage.home(alice.caller)
    assert 0 < use.used_bytes <= use.size_bytes
    assert not use.is_rescued
