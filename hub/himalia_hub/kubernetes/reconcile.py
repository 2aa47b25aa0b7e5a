"""Makes every user's namespace what it should be, and does away with it when its user is gone."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from himalia.core.errors import Conflict, Unavailable
from himalia.core.names import namespace
from himalia_hub.kubernetes.bundle import (
    CA_CONFIG,
    OWNER,
    PART_OF,
    PULL_SECRET,
    RELEASE,
    USER,
    Given,
    Manifest,
    Tenant,
    contents,
    namespace_of,
)
from himalia_hub.kubernetes.cluster import Cluster, Ref, Refused
from himalia_hub.kubernetes.settings import Kubernetes
from himalia_hub.kubernetes.storage import Storage

_log = logging.getLogger(__name__)

_OPTIONAL = (
    ("ResourceQuota", "himalia"),
    ("LimitRange", "himalia"),
    ("ConfigMap", CA_CONFIG),
    ("Secret", PULL_SECRET),
)
_FOREIGN = (
    "The namespace {name} exists and was not made by this hub for {owner}. It is left as it is. "
    "Please tell whoever looks after this hub. Next step for them: rename it, or set "
    "c.Kubernetes.prefix."
)
_ENDING = "The namespace {name} is just being deleted. Try again in a minute."
_ODD = "Kubernetes refuses a part of {name}: {why}. Please tell whoever looks after this hub."


class _Ending(Unavailable):
    """A namespace is not there for a moment; the others may well be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensured:
    """A namespace that is as it should be."""

    namespace: str
    is_new: bool


class Reconciler:
    """May be asked about several owners at once; one owner's requests wait for each other."""

    def __init__(self, settings: Kubernetes, cluster: Cluster, storage: Storage) -> None:
        self._settings = settings
        self._cluster = cluster
        self._storage = storage
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ensure(self, tenant: Tenant) -> Ensured:
        """Make a user's namespace, or repair what differs in it.

        :raises Conflict: a namespace or volume of its name is somebody else's, or the cluster
            refuses a part of it.
        :raises Unavailable: the cluster or the disk does not do it now, or the namespace just ends.
        """
        async with self._locks[tenant.owner]:
            try:
                is_new = await self._namespace(namespace_of(tenant, self._settings))
                await self._storage.ensure(tenant)
                wanted = contents(tenant, self._settings, await self._given())
                await self._fill(wanted, is_new=is_new)
            except Refused as error:
                name = namespace(tenant.owner, self._settings.prefix)
                raise Conflict(_ODD.format(name=name, why=error.message[:500])) from error
            return Ensured(namespace=wanted[0]["metadata"]["namespace"], is_new=is_new)

    async def remove(self, owner: str) -> bool:
        """Delete a user's namespace, and do with the home what the settings say; tell whether that
        is done: Kubernetes takes its time. May be repeated.

        :raises Conflict: the namespace is somebody else's.
        :raises Unavailable: the cluster or the disk does not do it now.
        """
        ref = Ref(kind="Namespace", name=namespace(owner, self._settings.prefix))
        async with self._locks[owner]:
            found = await self._cluster.get(ref)
            if found is None:
                await self._storage.after_end(owner)
                return True
            _check(found, owner)
            if "deletionTimestamp" not in found["metadata"]:
                await self._storage.before_end(ref.name)
                await self._cluster.delete(ref)
                _log.info("deleting the namespace %s", ref.name)
            return False

    async def tenants(self) -> list[Tenant]:
        """Return for whom there are namespaces (:raises Unavailable:)."""
        labels = {**PART_OF, RELEASE: self._settings.release_namespace}
        found = await self._cluster.list("Namespace", labels)
        notes = [one["metadata"].get("annotations", {}) for one in found]
        return [
            Tenant(owner=note[OWNER], user=note.get(USER, "")) for note in notes if OWNER in note
        ]

    async def look(self) -> None:
        """Return if the cluster answers (:raises Unavailable: it does not)."""
        await self._cluster.get(Ref(kind="Namespace", name=self._settings.release_namespace))

    async def repair(self) -> None:
        """Compare every namespace with what it should be, and delete homes that were archived long
        enough ago (:raises Unavailable:).
        """
        for tenant in await self.tenants():
            try:
                await self.ensure(tenant)
            except (Conflict, _Ending, ValueError) as error:
                _log.warning("the namespace of %s is not repaired: %s", tenant.owner, error)
        await self._storage.sweep()

    async def _namespace(self, wanted: Manifest) -> bool:
        ref, owner = Ref.of(wanted), wanted["metadata"]["annotations"][OWNER]
        found = await self._cluster.get(ref)
        if found is None:
            try:
                # Not applied: what somebody made a moment ago would be changed.
                await self._cluster.create(wanted)
            except Conflict:
                found = await self._cluster.get(ref)
            else:
                return True
        if found is None:
            raise _Ending(_ENDING.format(name=ref.name))
        _check(found, owner)
        if "deletionTimestamp" in found["metadata"]:
            raise _Ending(_ENDING.format(name=ref.name))
        if not _has(found, wanted):
            await self._cluster.apply(wanted)
        return False

    async def _fill(self, wanted: list[Manifest], *, is_new: bool) -> None:
        # What keeps pods apart comes before anything that lets somebody make pods.
        for is_binding in (False, True):
            await asyncio.gather(
                *(
                    self._put(one, is_new=is_new)
                    for one in wanted
                    if (one["kind"] == "RoleBinding") is is_binding
                )
            )
        if is_new:
            return
        there = {(one["kind"], one["metadata"]["name"]) for one in wanted}
        name = wanted[0]["metadata"]["namespace"]
        await asyncio.gather(
            *(
                self._cluster.delete(Ref(kind=kind, name=title, namespace=name))
                for kind, title in _OPTIONAL
                if (kind, title) not in there
            )
        )

    async def _put(self, wanted: Manifest, *, is_new: bool) -> None:
        ref = Ref.of(wanted)
        if ref.kind == "PersistentVolumeClaim" and not is_new:
            await self._storage.claim(wanted)
            return
        try:
            await self._cluster.apply(wanted)
        except Refused as error:
            if ref.kind != "RoleBinding":
                raise Refused(f"{ref.kind} {ref.name}: {error.message}") from error
            # To which role it leads cannot be changed in place.
            await self._cluster.delete(ref)
            await self._cluster.apply(wanted)

    async def _given(self) -> Given:
        def read() -> Given:
            pull, ca = self._settings.pull_secret_file, self._settings.ca_file
            return Given(
                pull=Path(pull).read_bytes() if pull else b"",
                ca=Path(ca).read_text() if ca else "",
            )

        try:
            return await asyncio.to_thread(read)
        except OSError as error:
            raise Unavailable(f"{error.filename} cannot be read: {error.strerror}.") from error


def _check(found: dict[str, Any], owner: str) -> None:
    about = found["metadata"]
    if about.get("annotations", {}).get(OWNER) != owner:
        raise Conflict(_FOREIGN.format(name=about["name"], owner=owner))


def _has(found: dict[str, Any], wanted: Manifest) -> bool:
    """Tell whether labels and annotations are there as wanted."""
    return all(
        wanted["metadata"][part].items() <= found["metadata"].get(part, {}).items()
        for part in ("labels", "annotations")
    )
