"""Sessions in the ledger: opened and closed as the hub says that servers are on."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pydantic import AwareDatetime, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from himalia.core.loop import Loop
from himalia.core.team import UsageEntry
from himalia.store.team import UsageStore
from himalia_hub.control.hub_api import HubServer, HubUser
from himalia_hub.control.roll import Roll

KIND = "session"
_BATCH = 200
"""Entries of one transaction: others wait for it meanwhile."""
_SKEW = timedelta(seconds=5)
"""How far the hub's clock may be from control's."""
_MOST_WAITING = 10_000
_PAUSE_SECONDS = 60.0
_GATHER_SECONDS = 0.3
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerNews(HubUser):
    """A user's server that began or ended."""

    server: str
    started: AwareDatetime
    is_on: bool

    def entry(self) -> UsageEntry:
        """Return the entry of its time, open; the same one that a roll makes."""
        server = HubServer(name=self.server, started=self.started)
        return _entry(self.owner, self, server, self.started)


_NEWS = TypeAdapter(ServerNews)


class SessionLedger:
    """Books servers by what a roll says; booking the same roll twice changes nothing."""

    def __init__(self, usage: UsageStore) -> None:
        self._usage = usage
        self._begun: set[str] = set()

    async def book(self, roll: Roll) -> None:
        """Open entries of servers that are on, and close those of servers that are not."""
        on: dict[str, UsageEntry] = {}
        for owner, user in roll.users.items():
            for server in user.servers.values():
                if server.started is not None and not server.stopped:
                    entry = _entry(owner, user, server, server.started)
                    on[entry.id] = entry
        opened = {entry.id: entry for entry in await self._usage.open_sessions()}
        begun = opened.keys() | self._begun
        new = [entry for entry_id, entry in on.items() if entry_id not in begun]
        for start in range(0, len(new), _BATCH):
            await self._usage.begin_all(new[start : start + _BATCH])
        self._begun = set(on)
        # What began while the list was on its way is on, and not on the list.
        before = roll.at - _SKEW
        for entry_id, entry in opened.items():
            if entry_id not in on and entry.started_at < before:
                await self._usage.end(entry_id, max(roll.at, entry.started_at))

    async def book_news(self, told: Sequence[tuple[ServerNews, datetime]]) -> None:
        """Open or close entries of single servers, as the hub told them, each at a moment."""
        entries = [said.entry() for said, _ in told]
        await self._usage.begin_all({entry.id: entry for entry in entries}.values())
        for entry, (said, at) in zip(entries, told, strict=True):
            if not said.is_on:
                await self._usage.end(entry.id, max(at, entry.started_at))


class SessionNews:
    """Books servers as they begin and end, so that those between two rolls are booked too."""

    def __init__(self, ledger: SessionLedger) -> None:
        self._ledger = ledger
        self._waiting: deque[tuple[ServerNews, datetime]] = deque(maxlen=_MOST_WAITING)
        self.loop = Loop("book sessions", self._step)

    def told(self, text: str) -> None:
        """Take what the hub says of a server."""
        try:
            said = _NEWS.validate_json(text)
        except ValidationError:
            _log.warning("the hub told something of a server that cannot be read")
            return
        # By control's clock, as all usage; and when it was heard, however long the store is away.
        self._waiting.append((said, datetime.now(UTC)))
        self.loop.wake()

    async def _step(self) -> float:
        # What comes within a moment, when many log in at once, is one transaction.
        await asyncio.sleep(_GATHER_SECONDS)
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            try:
                await self._ledger.book_news(some)
            except BaseException:
                self._waiting.extendleft(reversed(some))
                raise
        return _PAUSE_SECONDS


def _entry(owner: str, user: HubUser, server: HubServer, started: datetime) -> UsageEntry:
    key = f"{owner}\0{server.name}\0{started.isoformat()}".encode()
    # The same in every control and after every restart.
    digest = base64.b32encode(hashlib.sha256(key).digest()).decode().lower()[:26]
    return UsageEntry(
        id=f"ses-{digest}",
        kind=KIND,
        owner=owner,
        name=user.name,
        groups=user.groups,
        object_id=server.name,
        title=server.name or "JupyterLab",
        started_at=started,
    )
