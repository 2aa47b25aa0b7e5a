"""Makes every user's namespace what it should be, and does away with it when its user is gone."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from himalia.core.errors import Conflict, HimaliaError, Unavailable
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
_CLAIM = "PersistentVolumeClaim"
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


@dataclass(frozen=True, kw_only=True)
class _Wish:
    """What is to be there for a user."""

    tenant: Tenant
    space: Manifest
    contents: list[Manifest]

    @property
    def name(self) -> str:
        """The namespace's."""
        return str(self.space["metadata"]["name"])

    @property
    def claim(self) -> Manifest:
        """The home's."""
        return next(one for one in self.contents if one["kind"] == _CLAIM)

    @cached_property
    def digest(self) -> str:
        """The same for the same wish."""
        text = json.dumps([self.space, self.contents], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    """What was made: this very namespace, with all of a wish."""

    uid: str
    digest: str


class Reconciler:
    """May be asked about several owners at once; one owner's requests wait for each other."""

    def __init__(self, settings: Kubernetes, cluster: Cluster, storage: Storage) -> None:
        self._settings = settings
        self._cluster = cluster
        self._storage = storage
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._made: dict[str, _Made] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def ensure(self, tenant: Tenant) -> Ensured:
        """Make a user's namespace, or repair what differs in it.

        Where this process has made all of it before, and the namespace itself is as it was, the
        rest is compared, and repaired, right after this has returned: nobody waits for that.

        :raises Conflict: a namespace or volume of its name is somebody else's, or the cluster
            refuses a part of it.
        :raises Unavailable: the cluster or the disk does not do it now, or the namespace just ends.
        """
        wish = await self._wish(tenant)
        if await self._is_as_made(wish):
            self._compare_later(wish)
            return Ensured(namespace=wish.name, is_new=False)
        return await self._make(wish)

    async def _wish(self, tenant: Tenant) -> _Wish:
        return _Wish(
            tenant=tenant,
            space=namespace_of(tenant, self._settings),
            contents=contents(tenant, self._settings, await self._given()),
        )

    async def _is_as_made(self, wish: _Wish) -> bool:
        """Tell whether this process has made all that is wished for, in this very namespace."""
        made = self._made.get(wish.tenant.owner)
        if made is None or made.digest != wish.digest:
            return False
        found = await self._cluster.get(Ref.of(wish.space))
        return (
            found is not None
            and found["metadata"]["uid"] == made.uid
            and "deletionTimestamp" not in found["metadata"]
            # Whoever changed these may have changed more.
            and _has(found, wish.space)
        )

    async def _make(self, wish: _Wish) -> Ensured:
        """Make all that is wished for, or what differs from it (raises as `ensure`)."""
        async with self._locks[wish.tenant.owner]:
            return await self._complete(wish)

    async def _complete(self, wish: _Wish) -> Ensured:
        owner = wish.tenant.owner
        try:
            uid, is_new = await self._namespace(wish.space)
            await asyncio.gather(
                self._storage.ensure(wish.tenant, wish.claim), self._fill(wish, is_new=is_new)
            )
        except HimaliaError as error:
            self._made.pop(owner, None)
            if isinstance(error, Refused):
                raise Conflict(_ODD.format(name=wish.name, why=error.message[:500])) from error
            raise
        self._made[owner] = _Made(uid=uid, digest=wish.digest)
        return Ensured(namespace=wish.name, is_new=is_new)

    def _compare_later(self, wish: _Wish) -> None:
        """Repair what differs, for nobody who waits; one comparison at a time is enough."""
        if self._locks[wish.tenant.owner].locked():
            return
        task = asyncio.create_task(self._compare(wish), name=f"compare {wish.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _compare(self, wish: _Wish) -> None:
        async with self._locks[wish.tenant.owner]:
            if wish.tenant.owner not in self._made:
                # It was removed in between.
                return
            try:
                await self._complete(wish)
            except HimaliaError as error:
                _log.warning("the namespace %s is not repaired: %s", wish.name, error.message)

    async def close(self) -> None:
        """Leave what nobody waits for; it is done again by whoever comes next."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

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
            self._made.pop(owner, None)
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
                await self._make(await self._wish(tenant))
            except (Conflict, _Ending, ValueError) as error:
                _log.warning("the namespace of %s is not repaired: %s", tenant.owner, error)
        await self._storage.sweep()

    async def _namespace(self, wanted: Manifest) -> tuple[str, bool]:
        """See that the namespace itself is there; return its uid, and whether it is new."""
        ref, owner = Ref.of(wanted), wanted["metadata"]["annotations"][OWNER]
        found = await self._cluster.get(ref)
        if found is None:
            try:
                # Not applied: what somebody made a moment ago would be changed.
                made = await self._cluster.create(wanted)
            except Conflict:
                found = await self._cluster.get(ref)
            else:
                return made["metadata"]["uid"], True
        if found is None:
            raise _Ending(_ENDING.format(name=ref.name))
        _check(found, owner)
        if "deletionTimestamp" in found["metadata"]:
            raise _Ending(_ENDING.format(name=ref.name))
        if not _has(found, wanted):
            await self._cluster.apply(wanted)
        return found["metadata"]["uid"], False

    async def _fill(self, wish: _Wish, *, is_new: bool) -> None:
        wanted = [one for one in wish.contents if one["kind"] != _CLAIM]
        # What keeps pods apart comes before anything that lets somebody make pods.
        for is_binding in (False, True):
            await asyncio.gather(
                *(self._put(one) for one in wanted if (one["kind"] == "RoleBinding") is is_binding)
            )
        if is_new:
            return
        there = {(one["kind"], one["metadata"]["name"]) for one in wanted}
        await asyncio.gather(
            *(
                self._cluster.delete(Ref(kind=kind, name=title, namespace=wish.name))
                for kind, title in _OPTIONAL
                if (kind, title) not in there
            )
        )

    async def _put(self, wanted: Manifest) -> None:
        ref = Ref.of(wanted)
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

        if not self._settings.pull_secret_file and not self._settings.ca_file:
            return Given()
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
