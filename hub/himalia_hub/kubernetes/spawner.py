"""Users' servers as pods, each in its user's own namespace."""

from __future__ import annotations

import asyncio
import copy
import json
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from datetime import UTC
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kubernetes_asyncio.client import ApiException, V1Pod
from kubespawner import KubeSpawner
from traitlets import default
from typing_extensions import override

from himalia.core.errors import HimaliaError
from himalia.core.names import namespace, owner_id
from himalia_hub.failures import NotStarted, ended
from himalia_hub.kubernetes import pods, starting
from himalia_hub.kubernetes.asking import Namespaces
from himalia_hub.kubernetes.bundle import CLAIM, OWNER, PART_OF, SESSION_ACCOUNT
from himalia_hub.kubernetes.inner_tls import InnerTls
from himalia_hub.kubernetes.profiles import offered, open_to
from himalia_hub.kubernetes.projects import Membership, mounts_of, volumes_of
from himalia_hub.kubernetes.settings import Kubernetes
from himalia_hub.later import settings_of
from himalia_hub.settings import Himalia
from himalia_hub.state import State

_LOOK_SECONDS = 0.3
_MARGIN_SECONDS = 5.0
"""Before JupyterHub itself gives a start up, without a reason."""
_RIGHTS_SECONDS = 10.0
"""After a namespace was made ready, until a right that lacks is a fault and not a delay."""
_LOG_LINES = 40
_PROFILED = (
    *("image", "cpu_limit", "cpu_guarantee", "mem_limit", "mem_guarantee"),
    *("extra_resource_limits", "node_selector", "tolerations"),
)
"""What a profile may set; the next start begins without it."""
_SLOW = "Your server did not run in time. Start it again, or tell whoever looks after this hub."


