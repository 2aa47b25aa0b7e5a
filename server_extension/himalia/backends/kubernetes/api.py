"""The Kubernetes API as the backend asks it: JSON objects, bounded waits, errors in plain words.

Everything asked here may be asked again: names are ours, so what a lost answer left undone is
done, and what it did is found.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from himalia.core.errors import Unavailable

Object = dict[str, Any]
Query = Sequence[tuple[str, str]]

_SECONDS = 15.0
_TRIES = 4
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_LONGEST_QUIET = 60
_WATCH_SECONDS = 300
_SILENCE_SECONDS = 80.0
"""A watch says something every minute, if only how far it is."""
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_FAREWELL_SECONDS = 0.02
_BEAT_SECONDS = 30.0
"""Between signs of life on a connection to a pod."""
_EXEC_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")


class Refusal(Exception):
    """The API server says no; asking again would not help."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


class NotThere(Refusal):
    """There is no such object."""


class Exists(Refusal):
    """There is such an object already."""


class Outdated(Refusal):
    """What a watch should go on from is forgotten."""


class Api:
    """One cluster's API server."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._quiet_until_mono = 0.0
        """The server has said that it wants to be left alone until then."""

    @classmethod
    async def connect(cls, kubeconfig: Path | None = None) -> Api:
        """Get ready to ask: by a kubeconfig, else as a pod of the cluster or as ``kubectl`` does.

        :raises Unavailable: there is nothing to go by.
        """
        configuration = Configuration()
        # Watches and agents hold a connection each.
        configuration.connection_pool_maxsize = 0
        configuration.client_session_kwargs = {"trust_env": False}
        try:
            if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
                load_incluster_config(  # type: ignore[no-untyped-call]
                    client_configuration=configuration
                )
            else:
                file = None if kubeconfig is None else str(kubeconfig)
                await load_kube_config(  # type: ignore[no-untyped-call]
                    config_file=file, client_configuration=configuration
                )
        except (ConfigException, OSError) as error:
            raise Unavailable(f"There is no way to the cluster: {error}") from error
        return cls(ApiClient(configuration))

    async def close(self) -> None:
        """Close every connection."""
        await self._client.close()  # type: ignore[no-untyped-call]
        # What was aborted is gone only after another round of the loop or two.
        await asyncio.sleep(_FAREWELL_SECONDS)

    async def look(self) -> None:
        """Return if the API server answers (:raises Unavailable: it does not)."""
        try:
            await self._ask("GET", "/version", ())
        except Refusal as error:
            raise Unavailable(f"The cluster's API server says: {error.message}.") from error

    async def get(self, path: str, query: Query = ()) -> Object:
        """Return an object or a list (:raises Refusal:) (:raises Unavailable:)."""
        return await self._ask("GET", path, query)

    async def create(self, path: str, body: Object) -> Object:
        """Make an object; return it as it is (:raises Exists:) (:raises Refusal:)
        (:raises Unavailable:).
        """
        return await self._ask("POST", path, (), body)

    async def delete(self, path: str, *, grace_seconds: int | None = None, uid: str = "") -> None:
        """Have an object deleted; one that is not there, or is another by now, is left as it is.

        :raises Unavailable: not now.
        """
        options: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            await self._ask("DELETE", path, (), options)
        except NotThere:
            pass
        except Refusal as error:
            if error.reason != "Conflict":
                raise

    async def watch(self, path: str, query: Query, version: str) -> AsyncGenerator[Object]:
        """Yield what happens to objects of a list from `version` on, until the server ends it.

        :raises Outdated: that is too long ago; list them anew.
        :raises Unavailable: not now, or nothing was heard for too long.
        """
        asked = [
            *query,
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", str(_WATCH_SECONDS)),
        ]
        patience = aiohttp.ClientTimeout(sock_connect=_SECONDS, sock_read=_SILENCE_SECONDS)
        if time.monotonic() < self._quiet_until_mono:
            raise Unavailable("The cluster's API server cannot be asked just now: it is busy.")
        try:
            async with await self._send("GET", path, asked, None, patience) as answer:
                if answer.status != 200:
                    self._leave_alone(answer)
                    raise await _refusal(answer)
                try:
                    while line := await answer.content.readline():
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            raise _refused(event["object"])
                        yield event
                finally:
                    # Half read, it is of no more use; TLS would wait for the server's farewell.
                    if answer.connection is not None and answer.connection.transport is not None:
                        answer.connection.transport.abort()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise Unavailable(_words(error)) from error

    async def execute(self, path: str, command: Sequence[str]) -> aiohttp.ClientWebSocketResponse:
        """Start a program in a pod, with its standard streams on a WebSocket.

        :raises Refusal: there is no such pod, or it does not run.
        :raises Unavailable: not now.
        """
        query = [
            *(("command", word) for word in command),
            *((stream, "true") for stream in ("stdin", "stdout", "stderr")),
        ]
        # Whoever asks for JSON is told that a stream is none.
        headers = {**await self._headers(), "Accept": "*/*"}
        try:
            async with asyncio.timeout(_SECONDS):
                socket: aiohttp.ClientWebSocketResponse = await self._session().ws_connect(
                    self._url(path),
                    params=query,
                    headers=headers,
                    protocols=_EXEC_PROTOCOLS,
                    heartbeat=_BEAT_SECONDS,
                    **self._way(),
                )
                return socket
        except aiohttp.WSServerHandshakeError as error:
            if error.status in _PASSING:
                raise Unavailable(_words(error)) from error
            text = f"a program in a pod cannot be started ({error.status} {error.message})"
            raise Refusal(error.status, "Exec", text) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(_words(error)) from error

    async def _ask(
        self, method: str, path: str, query: Query, body: Object | None = None
    ) -> Object:
        patience = aiohttp.ClientTimeout(total=_SECONDS)
        pause, problem = 0.0, "it is busy"
        until = time.monotonic() + _SECONDS
        for _ in range(_TRIES):
            now_mono = time.monotonic()
            wait = max(min(pause, _LONGEST_PAUSE), self._quiet_until_mono - now_mono)
            # Who did not answer for so long is not asked again by somebody who waits.
            if now_mono + wait > until:
                break
            await asyncio.sleep(wait)
            pause = 3 * pause or _FIRST_PAUSE
            try:
                async with await self._send(method, path, query, body, patience) as answer:
                    if answer.status < 300:
                        return cast("Object", await answer.json())
                    if answer.status not in _PASSING:
                        raise await _refusal(answer)
                    problem = f"it answers {answer.status} {answer.reason}"
                    self._leave_alone(answer)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                problem = _problem(error)
        raise Unavailable(f"The cluster's API server cannot be asked just now: {problem}.")

    def _leave_alone(self, answer: aiohttp.ClientResponse) -> None:
        """Ask nothing for as long as the server wants."""
        wish = answer.headers.get("Retry-After", "")
        if answer.status in _PASSING and wish.isdecimal():
            end = time.monotonic() + min(int(wish), _LONGEST_QUIET)
            self._quiet_until_mono = max(self._quiet_until_mono, end)

    async def _send(
        self,
        method: str,
        path: str,
        query: Query,
        body: Object | None,
        patience: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        headers = await self._headers()
        data = None if body is None else json.dumps(body)
        return await self._session().request(
            method,
            self._url(path),
            params=list(query),
            data=data,
            headers=headers,
            timeout=patience,
            **self._way(),
        )

    def _way(self) -> Any:
        """Return how the configuration has the server reached, beside its address."""
        configuration = self._client.configuration
        way = {"server_hostname": configuration.tls_server_name, "proxy": configuration.proxy}
        return {name: value for name, value in way.items() if value}

    async def _headers(self) -> Mapping[str, str]:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], "", "", None)
        return headers

    def _session(self) -> aiohttp.ClientSession:
        rest = self._client.rest_client
        if rest.pool_manager is None:
            rest.pool_manager = rest._create_pool_manager()  # noqa: SLF001 - as its own stream does
        return rest.pool_manager

    def _url(self, path: str) -> str:
        return f"{self._client.configuration.host.rstrip('/')}{path}"


async def _refusal(answer: aiohttp.ClientResponse) -> Exception:
    try:
        status = json.loads(await answer.text())
    except ValueError:
        status = {}
    if not isinstance(status, dict):
        status = {}
    return _refused({"code": answer.status, "message": answer.reason, **status})


def _refused(status: Object) -> Exception:
    code = int(status.get("code") or 500)
    reason, message = str(status.get("reason") or ""), str(status.get("message") or "")
    if code == 401:
        return Unavailable("The cluster's API server does not know who asks; an admin must look.")
    if code in _PASSING:
        return Unavailable(f"The cluster's API server cannot be asked just now: {message}.")
    kinds = {404: NotThere, 410: Outdated}
    kind = Exists if reason == "AlreadyExists" else kinds.get(code, Refusal)
    return kind(code, reason, message)


def _words(error: Exception) -> str:
    return f"The cluster's API server cannot be asked just now: {_problem(error)}."


def _problem(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "it does not answer in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "it cannot be reached"
    return f"{type(error).__name__} {error}".strip()
