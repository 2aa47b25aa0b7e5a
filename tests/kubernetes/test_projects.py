"""Folders that groups share: their members' and nobody else's, for as long as they are members."""

from __future__ import annotations

import asyncio
import stat
from typing import Any

import pytest

from tests.kubernetes.test_sessions import Person
from tests.servers.cluster import UID
from tests.servers.cluster_hub import ClusterHub
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.kubernetes]
WRITE = "umask 077; mkdir -p /projects/atlas/sub; echo one >> /projects/atlas/sub/data.txt"
READ = "cat /projects/atlas/sub/data.txt"


async def member(hub: ClusterHub, name: str, *groups: str) -> Person:
    """Start somebody's session who is in these groups."""
    person = await Person(hub, name).know()
    for group in groups:
        await hub.api("POST", f"groups/{group}")
        answer = await hub.api("POST", f"groups/{group}/users", json={"users": [name]})
        assert answer.status_code == 200, answer.text
    return await person.work()


def volumes(hub: ClusterHub, person: Person) -> list[Any]:
    label = f"--selector=himalia.io/namespace={person.space}"
    found: list[Any] = hub.cluster.get("persistentvolumes", label)["items"]
    return found


def steal(hub: ClusterHub, thief: Person, volume: str) -> tuple[str, ...]:
    """Claim somebody else's volume in one's own namespace; return what names the claim."""
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "thief", "namespace": thief.space},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "volumeName": volume,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    hub.cluster.kubectl("create", "--filename=-", given=claim)
    return "persistentvolumeclaim", "thief", "--namespace", thief.space


async def test_033_a_projects_folder_is_its_members_and_nobody_elses(
    cluster_hub: ClusterHub,
) -> None:
    hub = cluster_hub
    pia, quin, rob, sam = people = await asyncio.gather(
        member(hub, "pia", "atlas"),
        member(hub, "quin", "atlas"),
        member(hub, "rob", "visitors"),
        member(hub, "sam"),
    )
    try:
        # Members write each other's files, whatever their umask is; readers do not.
        pia.run("sh", "-c", WRITE)
        quin.run("sh", "-c", "echo two >> ~/projects/atlas/sub/data.txt")
        assert pia.run("sh", "-c", READ).split() == ["one", "two"]
        assert rob.run("sh", "-c", READ).split() == ["one", "two"]
        assert "Read-only" in rob.run("sh", "-c", f"({WRITE}) 2>&1 || true")
        folder = (hub.export / "projects/atlas").stat()
        assert (stat.S_IMODE(folder.st_mode), folder.st_gid) == (0o2770, UID)
        assert (hub.export / "projects/atlas/sub").stat().st_mode & stat.S_ISGID

        # Nobody else has a way to it: neither a folder, nor a volume, nor another's.
        assert sam.run("sh", "-c", "ls /projects 2>&1 || true").startswith("ls:")
        assert "projects" not in sam.run("cat", "/proc/mounts")
        assert volumes(hub, sam) == []
        (of_pia,) = volumes(hub, pia)
        claimed = steal(hub, sam, of_pia["metadata"]["name"])

        # Jobs have it too.
        run = await pia.job("print(open('/projects/atlas/sub/data.txt').read().split())")
        assert (await pia.ended(run["id"]))["status"] == "succeeded"
        assert "['one', 'two']" in await pia.said(run["id"])
        assert hub.cluster.get(*claimed)["status"]["phase"] != "Bound"

        # Who leaves the group has it until the next start.
        await hub.api("DELETE", "groups/atlas/users", json={"users": ["pia"]})
        await pia.rest()
        await pia.work()
        assert (
            pia.run("sh", "-c", "ls -d /projects/atlas ~/projects 2>&1 || true").count("ls:") == 2
        )
        async with asyncio.timeout(PATIENCE_SECONDS):
            while volumes(hub, pia):  # noqa: ASYNC110 - of another system nothing else tells
                await asyncio.sleep(0.3)
        assert quin.run("sh", "-c", READ).split() == ["one", "two"]
    finally:
        for person in people:
            await person.rest()
            await person.visitor.http.aclose()
