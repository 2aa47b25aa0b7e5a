"""How the hub and control ask for namespaces."""

from __future__ import annotations

import ssl
from collections.abc import Collection
from typing import Any

import httpx

from himalia.core.errors import EVERY_ERROR, HimaliaError, Unavailable
from himalia_hub.kubernetes.projects import Membership

_TIMEOUT = httpx.Timeout(connect=5.0, read=60.0, write=5.0, pool=60.0)
_ERRORS = {kind.code: kind for kind in EVERY_ERROR}
_SILENT = (
    "What makes users' namespaces does not answer. Try again in a moment; if that lasts, tell "
    "whoever looks after this hub."
)


class Namespaces:
    """Asks the process that makes them."""

    def __init__(self, url: str, token: str, tls: ssl.SSLContext | None = None) -> None:
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=_TIMEOUT,
            verify=tls or True,
            trust_env=False,
        )

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()

    async def ensure(self, owner: str, user: str) -> str:
        """Have an owner's namespace be as it should be, and return its name.

        :raises Conflict: a namespace of that name is somebody else's.
        :raises Unavailable: it cannot be had now, or just ends.
        """
        said = await self._ask("PUT", f"/namespaces/{owner}", {"user": user})
        return str(said["namespace"])

    async def projects(self, owner: str, groups: Collection[str]) -> tuple[Membership, ...]:
        """Have an owner's namespace lead to the projects of these groups and to no other; return
        those that a pod may mount now (raises as `ensure`).
        """
        body = {"groups": sorted(groups)}
        said = await self._ask("PUT", f"/namespaces/{owner}/projects", body)
        return tuple(
            Membership(name=str(one["name"]), is_reader=bool(one["is_reader"]))
            for one in said["items"]
        )

    async def remove(self, owner: str) -> bool:
        """Have an owner's namespace go; tell whether it is gone (raises as `ensure`)."""
        said = await self._ask("DELETE", f"/namespaces/{owner}")
        return bool(said["state"] == "gone")

    async def owners(self) -> list[str]:
        """Return whose namespaces there are (:raises Unavailable:)."""
        return list((await self._ask("GET", "/namespaces"))["owners"])

    async def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        try:
            answer = await self._client.request(method, path, json=body)
            said: dict[str, Any] = answer.json()
        except (httpx.HTTPError, OSError, ValueError) as error:
            # A refused certificate may come as what the system says of the connection.
            raise Unavailable(_SILENT) from error
        if answer.is_success:
            return said
        raise _error(said.get("error") or {})


def _error(said: dict[str, Any]) -> HimaliaError:
    kind = _ERRORS.get(str(said.get("code")), Unavailable)
    return kind(str(said.get("message") or _SILENT)[:2000])
