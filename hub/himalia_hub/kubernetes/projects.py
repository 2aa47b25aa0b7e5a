"""Projects: folders that the members of groups share, and who may write there. Pure functions."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from himalia.core.homes import PROJECTS


class Project(BaseModel):
    """One folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
    groups: Annotated[frozenset[str], Field(min_length=1)]
    readers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """That somebody has a project's folder."""

    name: str
    is_reader: bool
    """Whether they may not write."""

    @property
    def claim(self) -> str:
        """The claim in the member's namespace that leads to it."""
        return f"project-{self.name}"

    @property
    def path(self) -> str:
        """Where the member's pods have it."""
        return posixpath.join(PROJECTS, self.name)


def read_projects(projects: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Check a list of projects, and return it (:raises ValueError: what is wrong, and where)."""
    found, names = list(projects), set()
    for number, one in enumerate(found, 1):
        try:
            project = Project.model_validate(one)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "all of it"
            text = f"Kubernetes.projects, number {number}, {where}: {first['msg']}."
            raise ValueError(text) from None
        if project.name in names:
            raise ValueError(f"Kubernetes.projects: {project.name!r} is there twice.")
        names.add(project.name)
    return [dict(one) for one in found]


def memberships(
    projects: Iterable[Mapping[str, Any]], groups: Collection[str]
) -> tuple[Membership, ...]:
    """Return the projects of somebody who is in these groups."""
    known = (Project.model_validate(one) for one in projects)
    return tuple(
        Membership(name=one.name, is_reader=one.groups.isdisjoint(groups))
        for one in known
        if not (one.groups | one.readers).isdisjoint(groups)
    )


def volumes_of(members: Iterable[Membership]) -> list[dict[str, Any]]:
    """Return the volumes of a pod that has these projects."""
    return [
        {
            "name": one.claim,
            "persistentVolumeClaim": {"claimName": one.claim, "readOnly": one.is_reader},
        }
        for one in members
    ]


def mounts_of(members: Iterable[Membership]) -> list[dict[str, Any]]:
    """Return where a pod has them."""
    return [
        {"name": one.claim, "mountPath": one.path, "readOnly": one.is_reader} for one in members
    ]
