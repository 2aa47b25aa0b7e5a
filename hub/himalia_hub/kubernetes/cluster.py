"""The API server, as far as namespaces need it: manifests in, manifests out, errors in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlencode

import aiohttp
from kubernetes.aio import client, config

from himalia.core.errors import Conflict, HimaliaError, NotFound, Unavailable

_MANAGER = "himalia-namespaces"
_TIMEOUT = aiohttp.ClientTimeout(total=20.0, sock_connect=5.0)
_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_PLACES = {
    "Namespace": ("/api/v1", "namespaces"),
    "PersistentVolume": ("/api/v1", "persistentvolumes"),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "ResourceQuota": ("/api/v1", "resourcequotas"),
    "LimitRange": ("/api/v1", "limitranges"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Secret": ("/api/v1", "secrets"),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies"),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
}
_SILENT = (
    "The Kubernetes API server does not answer ({why}). It is tried again; if that lasts, tell "
    "whoever looks after this hub."
)
_DENIED = (
    "Himalia may not {verb} {what} in this cluster. Please tell whoever looks after this hub. Next "
    "step for them: see that the roles of its chart are installed as they are."
)


class Refused(HimaliaError):
    """The API server finds a manifest wrong; this never travels."""

    http_status = 422


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """One object's place."""

    kind: str
    name: str
    namespace: str = ""

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Ref:
        """Return where a manifest belongs."""
        about = manifest["metadata"]
        return cls(kind=manifest["kind"], name=about["name"], namespace=about.get("namespace", ""))

    @property
    def folder(self) -> str:
        """The address of all of its kind."""
        base, plural = _PLACES[self.kind]
        inside = f"/namespaces/{quote(self.namespace)}" if self.namespace else ""
        return f"{base}{inside}/{plural}"

    @property
    def path(self) -> str:
        """The address of this one."""
        return f"{self.folder}/{quote(self.name)}"


class Cluster:
    """Asks the API server, with the rights of this process."""

    def __init__(self, configuration: client.Configuration) -> None:
        self._configuration = configuration
        self._api = client.ApiClient(configuration)

    @classmethod
    async def connect(cls) -> Self:
        """Take the address and the identity from this pod, or else from KUBECONFIG.

        :raises Unavailable: there is neither.
        """
        configuration = client.Configuration()
        try:
            config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        except config.ConfigException:
            try:
                await config.load_kube_config(  # type: ignore[no-untyped-call]
                    client_configuration=configuration
                )
            except (config.ConfigException, OSError) as error:
                raise Unavailable(
                    "There is no Kubernetes cluster here: this is no pod, and KUBECONFIG names no "
                    f"configuration ({error})."
                ) from error
        return cls(configuration)

    async def close(self) -> None:
        """Let go of connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def get(self, ref: Ref) -> dict[str, Any] | None:
        """Return an object, if it is there (:raises Unavailable: nobody knows)."""
        try:
            return await self._ask("GET", ref.path)
        except NotFound:
            return None

    async def list(self, kind: str, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return all objects of a kind that have these labels (:raises Unavailable:)."""
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        found: list[dict[str, Any]] = []
        onward = ""
        while True:
            query = {"labelSelector": selector, "limit": 500, "continue": onward}
            page = await self._ask("GET", Ref(kind=kind, name="").folder, query=query)
            found += page["items"]
            onward = page["metadata"].get("continue", "")
            if not onward:
                return found

    async def create(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Make an object (:raises Conflict: there is one; raises else as `apply`)."""
        folder = Ref.of(manifest).folder
        return await self._ask("POST", folder, manifest, query={"fieldManager": _MANAGER})

    async def apply(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Make an object what the manifest says, whoever changed it.

        :raises Refused: it cannot be changed so.
        :raises Unavailable: nobody answers, or this process may not.
        """
        query = {"fieldManager": _MANAGER, "force": "true"}
        return await self._ask("PATCH", Ref.of(manifest).path, manifest, query=query, form=_APPLY)

    async def merge(self, ref: Ref, change: Mapping[str, Any]) -> dict[str, Any]:
        """Change parts of an object; None removes one (raises as `apply`, :raises NotFound:)."""
        return await self._ask("PATCH", ref.path, change, form=_MERGE)

    async def delete(self, ref: Ref) -> bool:
        """Have an object deleted; tell whether there was one (:raises Unavailable:)."""
        try:
            await self._ask("DELETE", ref.path, {"propagationPolicy": "Background"})
        except (NotFound, Conflict):
            return False
        return True

    async def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        form: str = "application/json",
    ) -> dict[str, Any]:
        headers = {"Accept": "application/json", "Content-Type": form}
        given: Mapping[str, Any] = await self._configuration.auth_settings()
        headers |= {one["key"]: one["value"] for one in given.values()}
        asked = urlencode({name: value for name, value in (query or {}).items() if value != ""})
        url = f"{self._configuration.host}{path}" + (f"?{asked}" if asked else "")
        try:
            answer = await self._api.call_api(
                method, url, headers, body=body, _request_timeout=_TIMEOUT
            )
            text = await answer.read()  # type: ignore[no-untyped-call]
            said = json.loads(text or b"{}")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(_SILENT.format(why=type(error).__name__)) from error
        if answer.status < 300:
            return dict(said)
        raise _error(answer.status, f"{method} {path}", str(said.get("message", "")))


def _error(status: int, what: str, message: str) -> HimaliaError:
    verb, _, path = what.partition(" ")
    if status in {401, 403} and "exceeded quota" not in message:
        return Unavailable(_DENIED.format(verb=verb.lower(), what=path.split("?")[0]))
    if status == 404:
        return NotFound(message)
    if status == 409:
        return Conflict(message)
    if status in {400, 403, 422}:
        return Refused(message)
    return Unavailable(_SILENT.format(why=f"status {status}"))
