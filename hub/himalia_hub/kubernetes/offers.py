"""Profiles, as those choose from them who run jobs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from himalia.backends.kubernetes.profiles import PodProfile
from himalia.core.errors import NotFound
from himalia.core.profiles import Profile as Shown
from himalia.store.team import PeopleStore
from himalia_hub.kubernetes.profiles import Profile, bytes_of, open_to
from himalia_hub.kubernetes.settings import Kubernetes


class Offers:
    """Tells what somebody may choose, as of what the hub last said of them."""

    def __init__(self, settings: Kubernetes, people: PeopleStore) -> None:
        self._profiles = settings.profiles
        self._people = people

    async def __call__(self, owner: str) -> Sequence[PodProfile]:
        """Return what an owner may choose (:raises Unavailable: the store does not answer)."""
        if not self._profiles:
            return ()
        try:
            person = await self._people.get(owner)
        except NotFound:
            return ()
        return for_runs(open_to(self._profiles, person.name, person.groups))


def for_runs(profiles: Iterable[Profile]) -> tuple[PodProfile, ...]:
    """Write profiles as runs' pods are made by them."""
    return tuple(
        PodProfile(
            shown=Shown(
                name=one.name,
                title=one.title or one.name,
                description=one.description,
                cpu=one.cpu,
                memory_bytes=_bytes(one.memory),
                gpu=one.gpu,
                price=one.price,
                is_default=one.is_default,
            ),
            image=one.image,
            cpu_guarantee=one.cpu_guarantee,
            memory_guarantee_bytes=_bytes(one.memory_guarantee),
            gpu_kind=one.gpu_kind,
            node_selector=dict(one.node_selector),
            tolerations=tuple(dict(taint) for taint in one.tolerations),
        )
        for one in profiles
    )


def _bytes(quantity: str | None) -> int | None:
    return bytes_of(quantity) if quantity else None
