"""The notice and the quotas, and how far group admins may set them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from typing_extensions import override

from himalia.core.administration import Admin, Rules
from himalia.core.errors import Forbidden, InvalidInput, NotFound
from himalia.core.governing_parts import Deed, Office, is_full, may_write, reaches
from himalia.core.team import Notice, Person, Quota

LIMITS = ("running", "cpu", "memory_bytes", "run_hours")
"""What a quota limits."""


class LocalRules(Rules):
    """Over a store."""

    def __init__(self, office: Office) -> None:
        self._office = office

    @override
    async def notice(self, admin: Admin) -> Notice:
        return await self._office.team.notices.get()

    @override
    async def put_notice(self, admin: Admin, notice: Notice) -> Notice:
        is_full(admin)
        before = await self._office.team.notices.get()
        put = notice.model_copy(update={"changed_at": datetime.now(UTC), "changed_by": admin.name})
        for action in _told(before, put):
            details = {"banner": put.banner} if action.startswith("banner") else {}
            async with self._office.noted(admin, Deed(action=action, details=details)):
                await self._office.team.notices.put(put)
        await self._office.announce(put)
        # What waited for the end of a drain can start.
        self._office.parts.reconciler.wake()
        self._office.parts.ticker.loop.wake()
        return put

    @override
    async def quotas(self, admin: Admin) -> tuple[Quota, ...]:
        quotas = await self._office.team.quotas.all()
        if admin.groups is None:
            return quotas
        people: Sequence[Person] = ()
        if any(quota.scope == "user" for quota in quotas):
            people = await self._office.team.people.present()
        names = {person.name for person in people if reaches(admin, person)}
        return tuple(quota for quota in quotas if _concerns(quota, admin.groups, names))

    @override
    async def put_quota(self, admin: Admin, quota: Quota) -> Quota:
        may_write(admin)
        if (quota.scope == "everyone") != (quota.subject == ""):
            raise InvalidInput.of("subject", "name the group or the user; nobody for everyone")
        person = await self._user(admin, quota)
        quotas = await self._office.team.quotas.all()
        self._check(admin, person, quota, quotas)
        limits = {name: getattr(quota, name) for name in LIMITS}
        async with self._office.noted(admin, _deed("quota.put", quota, person, **limits)):
            await self._office.team.quotas.put(quota)
        self._office.parts.reconciler.wake()
        return quota

    @override
    async def remove_quota(self, admin: Admin, scope: str, subject: str) -> None:
        may_write(admin)
        quotas = await self._office.team.quotas.all()
        quota = _of(quotas, scope, subject)
        if quota is None:
            raise NotFound("There is no such quota.")
        person = await self._user(admin, quota)
        # Without one of their own, everyone's holds for them.
        then = _of(quotas, "everyone", "") or Quota(scope="everyone")
        self._check(admin, person, quota.model_copy(update=_limits(then)), quotas)
        async with self._office.noted(admin, _deed("quota.remove", quota, person)):
            await self._office.team.quotas.remove(scope, subject)
        self._office.parts.reconciler.wake()

    async def _user(self, admin: Admin, quota: Quota) -> Person | None:
        """Return whose quota it is, if it is one user's (:raises NotFound: outside)."""
        if quota.scope != "user":
            is_full(admin)
            return None
        try:
            person = await self._office.team.people.named(quota.subject)
        except NotFound:
            if admin.groups is None:
                return None  # Set before they come for the first time, or of one who has gone.
            raise NotFound("There is no such person.") from None
        if not reaches(admin, person):
            raise NotFound("There is no such person.")
        return person

    def _check(
        self, admin: Admin, person: Person | None, quota: Quota, quotas: Sequence[Quota]
    ) -> None:
        """Refuse what a group admin may not grant (:raises Forbidden:)."""
        if admin.groups is None or person is None:
            return
        if person.name == admin.name:
            raise Forbidden("Your own quota is set by an admin of the whole hub.")
        groups = admin.groups.intersection(person.groups)
        of_groups = [_of(quotas, "group", group) for group in sorted(groups)]
        everyone = _of(quotas, "everyone", "")
        for name in LIMITS:
            limits = _set(of_groups, name) or _set((everyone,), name)
            wanted = getattr(quota, name)
            if limits and (wanted is None or wanted > min(limits)):
                raise Forbidden(
                    f"{name}: you may grant at most {min(limits):g}. An admin of the whole hub "
                    "may grant more."
                )


def _set(quotas: Iterable[Quota | None], name: str) -> list[float]:
    found = [getattr(quota, name) for quota in quotas if quota is not None]
    return [limit for limit in found if limit is not None]


def _limits(quota: Quota) -> dict[str, object]:
    return {name: getattr(quota, name) for name in LIMITS}


def _of(quotas: Iterable[Quota], scope: str, subject: str) -> Quota | None:
    return next(
        (quota for quota in quotas if quota.scope == scope and quota.subject == subject), None
    )


def _concerns(quota: Quota, groups: frozenset[str], names: set[str]) -> bool:
    if quota.scope == "everyone":
        return True
    return quota.subject in (groups if quota.scope == "group" else names)


def _deed(action: str, quota: Quota, person: Person | None, **limits: float | None) -> Deed:
    details = {"scope": quota.scope, "subject": quota.subject, **limits}
    return Deed(action=action, person=person, object_id=quota.subject, details=details)


def _told(before: Notice, after: Notice) -> list[str]:
    """Name what a notice changes."""
    actions = []
    if before.is_draining != after.is_draining:
        actions.append("drain.start" if after.is_draining else "drain.end")
    if before.banner != after.banner:
        actions.append("banner.set" if after.banner else "banner.clear")
    return actions
