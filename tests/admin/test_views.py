"""What admins see, and what group admins do not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from himalia.core.administration import (
    Admin,
    AuditQuery,
    EveryRunQuery,
    EveryWorkloadQuery,
    PersonQuery,
)
from himalia.core.errors import Forbidden
from himalia.core.governing import LocalAdministration
from himalia.core.isolation import Checked
from himalia.core.model import Status
from himalia.core.names import new_id
from himalia.core.spec import Notification
from himalia.core.team import (
    AuditEntry,
    By,
    IsolationFinding,
    IsolationReport,
    Quota,
    ServerState,
)
from tests.servers.estate import AUDITOR, BOSS, CHAIR, Estate
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.stalls import allowed

pytestmark = pytest.mark.asyncio


async def two_groups(estate: Estate) -> None:
    """Let ann of physics and bob of chemistry have something of everything."""
    for name, group in (("ann", "physics"), ("bob", "chemistry")):
        person = await estate.person(name, group, "lab")
        estate.servers.on[person.owner] = (ServerState(why=f"{name} works"),)
        workload = await estate.workload(person, f"sums of {name}", project=f"{name}s")
        await estate.run(workload, Status.FAILED)
        await estate.run(workload)
        await estate.administration.rules.put_quota(
            BOSS, Quota(scope="user", subject=name, running=9)
        )


async def test_an_admin_sees_everybody_with_servers_and_counts(estate: Estate) -> None:
    await two_groups(estate)
    page = await estate.administration.views.people(BOSS, PersonQuery())
    assert [(row.person.name, row.queued, row.workloads) for row in page.items] == [
        ("ann", 1, 1), ("bob", 1, 1),
    ]  # fmt: skip
    assert [server.why for row in page.items for server in row.servers] == [
        "ann works", "bob works",
    ]  # fmt: skip
    overview = await estate.administration.views.overview(BOSS)
    assert (overview.people, overview.servers, overview.queued, overview.failed_day) == (2, 2, 2, 2)


async def test_runs_are_filtered_by_status_owner_group_and_words(estate: Estate) -> None:
    await two_groups(estate)
    views = estate.administration.views
    failed = await views.runs(BOSS, EveryRunQuery(statuses=(Status.FAILED,)))
    assert {row.name for row in failed.items} == {"ann", "bob"}
    assert all(row.run.reason and row.run.reason.next_step for row in failed.items)
    for query in (
        EveryRunQuery(group="physics"),
        EveryRunQuery(search="ANN"),
        EveryRunQuery(owner=failed.items[-1].run.owner),
    ):
        page = await views.runs(BOSS, query)
        assert len({row.name for row in page.items}) == 1, query
        assert len(page.items) == 2


async def test_027_a_group_admin_learns_nothing_of_others(estate: Estate) -> None:
    await two_groups(estate)
    views, rules = estate.administration.views, estate.administration.rules
    now = datetime.now(UTC)
    seen: list[Any] = [
        await views.people(CHAIR, PersonQuery()),
        await views.people(CHAIR, PersonQuery(search="bob")),
        await views.people(CHAIR, PersonQuery(group="chemistry")),
        await views.runs(CHAIR, EveryRunQuery()),
        await views.runs(CHAIR, EveryRunQuery(search="bob")),
        await views.runs(CHAIR, EveryRunQuery(group="chemistry")),
        await views.workloads(CHAIR, EveryWorkloadQuery()),
        await views.workloads(CHAIR, EveryWorkloadQuery(group="lab")),
        await views.audit(CHAIR, AuditQuery()),
        await views.audit(CHAIR, AuditQuery(search="bob")),
        await rules.quotas(CHAIR),
        await estate.administration.orphans.all(CHAIR),
        *[
            await estate.administration.ledger.totals(CHAIR, by, now - timedelta(days=1), now)
            for by in By
        ],
    ]
    text = " ".join(str(found) for found in seen)
    assert "ann" in text
    assert "bob" not in text
    assert "chemistry" not in text
    assert "'lab'" not in text
    overview = await views.overview(CHAIR)
    assert (overview.people, overview.servers, overview.queued, overview.failed_day) == (1, 1, 1, 1)


async def test_secrets_of_notifications_are_not_shown_to_admins(estate: Estate) -> None:
    notify = (Notification(webhook="https://example.org/hook", secret="s3cret-s3cret"),)
    await estate.workload(await estate.person("ann"), notify=notify)
    page = await estate.administration.views.workloads(BOSS, EveryWorkloadQuery())
    assert page.items[0].workload.spec.notify[0].webhook is not None
    assert "s3cret" not in repr(page)


async def test_changes_come_soon_and_once(estate: Estate) -> None:
    ann = await estate.person("ann")
    changes = cast("Any", estate.administration.views.changes(BOSS))
    async with aclosing(changes):
        first = await anext(changes)
        coming = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(1.2)
        assert not coming.done()
        await estate.run(await estate.workload(ann))
        begun = time.monotonic()
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await coming > first
        assert time.monotonic() - begun < allowed(5, begun)


async def test_a_page_costs_the_same_number_of_statements_whoever_is_on_it(
    estate: Estate, count_statements: Callable[[], int]
) -> None:
    views = estate.administration.views

    async def statements(admin: Any) -> list[int]:
        counts = []
        for ask in (
            lambda: views.overview(admin),
            lambda: views.people(admin, PersonQuery(limit=200)),
            lambda: views.runs(admin, EveryRunQuery(limit=200)),
            lambda: views.workloads(admin, EveryWorkloadQuery(limit=200)),
            lambda: views.audit(admin, AuditQuery(limit=200)),
        ):
            before = count_statements()
            await ask()
            counts.append(count_statements() - before)
        return counts

    await two_groups(estate)
    few = await statements(BOSS), await statements(CHAIR)
    for index in range(30):
        person = await estate.person(f"user{index}", "physics")
        await estate.run(await estate.workload(person), Status.SUCCEEDED)
    assert (await statements(BOSS), await statements(CHAIR)) == few
    assert max(map(max, few)) <= 12


@pytest.mark.parametrize("admin", [BOSS, AUDITOR], ids=lambda admin: admin.name)
async def test_076_admins_of_the_whole_hub_are_told_what_the_last_self_test_found(
    estate: Estate, admin: Admin
) -> None:
    views = estate.administration.views
    never = await views.isolation(admin)
    assert (never.state, never.checked_at) == ("never", None)
    assert "helm test himalia" in never.next_step
    right = IsolationFinding(name="hub", title="the hub", is_open=True, is_right=True)
    wrong = IsolationFinding(name="nfs", title="the homes", is_open=True, is_right=False)
    for n, (report, state, word) in enumerate(
        (
            (IsolationReport(findings=(right,)), "apart", "after each change"),
            (IsolationReport(findings=(right, wrong)), "open", "NetworkPolicies"),
            (IsolationReport(error="No pod came up."), "failed", "nothing is known"),
            (IsolationReport(), "failed", "nothing is known"),
        )
    ):
        at = datetime(2026, 3, 1 + n, tzinfo=UTC)
        entry = AuditEntry(id=new_id("aud"), at=at, actor="helm test", action="isolation.test")
        await estate.store.team.checks.put(Checked(at=at, report=report), entry)
        found = await views.isolation(admin)
        assert (found.state, found.checked_at, found.report) == (state, at, report)
        assert word in found.next_step
        assert "helm test himalia" in found.next_step
    assert len(await estate.log()) == 4


async def test_029_group_admins_are_not_told_how_far_the_whole_hub_is_open(estate: Estate) -> None:
    with pytest.raises(Forbidden):
        await estate.administration.views.isolation(CHAIR)


async def test_a_hub_that_is_on_no_cluster_has_nothing_to_try_out(estate: Estate) -> None:
    elsewhere = LocalAdministration(
        parts=estate.service.parts, team=estate.store.team, servers=estate.servers
    )
    assert (await elsewhere.views.isolation(BOSS)).state == "none"
