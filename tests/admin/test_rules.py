"""The notice and the quotas: who may set them, and how far."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from himalia.core.administration import Admin
from himalia.core.errors import Forbidden, HimaliaError, InvalidInput, NotFound
from himalia.core.governing_rules import LIMITS
from himalia.core.team import Notice, Quota
from tests.servers.estate import AUDITOR, BOSS, CHAIR, Estate

pytestmark = pytest.mark.asyncio


@pytest.fixture
def store_address(sqlite_address: str) -> str:
    """Which database it is makes no difference here."""
    return sqlite_address


async def test_a_notice_is_stored_announced_and_logged(estate: Estate) -> None:
    rules = estate.administration.rules
    put = await rules.put_notice(BOSS, Notice(banner="Back at noon", is_draining=True))
    assert (put.changed_by, put.banner, put.is_draining) == ("boss", "Back at noon", True)
    assert await rules.notice(CHAIR) == put
    assert estate.told == [put]
    await rules.put_notice(BOSS, Notice())
    assert [entry.action for entry in await estate.log()] == [
        "drain.start", "banner.set", "drain.end", "banner.clear",
    ]  # fmt: skip


@pytest.mark.parametrize("admin", [CHAIR, AUDITOR], ids=lambda admin: admin.name)
async def test_029_only_a_full_admin_drains_or_announces(estate: Estate, admin: Admin) -> None:
    with pytest.raises(Forbidden):
        await estate.administration.rules.put_notice(admin, Notice(is_draining=True))
    assert (await estate.store.team.notices.get()) == Notice()
    assert estate.told == []


async def test_quotas_are_set_changed_and_removed(estate: Estate) -> None:
    rules = estate.administration.rules
    await rules.put_quota(BOSS, Quota(scope="everyone", running=5))
    await rules.put_quota(BOSS, Quota(scope="group", subject="physics", run_hours=100))
    await rules.put_quota(BOSS, Quota(scope="everyone", running=7))
    assert {(quota.scope, quota.running) for quota in await rules.quotas(BOSS)} == {
        ("everyone", 7), ("group", None),
    }  # fmt: skip
    await rules.remove_quota(BOSS, "group", "physics")
    with pytest.raises(NotFound):
        await rules.remove_quota(BOSS, "group", "physics")
    actions = [entry.action for entry in await estate.log()]
    assert actions == ["quota.put", "quota.put", "quota.put", "quota.remove"]


@pytest.mark.parametrize(
    "quota", [Quota(scope="everyone", subject="ann"), Quota(scope="user", subject="")]
)
async def test_a_quota_names_whom_it_is_for(estate: Estate, quota: Quota) -> None:
    with pytest.raises(InvalidInput):
        await estate.administration.rules.put_quota(BOSS, quota)


async def test_029_a_group_admin_grants_no_more_than_the_group_has(estate: Estate) -> None:
    await estate.person("ann", "physics")
    rules = estate.administration.rules
    await rules.put_quota(BOSS, Quota(scope="everyone", running=3, cpu=2))
    await rules.put_quota(BOSS, Quota(scope="group", subject="physics", running=10))
    await rules.put_quota(CHAIR, Quota(scope="user", subject="ann", running=10, cpu=2))
    for more in (
        Quota(scope="user", subject="ann", running=11, cpu=2),
        Quota(scope="user", subject="ann", running=None, cpu=2),
        # Where the group sets no limit, everyone's holds.
        Quota(scope="user", subject="ann", running=1, cpu=2.5),
    ):
        with pytest.raises(Forbidden):
            await rules.put_quota(CHAIR, more)


async def test_029_a_group_admin_sets_neither_their_own_nor_a_groups(estate: Estate) -> None:
    await estate.person("chair", "physics")
    for quota in (
        Quota(scope="user", subject="chair", running=1),
        Quota(scope="group", subject="physics", running=1),
        Quota(scope="everyone", running=1),
    ):
        with pytest.raises(Forbidden):
            await estate.administration.rules.put_quota(CHAIR, quota)
    assert await estate.log() == []


async def test_029_removing_a_quota_grants_no_more_either(estate: Estate) -> None:
    await estate.person("ann", "physics")
    rules = estate.administration.rules
    await rules.put_quota(BOSS, Quota(scope="group", subject="physics", running=10))
    await rules.put_quota(BOSS, Quota(scope="user", subject="ann", running=2))
    with pytest.raises(Forbidden):
        await rules.remove_quota(CHAIR, "user", "ann")
    await rules.put_quota(BOSS, Quota(scope="everyone", running=4))
    await rules.remove_quota(CHAIR, "user", "ann")


async def test_030_users_outside_have_no_quota_for_a_group_admin(estate: Estate) -> None:
    await estate.person("bob", "chemistry")
    await estate.person("ann", "physics")
    rules = estate.administration.rules
    for subject in ("bob", "ann"):
        await rules.put_quota(BOSS, Quota(scope="user", subject=subject, running=2))
    await rules.put_quota(BOSS, Quota(scope="group", subject="chemistry", running=2))
    for name in ("bob", "nobody"):
        with pytest.raises(NotFound) as caught:
            await rules.put_quota(CHAIR, Quota(scope="user", subject=name, running=1))
        assert name not in caught.value.message
    with pytest.raises(NotFound):
        await rules.remove_quota(CHAIR, "user", "bob")
    assert [quota.subject for quota in await rules.quotas(CHAIR)] == ["ann"]


LIMIT = st.none() | st.integers(0, 8)
QUOTA = st.fixed_dictionaries(dict.fromkeys(LIMITS, LIMIT))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(everyone=QUOTA, group=QUOTA, wanted=st.lists(QUOTA | st.none(), max_size=4))
async def test_029_whatever_a_group_admin_does_nobody_has_more(
    estate: Estate,
    everyone: dict[str, int | None],
    group: dict[str, int | None],
    wanted: list[dict[str, int | None] | None],
) -> None:
    await estate.person("ann", "physics")
    rules = estate.administration.rules
    await rules.put_quota(BOSS, Quota.model_validate({"scope": "everyone", **everyone}))
    await rules.put_quota(
        BOSS, Quota.model_validate({"scope": "group", "subject": "physics", **group})
    )
    for limits in wanted:
        try:
            if limits is None:
                await rules.remove_quota(CHAIR, "user", "ann")
            else:
                asked = {"scope": "user", "subject": "ann", **limits}
                await rules.put_quota(CHAIR, Quota.model_validate(asked))
        except HimaliaError:
            continue
    held = [quota for quota in await rules.quotas(BOSS) if quota.scope == "user"]
    for quota in held:
        for name in LIMITS:
            most = group[name] if group[name] is not None else everyone[name]
            has = getattr(quota, name)
            assert most is None or (has is not None and has <= most)
    for quota in held:
        await rules.remove_quota(BOSS, "user", quota.subject)
