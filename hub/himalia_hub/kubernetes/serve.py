"""The process that makes namespaces: small, and the only one with rights beyond them."""

from __future__ import annotations

import asyncio
import hmac
import logging
import signal
import socket
import ssl
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tornado import web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from traitlets.config.loader import PyFileConfigLoader
from typing_extensions import override

from himalia.core.errors import HimaliaError, InvalidInput, NotFound, Unauthenticated
from himalia.core.names import is_owner_id
from himalia_hub.kubernetes.bundle import Tenant
from himalia_hub.kubernetes.cluster import Cluster
from himalia_hub.kubernetes.inner_tls import inner_tls
from himalia_hub.kubernetes.reconcile import Reconciler
from himalia_hub.kubernetes.settings import Kubernetes
from himalia_hub.kubernetes.shares import Shares
from himalia_hub.kubernetes.storage import Storage
from himalia_hub.plain import PlainHandler
from himalia_hub.settings import Himalia
from himalia_hub.state import State

_BODY_BYTES = 262_144
_FIRST_REPAIR_SECONDS = 5.0
_log = logging.getLogger("himalia.namespaces")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How it is started."""

    config: Path
    port: int | None = None
    host: str | None = None
    """None: on every address, as others in the cluster reach it."""


def main(start: Start) -> None:
    """Serve until SIGTERM or SIGINT.

    :raises HimaliaError: it cannot start; the text says why.
    """
    c = PyFileConfigLoader(str(start.config)).load_config()
    himalia, settings = Himalia(config=c), Kubernetes(config=c)
    if settings.projects and not settings.nfs_server:
        raise InvalidInput("c.Kubernetes.projects are folders of an NFS export: set nfs_server.")
    token = State.of(himalia).secret("namespaces-token")
    asyncio.run(_serve(start, himalia, settings, token))


async def _serve(start: Start, himalia: Himalia, settings: Kubernetes, token: str) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with AsyncExitStack() as stack:
        cluster = await Cluster.connect()
        stack.push_async_callback(cluster.close)
        storage = Storage(settings, cluster, retired_days=himalia.retired_days)
        reconciler = Reconciler(settings, cluster, storage)
        stack.push_async_callback(reconciler.close)
        tls = inner_tls(settings)
        port = settings.namespaces_port if start.port is None else start.port
        sockets = bind_sockets(port, start.host)
        serving = application(reconciler, Shares(settings, cluster), token)
        _listen(stack, serving, sockets, tls.server() if tls else None)
        if tls is not None:
            # A node that asks whether this lives has no certificate.
            looked_at = bind_sockets(settings.health_port, start.host)
            _listen(stack, web.Application(_health(reconciler, token)), looked_at)
        if settings.repair_seconds > 0:
            repairing = asyncio.create_task(_repair(reconciler, settings.repair_seconds))
            stack.callback(repairing.cancel)
        _log.info("makes namespaces, at port %d", sockets[0].getsockname()[1])
        await told.wait()


def _listen(
    stack: AsyncExitStack,
    application: web.Application,
    sockets: list[socket.socket],
    tls: ssl.SSLContext | None = None,
) -> None:
    server = HTTPServer(application, ssl_options=tls, max_body_size=_BODY_BYTES)
    server.add_sockets(sockets)
    stack.push_async_callback(server.close_all_connections)
    stack.callback(server.stop)


async def _repair(reconciler: Reconciler, every_seconds: float) -> None:
    await asyncio.sleep(_FIRST_REPAIR_SECONDS)
    while True:
        try:
            await reconciler.repair()
        except HimaliaError as error:
            _log.warning("namespaces are not repaired now: %s", error.message)
        except Exception:  # noqa: BLE001 - logged, and tried again
            _log.exception("namespaces are not repaired now: unexpected trouble")
        await asyncio.sleep(every_seconds)


def application(reconciler: Reconciler, shares: Shares, token: str) -> web.Application:
    """Return what answers requests."""
    parts = {"reconciler": reconciler, "token": token}
    return web.Application(
        [
            *_health(reconciler, token),
            (r"/namespaces", _Namespaces, parts),
            (r"/namespaces/([^/]+)", _Namespace, {**parts, "shares": shares}),
            (r"/namespaces/([^/]+)/projects", _Projects, {**parts, "shares": shares}),
        ],
        log_function=lambda _: None,
    )


def _health(reconciler: Reconciler, token: str) -> list[Any]:
    parts = {"reconciler": reconciler, "token": token}
    return [(r"/health/live", _Live), (r"/health/ready", _Ready, parts)]


class _Handler(PlainHandler):
    reconciler: Reconciler
    token: str

    @override
    def initialize(self, reconciler: Reconciler, token: str) -> None:
        self.reconciler = reconciler
        self.token = token

    @override
    def prepare(self) -> None:
        said = self.request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(said.encode(), self.token.encode()):
            raise Unauthenticated("This is for the hub and control alone.")

    @override
    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        if isinstance(value, HimaliaError):
            _log.info("%s: %s", self.request.path, value.message)
        else:
            super().log_exception(typ, value, tb)


class _Live(PlainHandler):
    def get(self) -> None:
        self.finish("{}")


class _Ready(_Handler):
    @override
    def prepare(self) -> None:
        """Let everybody ask."""

    async def get(self) -> None:
        await self.reconciler.look()
        self.say(200, {})


class _Wish(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    user: Annotated[str, Field(max_length=255)]


class _Namespaces(_Handler):
    async def get(self) -> None:
        tenants = await self.reconciler.tenants()
        self.say(200, {"owners": sorted(tenant.owner for tenant in tenants)})


class _OfOne(_Handler):
    shares: Shares

    @override
    def initialize(self, reconciler: Reconciler, token: str, shares: Shares) -> None:  # type: ignore[override]
        super().initialize(reconciler, token)
        self.shares = shares


class _Groups(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    groups: Annotated[tuple[Annotated[str, Field(max_length=255)], ...], Field(max_length=1000)]


class _Projects(_OfOne):
    async def put(self, owner: str) -> None:
        try:
            said = _Groups.model_validate_json(self.request.body)
        except ValidationError:
            raise InvalidInput('The body is {"groups": [name, …]}.') from None
        found = await self.shares.ensure(_known(owner), said.groups)
        self.say(200, {"items": [asdict(one) for one in found]})


class _Namespace(_OfOne):
    async def put(self, owner: str) -> None:
        try:
            wish = _Wish.model_validate_json(self.request.body)
        except ValidationError:
            raise InvalidInput('The body is {"user": name}.') from None
        made = await self.reconciler.ensure(Tenant(owner=_known(owner), user=wish.user))
        self.say(200, {"namespace": made.namespace, "is_new": made.is_new})

    async def delete(self, owner: str) -> None:
        is_gone = await self.reconciler.remove(_known(owner))
        if is_gone:
            await self.shares.after_end(owner)
        self.say(200 if is_gone else 202, {"state": "gone" if is_gone else "ending"})


def _known(owner: str) -> str:
    if not is_owner_id(owner):
        raise NotFound("There is no such person.")
    return owner