class HimaliaKubeSpawner(KubeSpawner):  # type: ignore[misc]
    """Starts servers in namespaces that somebody else makes, and says why one does not start."""

    _rights_until_mono = 0.0

    @cached_property
    def himalia(self) -> Himalia:
        """The hub's settings."""
        return settings_of(self.config)

    @cached_property
    def kubernetes(self) -> Kubernetes:
        """The settings of Kubernetes."""
        return Kubernetes(parent=self)

    @cached_property
    def owner(self) -> str:
        """The immutable id of the server's user."""
        return owner_id(self.user.name, self.user.orm_user.created.replace(tzinfo=UTC))

    @cached_property
    def _unprofiled(self) -> dict[str, Any]:
        return {name: copy.deepcopy(getattr(self, name)) for name in _PROFILED}

    @cached_property
    def _unshared(self) -> tuple[Any, Any]:
        return copy.deepcopy(self.volumes), copy.deepcopy(self.volume_mounts)

    @default("enable_user_namespaces")
    def _in_namespaces(self) -> bool:
        return True

    @default("user_namespace_template")
    def _namespace_name(self) -> str:
        return namespace(self.owner, self.kubernetes.prefix)

    @default("component_label")
    def _component(self) -> str:
        return "session"

    @default("common_labels")
    def _labels(self) -> dict[str, str]:
        return dict(PART_OF)

    @default("extra_annotations")
    def _annotations(self) -> dict[str, str]:
        return {OWNER: self.owner}

    @default("image")
    def _image(self) -> str:
        return self.kubernetes.image

    @default("image_pull_policy")
    def _pull_policy(self) -> str:
        return self.kubernetes.pull_policy

    @default("cmd")
    def _command(self) -> list[str]:
        # -P, -s: files and packages in the user's home must not stand for modules of the server's.
        return [self.kubernetes.python, "-P", "-s", "-m", "himalia.homes.start"]

    @default("working_dir")
    def _working_dir(self) -> str:
        return pods.HOME

    @default("uid")
    def _uid(self) -> int:
        return self.kubernetes.uid

    @default("gid")
    def _gid(self) -> int:
        return self.kubernetes.gid

    @default("fs_gid")
    def _fs_gid(self) -> int:
        return self.kubernetes.gid

    @default("pod_security_context")
    def _pod_security(self) -> dict[str, Any]:
        return pods.pod_security()

    @default("container_security_context")
    def _container_security(self) -> dict[str, Any]:
        return pods.container_security()

    @default("service_account")
    def _account(self) -> str:
        return SESSION_ACCOUNT

    @default("automount_service_account_token")
    def _no_token(self) -> bool:
        return False

    @default("extra_pod_config")
    def _pod_config(self) -> dict[str, Any]:
        return pods.pod_config()

    @default("storage_pvc_ensure")
    def _no_claim_of_its_own(self) -> bool:
        return False

    @default("delete_pvc")
    def _homes_stay(self) -> bool:
        return False

    @default("pvc_name_template")
    def _claim(self) -> str:
        return CLAIM

    @default("volumes")
    def _volumes(self) -> list[dict[str, Any]]:
        return pods.volumes(self.kubernetes)

    @default("volume_mounts")
    def _mounts(self) -> list[dict[str, Any]]:
        return pods.mounts(self.kubernetes)

    @default("node_selector")
    def _nodes(self) -> dict[str, str]:
        return dict(self.kubernetes.node_selector)

    @default("tolerations")
    def _tolerations(self) -> list[dict[str, Any]]:
        return [dict(one) for one in self.kubernetes.tolerations]

    @default("k8s_api_request_timeout")
    def _patience(self) -> int:
        # A pod that was made, unheard, would be ended and made again.
        return 15

    @default("delete_grace_period")
    def _grace(self) -> int:
        return 10

    @default("profile_list")
    def _profile_list(self) -> Any:
        return _offer if self.kubernetes.profiles else []

    @override
    def get_env(self) -> dict[str, str]:
        env: dict[str, str] = super().get_env()
        return {**env, **pods.environment(self.kubernetes)}

    @property
    @override
    def events(self) -> list[dict[str, Any]]:
        # Somebody else's pod may have the same name, elsewhere.
        return [
            one
            for one in super().events
            if one["involvedObject"].get("namespace") == self.namespace
        ]

    @override
    async def load_user_options(self) -> None:
        for name, value in self._unprofiled.items():
            setattr(self, name, copy.deepcopy(value))
        if self.kubernetes.profiles and not _offer(self):
            raise NotStarted(
                "No profile is open to you, so no server can be started for you. Please ask "
                "whoever looks after this hub."
            )
        try:
            await super().load_user_options()
        except ValueError as error:
            raise NotStarted(
                "There is no such profile for you. Choose one from the list when you start your "
                "server."
            ) from error

    @override
    async def start(self) -> str:
        """Start the server, and wait until it listens, or will not."""
        work: asyncio.Future[str] = super().start()
        until_mono = time.monotonic() + max(self.start_timeout - _MARGIN_SECONDS, 1)
        try:
            while not work.done():
                await asyncio.wait({work}, timeout=_LOOK_SECONDS)
                if not work.done():
                    await self._look(until_mono)
            url = work.result()
            await self._listening(url, until_mono)
        except ApiException as error:
            raise NotStarted(starting.refused(error.status, _message(error))) from error
        except TimeoutError as error:
            raise NotStarted(self._why_slow()) from error
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
        return url

    @override
    async def _ensure_namespace(self) -> None:
        token = State.of(self.himalia).secret("namespaces-token")
        try:
            settings = self.kubernetes
            namespaces = _namespaces(settings.namespaces_url, token, settings.tls_folder)
            await namespaces.ensure(self.owner, self.user.name)
            if settings.projects:
                groups = [group.name for group in self.user.groups]
                self._share(await namespaces.projects(self.owner, groups))
            self._rights_until_mono = time.monotonic() + _RIGHTS_SECONDS
        except HimaliaError as error:
            raise NotStarted(error.message) from error

    def _share(self, members: Iterable[Membership]) -> None:
        """Have the pod that is made now have these projects, and no other."""
        volumes, mounts = self._unshared
        self.volumes = [*copy.deepcopy(volumes), *volumes_of(members)]
        self.volume_mounts = [*copy.deepcopy(mounts), *mounts_of(members)]

    @override
    async def _make_create_pod_request(self, pod: V1Pod, request_timeout: float) -> bool:
        try:
            return bool(await super()._make_create_pod_request(pod, request_timeout))
        except ApiException as error:
            # In a new namespace, servers of the cluster learn of the hub's rights a moment later.
            is_early = time.monotonic() < self._rights_until_mono
            if is_early and starting.lacks_rights(error.status, _message(error)):
                return False
            raise

    @override
    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what happens, in the words of who waits for it."""
        yield {"progress": 5, "message": "Your place in the cluster is made ready."}
        said = ""
        async for event in super().progress():
            raw = event.get("raw_event")
            text = starting.told(raw) if raw is not None else event["message"]
            if text and text != said:
                said = text
                yield {**event, "message": text}

    def _pod(self) -> dict[str, Any] | None:
        reflector = self.pod_reflector
        if reflector is None:
            return None
        found: dict[str, Any] | None = reflector.pods.get(f"{self.namespace}/{self.pod_name}")
        return found

    async def _look(self, until_mono: float) -> None:
        """Return if the pod may still come up (:raises NotStarted: it will not, or not in time)."""
        verdict = starting.look(self._pod(), self.events)
        if verdict is not None and verdict.is_final:
            if not verdict.ended:
                raise NotStarted(verdict.text)
            log = await self._log()
            raise NotStarted(ended(verdict.ended, python=self.kubernetes.python, log=log))
        if time.monotonic() > until_mono:
            raise NotStarted(verdict.text if verdict is not None else _SLOW)

    def _why_slow(self) -> str:
        verdict = starting.look(self._pod(), self.events)
        return verdict.text if verdict is not None else _SLOW

    async def _listening(self, url: str, until_mono: float) -> None:
        """Return when the server accepts connections (:raises NotStarted: it will not)."""
        where = urlsplit(url)
        while True:
            try:
                async with asyncio.timeout(2):
                    _, writer = await asyncio.open_connection(where.hostname, where.port)
            except OSError:
                await self._look(until_mono)
                await asyncio.sleep(_LOOK_SECONDS)
            else:
                writer.close()
                return

    async def _log(self) -> str:
        """Return the end of what the server said, of the time before if it was started anew."""
        for previous in (False, True):
            with suppress(ApiException, TimeoutError):
                text = await self.api.read_namespaced_pod_log(
                    self.pod_name,
                    self.namespace,
                    container="notebook",
                    tail_lines=_LOG_LINES,
                    previous=previous,
                    _request_timeout=5,
                )
                if text:
                    return str(text)
        return ""


@cache
def _namespaces(url: str, token: str, tls_folder: str) -> Namespaces:
    """Return what asks for namespaces, one for all of the hub's starts."""
    tls = InnerTls(Path(tls_folder)).client() if tls_folder else None
    return Namespaces(url, token, tls)


def _offer(spawner: HimaliaKubeSpawner) -> list[dict[str, Any]]:
    """Return the profiles that a server's user may choose, as KubeSpawner takes them."""
    settings = spawner.kubernetes
    groups = [group.name for group in spawner.user.groups]
    mine = open_to(settings.profiles, spawner.user.name, groups)
    return offered(mine, settings.tolerations)


def _message(error: ApiException) -> str:
    with suppress(ValueError, TypeError, AttributeError):
        return str(json.loads(error.body or b"")["message"])
    return str(error.reason or "")
