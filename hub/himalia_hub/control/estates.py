"""Does away with what people left whom the hub knows no more, or gives it to their heir."""

from __future__ import annotations

import logging
from collections.abc import Collection

from himalia.agents.account import Account
from himalia.agents.fleet import Agents
from himalia.core.errors import NotFound
from himalia.core.handing_over import hand_over
from himalia.core.premises import Premises
from himalia.core.team import Person
from himalia.store.base import Store
from himalia_hub.control.works import Grounds
from himalia_hub.settings import Himalia

_log = logging.getLogger(__name__)


class Estates:
    """Accounts of people who are there, and the ends of those of people who are gone."""

    _agents: Agents
    _premises: Premises

    def __init__(self, settings: Himalia, store: Store, grounds: Grounds) -> None:
        self._settings = settings
        self._store = store
        self._people = store.team.people
        self._grounds = grounds

    def meet(self, agents: Agents, premises: Premises) -> None:
        """Learn who does things for people; they ask for accounts here, and so come after it."""
        self._agents = agents
        self._premises = premises

    async def account(self, owner: str) -> Account:
        """Return a person's account (:raises NotFound: they are gone, and it too).

        :raises HimaliaError: it cannot be made.
        """
        person = await self._people.get(owner)
        if person.gone_at is not None and not await self._grounds.has(owner, person.name):
            # It was retired, and must not be made anew for nobody.
            raise NotFound("This person is gone.")
        return await self._grounds.account(owner, person.name)

    async def settle(self, person: Person) -> bool:
        """Do what the settings say with what a gone person left; False while that is not done.

        Everything may be repeated after a crash in the middle.
        """
        policy = self._settings.on_user_deleted
        heir = await self._heir() if policy == "transfer" else None
        if policy == "transfer" and heir is None:
            _log.warning(
                "what %s left waits for an heir: the hub knows no user %r (c.Himalia.heir)",
                person.owner,
                self._settings.heir,
            )
            return False
        if heir is not None:
            # Refused while a run has not ended.
            number = await hand_over(
                store=self._store,
                people=self._people,
                premises=self._premises,
                owner=person.owner,
                heir=heir.owner,
            )
            _log.info("gave %d workloads of %s to %s", number, person.owner, heir.owner)
        # Rows before files: what is left of a home is found by its owner's name, and a run's
        # files without its row are nobody's; the other way round a row would promise files.
        runs = await self._people.purge(person.owner)
        _log.info("deleted what %s had: %d runs", person.owner, len(runs))
        await self._agents.end(person.owner)
        return await self._grounds.retire(person.owner, person.name)

    async def sweep(self, present: Collection[str]) -> None:
        """Retire homes of gone people, who may have left nothing else, and delete old ones."""
        unsettled = {person.owner for person in await self._people.unsettled()}
        for owner in await self._grounds.owners():
            if owner in present or owner in unsettled:
                continue
            try:
                person = await self._people.get(owner)
            except NotFound:
                # Nobody we know, and so nobody we may touch: a server may be starting for them.
                continue
            if person.gone_at is not None:
                await self._agents.end(owner)
                await self._grounds.retire(owner, person.name)
        await self._grounds.sweep()

    async def _heir(self) -> Person | None:
        try:
            return await self._people.named(self._settings.heir)
        except NotFound:
            return None
