"""Whose a token is: asked of the hub, remembered for seconds, forgotten when the hub says so."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from himalia.changes import CONNECTED, NotTold, follow
from himalia.core.errors import NotFound, Unauthenticated
from himalia.core.names import owner_id
from himalia.core.team import Person
from himalia.store.team import GrantStore, PeopleStore
from himalia_hub.control.hub_api import Bearer, HubApi, HubServer
from himalia_hub.control.scopes import of_session, server_of

RUN_TOKEN = "hmr_"  # noqa: S105 - how they begin
_LONGEST_TOKEN = 4096
_AGAIN_SECONDS = 1.0
_NEVER_TOLD_SECONDS = 60.0
"""Before a hub that has no such address is asked for it again."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Somebody that a token speaks for."""

    name: str
    """At the hub."""
    owner: str
    """Empty for a service of the hub, which owns nothing."""
    scopes: frozenset[str]
    groups: tuple[str, ...] = ()
    server: str | None = None
    """The server that the token belongs to, if it is one's."""


@dataclass(slots=True, kw_only=True)
class _Entry:
    identity: Identity | None
    created: datetime | None
    checked_mono: float
    is_stale: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTimes:
    """How long answers of the hub are good for, in seconds."""

    told: float = 10.0
    """While the hub tells what changes."""
    untold: float = 4.0
    """While it does not."""
    unknown: float = 2.0
    """That a token is nobody's."""
    reports: float = 300.0
    """For sessions' reports, which give nothing to who sends them."""


@dataclass(slots=True)
class TokenCounts:
    """For metrics."""

    hits: int = 0
    misses: int = 0


class _Grants(Protocol):
    @property
    def grants(self) -> GrantStore: ...
    @property
    def people(self) -> PeopleStore: ...


