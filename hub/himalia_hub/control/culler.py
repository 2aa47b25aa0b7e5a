"""Stops servers that nobody uses."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from himalia.core.errors import NotFound
from himalia.core.loop import Lead, Loop
from himalia.core.names import new_id
from himalia.core.team import AuditEntry, ServerState
from himalia.store.team import NoticeStore
from himalia_hub.control.hub_api import HubApi, HubUser
from himalia_hub.control.sessions import Sessions

_AT_ONCE = 20
"""Stops in one round: the hub has other things to do."""
_log = logging.getLogger(__name__)


class Culler:
    """Looks at all servers, again and again, under a duty."""

    def __init__(
        self,
        *,
        hub: HubApi,
        sessions: Sessions,
        notices: NoticeStore,
        lead: Lead,
        every_seconds: float,
    ) -> None:
        self._hub = hub
        self._sessions = sessions
        self._notices = notices
        self._every = every_seconds
        self.loop = Loop("idle servers", self.step, lead)

    async def step(self) -> float:
        """Stop those whose time has come; return when to look again."""
        rolls = self._sessions.rolls
        roll = await rolls.within(max(self._every / 2, rolls.fair_seconds))
        running = await self._sessions.running(None)
        stopped = 0
        for user in roll.users.values():
            for server in user.servers.values():
                if not server.ready or server.pending or stopped >= _AT_ONCE:
                    continue
                state = self._sessions.state_beside(
                    user.owner, server, user.groups, running.get(user.owner, 0)
                )
                if _is_due(state) and await self._stop(user, server.name):
                    stopped += 1
        return self._every

    async def _stop(self, user: HubUser, server_name: str) -> bool:
        """Stop one, unless something happened since the hub was asked."""
        try:
            now = await self._hub.user(user.name)
            server = now.servers[server_name]
            state = await self._sessions.state(now.owner, server, now.groups)
            if now.owner != user.owner or not server.ready or not _is_due(state):
                return False
            await self._hub.stop(user.name, server_name)
        except (NotFound, KeyError):
            return False
        _log.info("stopped the server %r of %s: %s", server_name, user.owner, state.why)
        await self._notices.record(
            AuditEntry(
                id=new_id("aud"),
                at=datetime.now(UTC),
                actor="control",
                action="server.stop",
                owner=user.owner,
                name=user.name,
                object_id=server_name,
                details={"why": state.why},
            )
        )
        return True


def _is_due(state: ServerState) -> bool:
    return state.stop_at is not None and state.stop_at <= datetime.now(UTC)
