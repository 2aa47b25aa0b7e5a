"""Keeps asking the provider whether logins still hold, and renews their tokens.

There is one of these in a hub, and nothing else uses refresh tokens: a provider that gives a new
one each time takes a second use of the old one for theft.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from jupyterhub.utils import utcnow

from himalia_hub.identity.admission import Admission
from himalia_hub.identity.claims import Untrusted, Verifier
from himalia_hub.identity.endings import Door
from himalia_hub.identity.logins import End, Login, Logins
from himalia_hub.identity.provider import Provider, ProviderRefused, ProviderUnavailable

_AT_ONCE = 16
_PER_SECOND = 100.0
_ACTIVE = timedelta(seconds=60)
_DOWN_SECONDS = 3.0
"""After the provider did not answer, nobody waits for it again for so long."""
_FINAL = frozenset({"invalid_grant", "interaction_required", "login_required", "invalid_token"})
"""What says that a login is over; other refusals are the hub's own trouble."""
_NOT_LET_IN = frozenset({401, 403})


@dataclass(slots=True)
class _Record:
    logins: Logins
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    checked_at: float = float("-inf")
    """Monotonic; when somebody last tried."""
    silent_since: float | None = None
    """Monotonic; since when the provider has not answered for this user."""


class Watch:
    """Holds every login of a hub's users, and ends those that are over."""

    def __init__(
        self,
        admission: Admission,
        provider: Provider,
        verifier: Verifier,
        door: Door,
        log: logging.Logger,
    ) -> None:
        self._settings = admission.settings
        self._provider = provider
        self._verifier = verifier
        self._door = door
        self._log = log
        self._records: dict[str, _Record] = {}
        self._down_until = float("-inf")
        self.admission = admission

    async def began(self, user: Any, logins: Logins, login: Login) -> None:
        """Take a new login of a user."""
        record = await self._record(user)
        async with record.lock:
            same = (record.logins.issuer, record.logins.subject) == (logins.issuer, logins.subject)
            record.logins = (record.logins if same else replace(logins, items=())).with_new(login)
            record.checked_at, record.silent_since = time.monotonic(), None
            await self._save(user, record)

    async def holds(self, user: Any, *, max_age: float) -> bool:
        """Tell whether a user may go on, by an answer of the provider's not older than that.

        Who has no login here, as after logging out, may: what would need one is gone already.
        """
        record = await self._record(user)
        async with record.lock:
            if record.logins.ended is not None:
                return False
            if record.logins.items and time.monotonic() - record.checked_at >= max_age:
                await self._check(user, record)
            return record.logins.ended is None

    async def login(self, user: Any) -> Login | None:
        """Return the user's latest login with an access token that is fresh, or None."""
        record = await self._record(user)
        async with record.lock:
            if not record.logins.items:
                return None
            found = record.logins.items[0]
            try:
                return await self._renewed(user, record, found) if found.is_stale else found
            except ProviderRefused as refused:
                await self._refused(user, record, refused)
                return None

    async def end(self, user: Any, why: End) -> tuple[Login, ...]:
        """End every login of a user, here; return what they were."""
        record = await self._record(user)
        async with record.lock:
            return await self._end(user, record, why)

    async def end_of(self, subject: str, session: str) -> None:
        """End the logins of a person whom the provider says by subject, session or both."""
        for name in self._door.known():
            user = self._door.user(name)
            if user is None:
                continue
            logins = (await self._record(user)).logins
            is_theirs = (
                logins.subject == subject
                if subject
                else any(item.session == session for item in logins.items)
            )
            if is_theirs and logins.items:
                await self.end(user, End.LOGOUT)

    async def run(self) -> None:
        """Look after everybody, for ever."""
        while True:
            begun = time.monotonic()
            try:
                await self._round()
            except Exception:  # noqa: BLE001 - without a next round nobody would be watched
                self._log.exception("Logins could not be checked; this is tried again")
            spent = time.monotonic() - begun
            await asyncio.sleep(max(0.2, self._settings.oidc_check_seconds - spent))

    async def _round(self) -> None:
        turns = asyncio.Semaphore(_AT_ONCE)

        async def look(user: Any) -> None:
            async with turns:
                await self.holds(user, max_age=self._settings.oidc_check_seconds * 0.75)

        async with asyncio.TaskGroup() as tasks:
            for name in self._door.known():
                user = self._door.user(name)
                if user is not None and await self._is_due(user):
                    tasks.create_task(look(user))
                    await asyncio.sleep(1 / _PER_SECOND)

    async def _is_due(self, user: Any) -> bool:
        record = await self._record(user)
        if any(item.is_stale for item in record.logins.items):
            return True
        seen = user.last_activity
        is_active = user.active or (seen is not None and utcnow(with_tz=False) - seen < _ACTIVE)
        return bool(record.logins.items) and is_active

    async def _check(self, user: Any, record: _Record) -> None:
        record.checked_at = time.monotonic()
        if record.checked_at < self._down_until:
            await self._be_patient(user, record)
            return
        try:
            infos = [await self._ask(user, record, login) for login in record.logins.items]
        except ProviderUnavailable as silent:
            self._log.warning("The identity provider does not answer: %s", silent)
            self._down_until = time.monotonic() + _DOWN_SECONDS
            await self._be_patient(user, record)
            return
        except ProviderRefused as refused:
            await self._refused(user, record, refused)
            return
        record.silent_since = None
        login = record.logins.items[0]
        record.logins = record.logins.with_renewed(login, self.admission.told(login, infos[0]))
        groups = self.admission.groups(record.logins.items[0], infos[0])
        self._door.apply(user, groups, self.admission.is_admin(user.name, groups))
        if not self.admission.admits(user.name, record.logins.subject, groups):
            await self._end(user, record, End.DENIED)

    async def _ask(self, user: Any, record: _Record, login: Login) -> dict[str, Any]:
        if login.is_over:
            raise ProviderRefused("invalid_token")
        if login.is_stale and login.refresh_token:
            login = await self._renewed(user, record, login)
        try:
            info = await self._provider.user_info(login.access_token)
        except ProviderRefused as refused:
            # A token may end before its time; the refresh token tells whether the login did.
            if not login.refresh_token or refused.status not in _NOT_LET_IN:
                raise
            login = await self._renewed(user, record, login)
            info = await self._provider.user_info(login.access_token)
        if info.get("sub") != record.logins.subject:
            raise ProviderRefused("invalid_token")
        return info

    async def _renewed(self, user: Any, record: _Record, login: Login) -> Login:
        form = {"grant_type": "refresh_token", "refresh_token": login.refresh_token}
        answer = await self._provider.tokens(form)
        claims = None
        if answer.get("id_token"):
            try:
                claims = await self._verifier.id_token(
                    answer["id_token"], subject=record.logins.subject
                )
            except Untrusted as untrusted:
                self._log.warning("A renewed ID token was refused: %s", untrusted)
                raise ProviderRefused("invalid_token") from None
        made = login.renewed(answer, claims)
        record.logins = record.logins.with_renewed(login, made)
        # At once: the refresh token that was used is worth nothing any more.
        await self._save(user, record)
        return made

    async def _refused(self, user: Any, record: _Record, refused: ProviderRefused) -> None:
        if refused.code in _FINAL:
            await self._end(user, record, End.PROVIDER)
        else:
            self._log.error("The identity provider refused the hub itself: %s", refused.code)
            await self._be_patient(user, record)

    async def _be_patient(self, user: Any, record: _Record) -> None:
        now = time.monotonic()
        record.silent_since = record.silent_since or now
        if now - record.silent_since > self._settings.oidc_grace_seconds:
            await self._end(user, record, End.UNREACHABLE)

    async def _end(self, user: Any, record: _Record, why: End) -> tuple[Login, ...]:
        ended = record.logins.items
        self._log.info("Login of %s ended: %s", user.name, why)
        record.logins = record.logins.over(why)
        await self._save(user, record)
        self._door.shut(user, is_denied=why is End.DENIED)
        if why is End.DENIED and self._settings.oidc_stop_denied_servers:
            self._door.stop_servers(user)
        return ended

    async def _save(self, user: Any, record: _Record) -> None:
        await user.save_auth_state(record.logins.state())

    async def _record(self, user: Any) -> _Record:
        # Another user may get the id and the name of one who was deleted.
        key = f"{user.id}:{user.name}:{user.orm_user.created}"
        if key not in self._records:
            logins = Logins.of_state(await user.get_auth_state())
            self._records.setdefault(key, _Record(logins=logins))
        return self._records[key]
