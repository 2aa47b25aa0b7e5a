"""Which projects somebody's runs have, as of what the hub last said of their groups."""

from __future__ import annotations

import time
from collections.abc import Sequence

from himalia.backends.kubernetes.settings import Share
from himalia.core.errors import NotFound
from himalia.store.team import PeopleStore
from himalia_hub.kubernetes.asking import Namespaces
from himalia_hub.kubernetes.settings import Kubernetes

_FRESH_SECONDS = 30.0
"""For which the same groups need not be asked for again."""


class Memberships:
    """Has the namespace of an owner lead to their projects, before a pod mounts them."""

    def __init__(self, settings: Kubernetes, people: PeopleStore, namespaces: Namespaces) -> None:
        self._projects = settings.projects
        self._people = people
        self._namespaces = namespaces
        self._known: dict[str, tuple[tuple[str, ...], float, Sequence[Share]]] = {}

    async def __call__(self, owner: str) -> Sequence[Share]:
        """Return what an owner's next pod has (:raises Unavailable: that cannot be known now)."""
        if not self._projects:
            return ()
        try:
            groups = (await self._people.get(owner)).groups
        except NotFound:
            return ()
        known = self._known.get(owner)
        if known is not None and known[0] == groups and known[1] > time.monotonic():
            return known[2]
        found = tuple(
            Share(claim=one.claim, path=one.path, is_read_only=one.is_reader)
            for one in await self._namespaces.projects(owner, groups)
        )
        self._known[owner] = (groups, time.monotonic() + _FRESH_SECONDS, found)
        return found
