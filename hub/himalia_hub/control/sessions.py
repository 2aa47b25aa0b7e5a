"""The hub's part of the service: notices, sessions' reports, and tokens through the broker."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from typing_extensions import override

from himalia.core.errors import Forbidden, NotFound
from himalia.core.service import Caller, Hub
from himalia.core.team import (
    AccessToken,
    Notice,
    Person,
    ServerState,
    SessionReport,
    TokenRequest,
)
from himalia.store.team import TeamStore
from himalia_hub.control.hub_api import HubApi, HubServer, HubUser
from himalia_hub.control.roll import Rolls
from himalia_hub.control.verdicts import Facts, Report, Rules, judge

_ROLL_SECONDS = 90.0
_MOST_REPORTS = 20_000


class Broker(Protocol):
    """Gets access tokens for somebody else's services."""

    async def token(self, name: str, audience: str) -> AccessToken:
        """Return one for the user of this name at the hub.

        :raises Forbidden: no such audience, or the login has ended.
        :raises Unavailable: the provider does not answer.
        """


class Sessions:
    """What is known of servers: by the hub, and by what sessions tell."""

    def __init__(self, *, hub: HubApi, rolls: Rolls, team: TeamStore, rules: Rules) -> None:
        self._hub = hub
        self.rolls = rolls
        self._team = team
        self._rules = rules
        self._reports: dict[tuple[str, str], Report] = {}

    @property
    def goes_by_groups(self) -> bool:
        """Whether somebody's groups make a difference to their servers."""
        return bool(self._rules.exempt_groups)

    def told(self, owner: str, report: SessionReport) -> None:
        """Remember what a session says of itself."""
        key = (owner, report.server_name)
        self._reports.pop(key, None)
        self._reports[key] = Report(said=report, at=datetime.now(UTC))
        while len(self._reports) > _MOST_REPORTS:
            del self._reports[next(iter(self._reports))]

    async def find(self, owner: str, name: str, server_name: str) -> HubServer:
        """Return one of a person's servers (:raises NotFound:, :raises Unavailable:)."""
        known = self.rolls.server(owner, server_name, _ROLL_SECONDS)
        if known is not None:
            return known
        user = await self._hub.user(name)
        if user.owner != owner or server_name not in user.servers:
            raise NotFound(f"There is no server {server_name!r} that is on.")
        return user.servers[server_name]

    async def state(self, owner: str, server: HubServer, groups: Sequence[str] = ()) -> ServerState:
        """Return whether a server stays, and why."""
        facts = self._facts(owner, server, groups)
        state = judge(facts, self._rules)
        if state.verdict == "kept" or state.stop_at is None:
            return state
        # Only for those that something may happen to: it costs a query.
        running = (await self.running((owner,))).get(owner, 0)
        return judge(replace(facts, running=running), self._rules) if running else state

    async def running(self, owners: Collection[str] | None) -> Mapping[str, int]:
        """Count runs that are on, by owner; None is everybody."""
        return await self._team.usage.on(owners)

    def states_of(self, user: HubUser, running: int) -> tuple[ServerState, ...]:
        """Return the state of each of a user's servers while so many runs of theirs are on."""
        return tuple(
            self.state_beside(user.owner, server, user.groups, running)
            for server in user.servers.values()
        )

    def state_beside(
        self, owner: str, server: HubServer, groups: Sequence[str], running: int
    ) -> ServerState:
        """Return whether a server stays while so many runs of its owner's are on."""
        return judge(replace(self._facts(owner, server, groups), running=running), self._rules)

    def _facts(self, owner: str, server: HubServer, groups: Sequence[str]) -> Facts:
        return Facts(
            server=server,
            now=datetime.now(UTC),
            report=self._reports.get((owner, server.name)),
            groups=groups,
        )


class LocalHub(Hub):
    """What a team's control can do."""

    def __init__(self, *, team: TeamStore, sessions: Sessions, broker: Broker) -> None:
        self._team = team
        self._sessions = sessions
        self._broker = broker

    @override
    async def notice(self, caller: Caller) -> Notice:
        return await self._team.notices.get()

    @override
    async def report(self, caller: Caller, report: SessionReport) -> ServerState:
        if caller.server is not None and caller.server != report.server_name:
            raise Forbidden("A server tells of itself, and of no other.")
        server = await self._sessions.find(caller.owner, caller.name, report.server_name)
        self._sessions.told(caller.owner, report)
        return await self._sessions.state(caller.owner, server, await self._groups(caller))

    @override
    async def server(self, caller: Caller, server_name: str) -> ServerState:
        server = await self._sessions.find(caller.owner, caller.name, server_name)
        return await self._sessions.state(caller.owner, server, await self._groups(caller))

    @override
    async def token(self, caller: Caller, request: TokenRequest) -> AccessToken:
        return await self._broker.token(caller.name, request.audience)

    async def _groups(self, caller: Caller) -> tuple[str, ...]:
        if not self._sessions.goes_by_groups:
            return ()
        try:
            return (await self._team.people.get(caller.owner)).groups
        except NotFound:
            return ()


class HubServers:
    """People's servers, for administration."""

    def __init__(self, *, hub: HubApi, sessions: Sessions) -> None:
        self._hub = hub
        self._sessions = sessions

    async def states(self, people: Sequence[Person]) -> dict[str, tuple[ServerState, ...]]:
        """See :class:`himalia.core.administration.Servers`."""
        rolls = self._sessions.rolls
        roll = await rolls.within(rolls.fair_seconds)
        users = [roll.users[person.owner] for person in people if person.owner in roll.users]
        on = [user for user in users if user.servers]
        running = await self._sessions.running([user.owner for user in on])
        return {
            user.owner: self._sessions.states_of(user, running.get(user.owner, 0)) for user in on
        }

    async def count(self, owners: Collection[str] | None) -> int:
        """See :class:`himalia.core.administration.Servers`."""
        rolls = self._sessions.rolls
        roll = await rolls.within(rolls.fair_seconds)
        chosen = (
            roll.users.values()
            if owners is None
            else (roll.users[owner] for owner in owners if owner in roll.users)
        )
        return sum(len(user.servers) for user in chosen)

    async def stop(self, person: Person, server_name: str) -> None:
        """See :class:`himalia.core.administration.Servers`."""
        await self._hub.stop(person.name, server_name)
