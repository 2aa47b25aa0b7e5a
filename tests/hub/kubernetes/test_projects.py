"""Projects: whose they are, and what a pod of theirs has."""

from __future__ import annotations

import pytest

from himalia_hub.kubernetes.projects import Membership, memberships, mounts_of, volumes_of
from himalia_hub.kubernetes.settings import Kubernetes

ATLAS = {"name": "atlas", "groups": ["atlas"], "readers": ["visitors"]}
OPEN = {"name": "open", "groups": ["staff", "atlas"]}


@pytest.mark.parametrize(
    ("groups", "found"),
    [
        ([], []),
        (["Atlas"], []),
        (["visitors"], [("atlas", True)]),
        (["visitors", "atlas"], [("atlas", False), ("open", False)]),
        (["staff"], [("open", False)]),
    ],
)
def test_a_project_is_for_those_in_its_groups(
    groups: list[str], found: list[tuple[str, bool]]
) -> None:
    mine = memberships([ATLAS, OPEN], groups)
    assert [(one.name, one.is_reader) for one in mine] == found


def test_readers_cannot_write() -> None:
    (volume,) = volumes_of([Membership(name="atlas", is_reader=True)])
    (mount,) = mounts_of([Membership(name="atlas", is_reader=True)])
    assert volume["persistentVolumeClaim"] == {"claimName": "project-atlas", "readOnly": True}
    assert mount == {"name": volume["name"], "mountPath": "/projects/atlas", "readOnly": True}


@pytest.mark.parametrize(
    ("projects", "said"),
    [
        ([ATLAS, ATLAS], "twice"),
        ([{"name": "../up", "groups": ["a"]}], "number 1, name"),
        ([{"name": "a", "groups": []}], "groups"),
        ([{"name": "a"}], "groups"),
        ([{"name": "a", "groups": ["a"], "path": "/etc"}], "path"),
    ],
)
def test_what_is_no_list_of_projects_is_refused(projects: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Kubernetes(projects=projects)
