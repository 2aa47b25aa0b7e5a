"""Profiles: what sessions and runs may be given, and who may choose it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15}
_UNITS |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}
_BYTES = re.compile(r"^([0-9]+(?:\.[0-9]+)?)(k|[MGTP]|[KMGTP]i)?$")
_Memory = Annotated[str, Field(pattern=_BYTES.pattern)]
_Cores = Annotated[float, Field(gt=0, le=1024)]


class Profile(BaseModel):
    """One line of the list that users choose from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$")]
    title: str = ""
    description: str = ""
    image: str = ""
    cpu: _Cores | None = None
    memory: _Memory | None = None
    cpu_guarantee: _Cores | None = None
    memory_guarantee: _Memory | None = None
    gpu: Annotated[int, Field(ge=0, le=64)] = 0
    gpu_kind: str = "nvidia.com/gpu"
    node_selector: Mapping[str, str] = Field(default_factory=dict)
    tolerations: tuple[Mapping[str, Any], ...] = ()
    price: str = ""
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    is_default: bool = False

    def is_for(self, user: str, groups: Collection[str]) -> bool:
        """Tell whether somebody may use it."""
        if not self.users and not self.groups:
            return True
        return user in self.users or not self.groups.isdisjoint(groups)

    def about(self) -> str:
        """Say what one gets, and for how much."""
        parts = [self.description]
        if self.cpu:
            parts.append(f"{self.cpu:g} core" + ("s" if self.cpu != 1 else ""))
        if self.memory:
            parts.append(f"{self.memory} of memory")
        if self.gpu:
            parts.append(f"{self.gpu} GPU" + ("s" if self.gpu > 1 else ""))
        if self.price:
            parts.append(self.price)
        return " · ".join(part for part in parts if part)


def read(profiles: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Check a list of profiles, and return it (:raises ValueError: what is wrong, and where)."""
    found = list(profiles)
    names = set()
    for number, one in enumerate(found, 1):
        try:
            profile = Profile.model_validate(one)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "all of it"
            raise ValueError(
                f"Kubernetes.profiles, number {number}, {where}: {first['msg']}."
            ) from None
        if profile.name in names:
            raise ValueError(f"Kubernetes.profiles: {profile.name!r} is there twice.")
        names.add(profile.name)
    return [dict(one) for one in found]


def open_to(
    profiles: Iterable[Mapping[str, Any]], user: str, groups: Collection[str]
) -> tuple[Profile, ...]:
    """Return the profiles that somebody may use."""
    known = (Profile.model_validate(one) for one in profiles)
    return tuple(one for one in known if one.is_for(user, groups))


def offered(
    profiles: Iterable[Profile], tolerations: Iterable[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Write profiles as KubeSpawner takes them; each sets all that another one could set."""
    return [
        {
            "slug": one.name,
            "display_name": one.title or one.name,
            "description": one.about(),
            "default": one.is_default,
            "kubespawner_override": _override(one, tuple(tolerations)),
        }
        for one in profiles
    ]


def _override(profile: Profile, tolerations: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "cpu_limit": profile.cpu,
        "cpu_guarantee": profile.cpu_guarantee,
        "mem_limit": _bytes(profile.memory),
        "mem_guarantee": _bytes(profile.memory_guarantee),
        "tolerations": [dict(one) for one in (*tolerations, *profile.tolerations)],
    }
    if profile.image:
        made["image"] = profile.image
    if profile.node_selector:
        made["node_selector"] = dict(profile.node_selector)
    if profile.gpu:
        made["extra_resource_limits"] = {profile.gpu_kind: str(profile.gpu)}
    return made


def _bytes(quantity: str | None) -> int | None:
    return bytes_of(quantity) if quantity else None


def bytes_of(quantity: str) -> int:
    """Read an amount of memory as Kubernetes writes it (:raises ValueError: it is none)."""
    found = _BYTES.match(quantity)
    if found is None:
        raise ValueError(f"{quantity!r} is no amount of memory")
    return int(float(found[1]) * _UNITS[found[2] or ""])
