"""Homes in the cluster: a folder of an NFS export for each user, or a volume of a storage class."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from himalia.core.errors import Conflict
from himalia.core.names import namespace
from himalia_hub.homes import Homes
from himalia_hub.kubernetes.bundle import (
    CLAIM,
    OWNER,
    PART_OF,
    RELEASE,
    Manifest,
    Tenant,
    volume_of,
)
from himalia_hub.kubernetes.cluster import Cluster, Ref, Refused
from himalia_hub.kubernetes.settings import Kubernetes

_log = logging.getLogger(__name__)

_ARCHIVED = "himalia.io/archived-at"
_LOOKED_FOR = "himalia.io/volume-looked-for"
_LONG_PAUSE = 0.1
_BIND_PAUSES = (0.02, 0.03, 0.05, 0.05, _LONG_PAUSE, 0.1, 0.2, 0.3, 0.5)
"""Seconds; binding takes a few hundredths."""
_FOREIGN = (
    "The volume {name} was not made by this hub for {owner}. It is left as it is. Please tell "
    "whoever looks after this hub."
)


class Storage:
    """Where homes lie. All methods raise Unavailable when the cluster or the disk does not do it
    now, and Conflict when something of a home's name is somebody else's; all may be repeated.
    """

    def __init__(self, settings: Kubernetes, cluster: Cluster, *, retired_days: float) -> None:
        self._settings = settings
        self._cluster = cluster
        self._retired = timedelta(days=retired_days)
        self._homes = Homes(Path(settings.nfs_folder)) if settings.nfs_server else None
        self._labels = {**PART_OF, RELEASE: settings.release_namespace}

    async def ensure(self, tenant: Tenant, claim: dict[str, Any]) -> None:
        """Make the folder of a home, the volume that leads to it alone, and the claim to it.

        A storage class makes folder and volume by itself, as soon as a pod needs them.
        """
        wanted = volume_of(tenant, self._settings)
        if self._homes is None or wanted is None:
            await self._claim(claim)
            return
        await self._volume(tenant, self._homes, wanted)
        # After its volume: Kubernetes looks for one that was not there only every 15 s.
        if await self._claim(claim):
            await self._bound(Ref.of(claim))

    async def _volume(self, tenant: Tenant, homes: Homes, wanted: Manifest) -> None:
        ids = (self._settings.uid, self._settings.gid)
        await asyncio.to_thread(homes.make, tenant.owner, *ids)
        ref = Ref.of(wanted)
        try:
            found = await self._cluster.get(ref) or await self._cluster.create(wanted)
        except Conflict:
            found = await self._cluster.get(ref) or {}
        _check(found, tenant.owner, ref.name)
        if found.get("status", {}).get("phase") == "Released":
            # Its claim was deleted with everything around it; the files are there.
            change = {"spec": {"claimRef": {"uid": None, "resourceVersion": None}}}
            await self._cluster.merge(ref, change)

    async def _claim(self, wanted: Manifest) -> bool:
        """Make the claim that is not there, and tell whether that was so; one that is there can
        only grow, where it can.
        """
        ref = Ref.of(wanted)
        found = await self._cluster.get(ref)
        if found is None:
            await self._cluster.apply(wanted)
            return True
        has = found["spec"]["resources"]["requests"].get("storage")
        if has == wanted["spec"]["resources"]["requests"]["storage"] or self._homes is not None:
            return False
        try:
            await self._cluster.apply(wanted)
        except Refused as error:
            _log.warning("the home in %s stays at %s: %s", ref.namespace, has, error.message)
        return False

    async def _bound(self, claim: Ref) -> None:
        """Give volume and claim time to find each other: a pod that comes before waits longer."""
        for pause in _BIND_PAUSES:
            await asyncio.sleep(pause)
            found = await self._cluster.get(claim)
            if found is None or found.get("status", {}).get("phase") == "Bound":
                return
            if pause >= _LONG_PAUSE:
                # It was looked at before the volume was known. A change has it looked at again.
                note = {"metadata": {"annotations": {_LOOKED_FOR: str(time.time_ns())}}}
                await self._cluster.merge(claim, note)

    async def before_end(self, name: str) -> None:
        """Say, before the claim in a namespace goes, what becomes of a storage class's volume."""
        if self._homes is not None:
            return
        ref = Ref(kind="PersistentVolumeClaim", name=CLAIM, namespace=name)
        claim = await self._cluster.get(ref) or {}
        volume = claim.get("spec", {}).get("volumeName")
        if not volume:
            return
        policy = self._settings.on_home
        about: dict[str, Any] = {"labels": self._labels}
        if policy == "archive":
            about["annotations"] = {_ARCHIVED: datetime.now(UTC).isoformat()}
        reclaim = "Delete" if policy == "delete" else "Retain"
        await self._cluster.merge(
            Ref(kind="PersistentVolume", name=volume),
            {"metadata": about, "spec": {"persistentVolumeReclaimPolicy": reclaim}},
        )

    async def after_end(self, owner: str) -> None:
        """Do with a home what the settings say, now that nothing can be using it."""
        if self._homes is None:
            return
        name = namespace(owner, self._settings.prefix)
        ref = Ref(kind="PersistentVolume", name=name)
        found = await self._cluster.get(ref)
        if found is not None:
            _check(found, owner, name)
            await self._cluster.delete(ref)
        if self._settings.on_home != "keep":
            await asyncio.to_thread(self._homes.retire, owner)
        if self._settings.on_home == "delete":
            await asyncio.to_thread(self._homes.delete_retired, 0.0, owner)

    async def sweep(self) -> None:
        """Delete what was archived long enough ago."""
        if self._homes is not None:
            seconds = self._retired.total_seconds()
            await asyncio.to_thread(self._homes.delete_retired, seconds)
            return
        before = datetime.now(UTC) - self._retired
        for volume in await self._cluster.list("PersistentVolume", self._labels):
            at = volume["metadata"].get("annotations", {}).get(_ARCHIVED)
            phase = volume.get("status", {}).get("phase")
            if at and phase == "Released" and datetime.fromisoformat(at) < before:
                # Whoever made the volume deletes it then.
                change = {"spec": {"persistentVolumeReclaimPolicy": "Delete"}}
                await self._cluster.merge(
                    Ref(kind="PersistentVolume", name=volume["metadata"]["name"]), change
                )


def _check(found: dict[str, Any], owner: str, name: str) -> None:
    if found.get("metadata", {}).get("annotations", {}).get(OWNER) != owner:
        raise Conflict(_FOREIGN.format(name=name, owner=owner))
