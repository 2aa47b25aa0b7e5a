"""Leads the members of projects to their folders, and nobody else: one volume for each of them."""

from __future__ import annotations

import asyncio
import logging
import os
import posixpath
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from himalia.core.errors import Conflict, Unavailable
from himalia.core.names import namespace
from himalia_hub.kubernetes.bundle import OWNER, PART_OF, RELEASE, Manifest
from himalia_hub.kubernetes.cluster import Cluster, Ref
from himalia_hub.kubernetes.projects import Membership, memberships
from himalia_hub.kubernetes.settings import Kubernetes

_log = logging.getLogger(__name__)

PROJECT, SPACE = "himalia.io/project", "himalia.io/namespace"
"""Labels of volumes: which project, and in whose namespace."""
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5)
_MODE = 0o2770
"""What is made in it stays its group's."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Shares:
    """All methods raise Unavailable when the cluster or the disk does not do it now, and Conflict
    when something of a name is somebody else's; all may be repeated.
    """

    def __init__(self, settings: Kubernetes, cluster: Cluster) -> None:
        self._settings = settings
        self._cluster = cluster
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ensure(self, owner: str, groups: Collection[str]) -> tuple[Membership, ...]:
        """See that an owner's namespace leads to the projects of these groups and to no other;
        return those that a pod may mount now.

        What a pod still has that was made before goes with that pod.
        """
        wanted = memberships(self._settings.projects, groups)
        async with self._locks[owner]:
            await self._drop(owner, keep={one.name for one in wanted})
            found = await asyncio.gather(*(self._lead(owner, one) for one in wanted))
        return tuple(one for one, is_there in zip(wanted, found, strict=True) if is_there)

    async def after_end(self, owner: str) -> None:
        """Let go of the volumes of somebody whose namespace is gone."""
        async with self._locks[owner]:
            for volume in await self._volumes(owner):
                await self._cluster.delete(Ref(kind="PersistentVolume", name=_name(volume)))

    async def _lead(self, owner: str, project: Membership) -> bool:
        """Tell whether a pod may mount the project."""
        settings = self._settings
        await asyncio.to_thread(_make, settings, project.name)
        volume, claim = _volume(owner, project, settings), _claim(owner, project, settings)
        ref = Ref.of(volume)
        try:
            found = await self._cluster.get(ref) or await self._cluster.create(volume)
        except Conflict:
            found = await self._cluster.get(ref) or {}
        if found.get("metadata", {}).get("annotations", {}).get(OWNER) != owner:
            raise Conflict(f"The volume {ref.name} was not made by this hub for {owner}.")
        if "deletionTimestamp" in found["metadata"]:
            return False
        if found.get("status", {}).get("phase") == "Released":
            change = {"spec": {"claimRef": {"uid": None, "resourceVersion": None}}}
            await self._cluster.merge(ref, change)
        where = Ref.of(claim)
        there = await self._cluster.get(where) or await self._cluster.apply(claim)
        for pause in _PAUSES:
            if "deletionTimestamp" in there["metadata"]:
                # A pod of before still has it: the next start may.
                return False
            if there.get("status", {}).get("phase") == "Bound":
                break
            await asyncio.sleep(pause)
            there = await self._cluster.get(where) or there
        # One that is bound a moment later is waited for by the pod.
        return True

    async def _drop(self, owner: str, keep: Collection[str]) -> None:
        space = namespace(owner, self._settings.prefix)
        for volume in await self._volumes(owner):
            project = volume["metadata"]["labels"][PROJECT]
            if project in keep:
                continue
            claim = Membership(name=project, is_reader=True).claim
            await self._cluster.delete(
                Ref(kind="PersistentVolumeClaim", name=claim, namespace=space)
            )
            await self._cluster.delete(Ref(kind="PersistentVolume", name=_name(volume)))
            _log.info("%s has the project %s no more", owner, project)

    async def _volumes(self, owner: str) -> Sequence[dict[str, Any]]:
        labels = {
            RELEASE: self._settings.release_namespace,
            SPACE: namespace(owner, self._settings.prefix),
        }
        found = await self._cluster.list("PersistentVolume", labels)
        return [one for one in found if PROJECT in one["metadata"]["labels"]]


def _name(volume: dict[str, Any]) -> str:
    return str(volume["metadata"]["name"])


def _volume(owner: str, project: Membership, settings: Kubernetes) -> Manifest:
    space = namespace(owner, settings.prefix)
    path = posixpath.join("/", settings.nfs_export, "projects", project.name)
    spec: Manifest = {
        "capacity": {"storage": settings.home_size},
        "accessModes": ["ReadWriteMany"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
        "nfs": {"server": settings.nfs_server, "path": path},
        # Nobody else's claim may take it.
        "claimRef": {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": space,
            "name": project.claim,
        },
    }
    if settings.nfs_options:
        spec["mountOptions"] = list(settings.nfs_options)
    labels = {RELEASE: settings.release_namespace, SPACE: space, PROJECT: project.name}
    about = {"name": f"{space}-{project.claim}", "labels": {**PART_OF, **labels}}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {**about, "annotations": {OWNER: owner}},
        "spec": spec,
    }


def _claim(owner: str, project: Membership, settings: Kubernetes) -> Manifest:
    space = namespace(owner, settings.prefix)
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": project.claim,
            "namespace": space,
            "labels": dict(PART_OF),
            "annotations": {OWNER: owner},
        },
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "volumeName": f"{space}-{project.claim}",
            "resources": {"requests": {"storage": settings.home_size}},
        },
    }


def _make(settings: Kubernetes, name: str) -> None:
    """Make a project's folder, which only its group can look into."""
    folder = Path(settings.nfs_folder) / "projects"
    try:
        folder.mkdir(mode=0o711, exist_ok=True)
        top = os.open(folder, _FOLDER)
        try:
            try:
                os.mkdir(name, 0o700, dir_fd=top)
            except FileExistsError:
                return
            os.chown(name, -1, settings.gid, dir_fd=top, follow_symlinks=False)
            os.chmod(name, _MODE, dir_fd=top)
        finally:
            os.close(top)
    except OSError as error:
        raise Unavailable(
            f"The folder of the project {name} cannot be made: {error.strerror}."
        ) from error