class Tokens:
    """Knows the bearers of tokens. `limit` bounds how many are remembered.

    `met` is told of whoever comes for the first time, `saw` what the hub said of their servers.
    """

    def __init__(  # noqa: PLR0913 - who is told, and two limits
        self,
        hub: HubApi,
        *,
        team: Callable[[], _Grants],
        met: Callable[[Person], Awaitable[None]] | None = None,
        saw: Callable[[str, Mapping[str, HubServer]], None] | None = None,
        times: TokenTimes | None = None,
        limit: int = 20_000,
    ) -> None:
        self._hub = hub
        self._team = team
        self._met = met
        self._saw = saw
        self._times = times or TokenTimes()
        self._limit = limit
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[_Entry]] = {}
        self._known: set[str] = set()
        self._is_told = False
        self.counts = TokenCounts()

    @property
    def recheck_seconds(self) -> float:
        """How often a stream that stays open has to be checked again."""
        return self._times.untold

    async def identify(self, token: str, *, is_report: bool = False) -> Identity:
        """Return whom a token speaks for.

        :raises Unauthenticated: nobody, or not any more.
        :raises Unavailable: the hub does not answer.
        """
        if not 0 < len(token) <= _LONGEST_TOKEN or not token.isascii():
            raise _unknown()
        if token.startswith(RUN_TOKEN):
            return await self._of_run(token)
        digest = hashlib.sha256(token.encode()).digest()
        entry = self._entries.get(digest)
        if entry is not None and self._is_fresh(entry, is_report=is_report):
            self.counts.hits += 1
        else:
            self.counts.misses += 1
            entry = await self._asked_once(digest, token)
        if entry.identity is None:
            raise _unknown()
        return entry.identity

    def _is_fresh(self, entry: _Entry, *, is_report: bool) -> bool:
        if entry.is_stale:
            return False
        if entry.identity is None:
            allowed = self._times.unknown
        elif is_report:
            allowed = self._times.reports
        else:
            allowed = self._times.told if self._is_told else self._times.untold
        return time.monotonic() - entry.checked_mono < allowed

    async def _asked_once(self, digest: bytes, token: str) -> _Entry:
        """Ask the hub, however many want to know at the same time."""
        asking = self._asking.get(digest)
        if asking is None:
            asking = asyncio.create_task(self._ask(digest, token))
            self._asking[digest] = asking
            asking.add_done_callback(lambda _: self._asking.pop(digest, None))
        # One that goes away does not take the answer from the others.
        return await asyncio.shield(asking)

    async def _ask(self, digest: bytes, token: str) -> _Entry:
        began = time.monotonic()
        earlier = self._entries.get(digest)
        bearer = await self._hub.bearer(token)
        if bearer is None:
            entry = _Entry(identity=None, created=None, checked_mono=began)
        elif bearer.kind == "service":
            identity = Identity(name=bearer.name, owner="", scopes=bearer.scopes)
            entry = _Entry(identity=identity, created=None, checked_mono=began)
        else:
            entry = await self._of_user(token, bearer, earlier, began)
        self._keep(digest, entry)
        return entry

    async def _of_user(
        self, token: str, bearer: Bearer, earlier: _Entry | None, began: float
    ) -> _Entry:
        created, groups = bearer.created, bearer.groups
        if created is None and earlier is not None:
            # A token dies with its user, so what was once found of it stays true.
            created = earlier.created
            groups = (
                groups
                if groups is not None or earlier.identity is None
                else (earlier.identity.groups)
            )
        if created is None:
            try:
                user = await self._hub.user(bearer.name)
            except NotFound:
                return _Entry(identity=None, created=None, checked_mono=began)
            created, groups = user.created, user.groups
            # Between the two questions the user may have been replaced by one of the same name.
            again = await self._hub.bearer(token)
            if again is None or again.name != bearer.name:
                return _Entry(identity=None, created=None, checked_mono=began)
        identity = Identity(
            name=bearer.name,
            owner=owner_id(bearer.name, created),
            scopes=of_session(bearer.scopes, bearer.name),
            groups=groups or (),
            server=server_of(bearer.scopes, bearer.name),
        )
        await self._meet(identity, groups)
        if self._saw is not None and bearer.servers is not None:
            self._saw(identity.owner, bearer.servers)
        return _Entry(identity=identity, created=created, checked_mono=began)

    async def _meet(self, identity: Identity, groups: tuple[str, ...] | None) -> None:
        """Have somebody known before anything of theirs is stored."""
        if self._met is None or identity.owner in self._known:
            return
        now = datetime.now(UTC)
        await self._met(
            Person(
                owner=identity.owner,
                name=identity.name,
                groups=groups or (),
                first_seen_at=now,
                last_seen_at=now,
            )
        )
        self._known.add(identity.owner)

    def _keep(self, digest: bytes, entry: _Entry) -> None:
        self._entries[digest] = entry
        self._entries.move_to_end(digest)
        while len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    async def _of_run(self, token: str) -> Identity:
        """Look up one of our own making; it ends with its run."""
        team = self._team()
        digest = hashlib.sha256(token.encode()).hexdigest()
        grant = await team.grants.find(digest, datetime.now(UTC))
        if grant is None:
            raise _unknown()
        try:
            person = await team.people.get(grant.owner)
        except NotFound as error:
            raise _unknown() from error
        if person.gone_at is not None:
            raise _unknown()
        return Identity(
            name=person.name,
            owner=person.owner,
            scopes=frozenset(grant.scopes),
            groups=person.groups,
        )

    def forget(self, name: str) -> None:
        """Ask the hub anew about every token of a user; ``*`` is everybody."""
        for entry in self._entries.values():
            if entry.identity is not None and name in {"*", entry.identity.name}:
                entry.is_stale = True

    async def listen(
        self, changed: Callable[[str], None], on_server: Callable[[str], None] | None = None
    ) -> None:
        """Follow what the hub tells, for ever; `changed` is told the names too."""
        while True:
            pause = _AGAIN_SECONDS
            try:
                async for name in follow(
                    self._hub.url,
                    self._hub.token,
                    on_server=on_server,
                    ssl_options=self._hub.ssl_options,
                ):
                    if name == CONNECTED:
                        # What changed before was not told.
                        self.forget("*")
                        self._is_told = True
                        _log.info("the hub tells of changes")
                    else:
                        self.forget(name)
                        changed(name)
            except NotTold as error:
                _log.debug("the hub does not tell of changes: %s", error)
                pause = _AGAIN_SECONDS if error.is_gone else _NEVER_TOLD_SECONDS
            except OSError:
                pause = _AGAIN_SECONDS
            self._is_told = False
            await asyncio.sleep(pause)


def _unknown() -> Unauthenticated:
    return Unauthenticated(
        "This token is not known here, or not any more. Log in again, or make a new one on the "
        "hub's page “Token”."
    )
