"""What a team's control is made of: one set of parts, made anew until its store can be opened."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from himalia.agents.fleet import Agents
from himalia.agents.premises import AgentPremises
from himalia.core.administration import Administration
from himalia.core.errors import Unavailable
from himalia.core.governing import LocalAdministration
from himalia.core.local import LocalService, LocalSettings
from himalia.core.loop import employ
from himalia.core.places import Places
from himalia.core.team import Notice
from himalia.kinds.registry import Kinds
from himalia.store.sql import SqlStore
from himalia_hub.banner import announce
from himalia_hub.broker import Broker
from himalia_hub.control.culler import Culler
from himalia_hub.control.duties import Duties
from himalia_hub.control.estates import Estates
from himalia_hub.control.hub_api import HubApi
from himalia_hub.control.roll import Rolls
from himalia_hub.control.roll_call import RollCall, RollRules
from himalia_hub.control.run_tokens import RunTokens
from himalia_hub.control.session_ledger import SessionNews
from himalia_hub.control.sessions import HubServers, LocalHub, Sessions
from himalia_hub.control.verdicts import Rules
from himalia_hub.control.works import Works
from himalia_hub.settings import Himalia
from himalia_hub.state import State

_log = logging.getLogger("himalia.control")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where a control is, and who it is among others."""

    state: State
    url: str
    """Where jobs find it."""
    holder: str
    places: Places
    works: Works
    self_test: str = ""
    """Command that has isolation tried out, where there is one."""


class Team:
    """The service and all that works beside it."""

    def __init__(
        self, *, settings: Himalia, site: Site, kinds: Kinds, hub: HubApi, rolls: Rolls
    ) -> None:
        self._site, works = site, site.works
        store_at: str | Path = settings.store_url or site.state.data / "store.db"
        self.store = SqlStore(store_at, kinds.decode_spec)
        team = self.store.team
        self.duties = Duties(lambda: team.leaders, site.holder)
        estates = Estates(settings, self.store, works.grounds)
        self.agents = Agents(estates.account, works.agents, launch=works.launch)
        premises = AgentPremises(self.agents)
        estates.meet(self.agents, premises)
        self.service = LocalService(
            store=self.store,
            backend=works.backend(self.agents, team.people),
            premises=premises,
            kinds=kinds,
            places=site.places,
            settings=self._local(settings),
        )
        sessions = Sessions(hub=hub, rolls=rolls, team=team, rules=_rules(settings))
        broker = Broker(hub.url, hub.token, hub.ssl_options)
        self.service.hub = LocalHub(team=team, sessions=sessions, broker=broker)
        self.administration: Administration = LocalAdministration(
            parts=self.service.parts,
            team=team,
            servers=HubServers(hub=hub, sessions=sessions),
            announce=self._announce,
            self_test=site.self_test,
        )
        self.roll_call = RollCall(
            hub=hub,
            rolls=rolls,
            team=team,
            estate=estates,
            lead=self.duties.lead("roll"),
            rules=_roll_rules(settings),
        )
        self.session_news = SessionNews(self.roll_call.ledger)
        self._culler = Culler(
            hub=hub,
            sessions=sessions,
            notices=team.notices,
            lead=self.duties.lead("cull"),
            every_seconds=settings.idle_check_seconds,
        )
        self._closing = AsyncExitStack()

    def _local(self, settings: Himalia) -> LocalSettings:
        return LocalSettings(
            max_running=settings.max_running,
            smtp_url=settings.smtp_url or None,
            holder=self._site.holder,
            leads=self.duties.leads,
            env=RunTokens(self.store.team.grants, self._site.url).env,
        )

    async def open(self) -> None:
        """Open the store, migrating it, and begin to work (:raises Unavailable:)."""
        async with AsyncExitStack() as stack:
            await self.service.open()
            stack.push_async_callback(self.service.close)
            await self._announce(await self.store.team.notices.get())
            loops = (self.roll_call.loop, self.session_news.loop, self._culler.loop)
            employ((self.duties, *loops), stack)
            self._closing = stack.pop_all()

    async def close(self) -> None:
        """Work no more; runs go on."""
        await self._closing.aclose()

    async def home(self, owner: str) -> Path:
        """Return the home of an owner (:raises HimaliaError:)."""
        return (await self.agents.account(owner)).home

    async def look_at_store(self) -> str | None:
        """Say what is wrong with the store, if anything is."""
        try:
            await self.store.team.leaders.leaders(datetime.now(UTC))
        except Unavailable:
            return "does not answer"
        return None

    async def look_at_backend(self) -> str | None:
        """Say what is wrong where runs are, if anything is."""
        try:
            await self._site.works.look()
        except Unavailable as error:
            return error.message
        return None

    async def _announce(self, notice: Notice) -> None:
        try:
            await asyncio.to_thread(announce, self._site.state, notice)
        except OSError as error:
            _log.warning("the notice cannot be shown on the hub's pages: %s", error.strerror)


def _roll_rules(settings: Himalia) -> RollRules:
    return RollRules(every_seconds=settings.roll_call_seconds, most_missing=settings.most_missing)


def _rules(settings: Himalia) -> Rules:
    return Rules(
        idle_seconds=settings.idle_seconds,
        max_age_seconds=settings.max_age_seconds,
        exempt_groups=tuple(settings.idle_exempt_groups),
    )
