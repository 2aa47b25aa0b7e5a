"""Sessions in the ledger: opened and closed as the hub says that servers are on."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime

from himalia.core.team import UsageEntry
from himalia.store.team import UsageStore
from himalia_hub.control.hub_api import HubServer, HubUser
from himalia_hub.control.roll import Roll

KIND = "session"
_BATCH = 200
"""Entries of one transaction: others wait for it meanwhile."""


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
        for entry_id, entry in opened.items():
            if entry_id not in on:
                await self._usage.end(entry_id, max(roll.at, entry.started_at))


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
