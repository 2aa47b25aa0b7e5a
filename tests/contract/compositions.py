"""What a service is put together from in the tests of its contract, and how one asks it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn
from urllib.parse import quote, unquote

import pytest
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets, bind_unix_socket
from typing_extensions import override

from himalia.agents.backend import AgentBackend
from himalia.agents.fleet import Agents
from himalia.agents.premises import AgentPremises
from himalia.backends.base import Backend
from himalia.backends.local.backend import LocalBackend
from himalia.core.local import LocalService
from himalia.core.local_premises import LocalPremises
from himalia.core.names import new_id
from himalia.core.places import Places
from himalia.core.premises import Premises
from himalia.core.service import Caller, WorkloadService
from himalia.handlers.base import Api
from himalia.handlers.control import control_application
from himalia.handlers.routes import table
from himalia.kinds.registry import Kinds, load_kinds
from himalia.remote import RemoteService
from himalia.remote.transport import Transport
from himalia_hub.control.handlers import Gate, hub_application, hub_handlers
from himalia_hub.control.hub_api import HubApi
from himalia_hub.control.tokens import Tokens
from tests.servers.cluster import Estate, found
from tests.servers.hub_api import HubApiServer
from tests.servers.people import People, quick

_OWNER = "Test-Owner"


class _Naming(Transport):
    """Says for whom it asks, where over a real socket the system would say it."""

    @override
    def _headers(self, caller: Caller) -> dict[str, str]:
        return super()._headers(caller) | {_OWNER: quote(caller.owner)}


@asynccontextmanager
async def _remote(local: LocalService) -> AsyncIterator[WorkloadService]:
    """The service over a Unix socket, as control serves it."""
    routes = table(load_kinds().values())
    api = Api(service=lambda: local, document=lambda: b"{}")
    application = control_application(
        routes, api, identify=lambda request: unquote(request.headers[_OWNER])
    )
    server = HTTPServer(application)
    with TemporaryDirectory() as folder:
        socket = Path(folder) / "socket"
        server.add_socket(bind_unix_socket(str(socket), mode=0o600))

        async def find() -> Path:
            return socket

        remote = RemoteService(_Naming(find=find))
        try:
            yield remote
        finally:
            await remote.close()
            server.stop()
            await server.close_all_connections()


class _Bearing(Transport):
    """Sends a token of the caller's, which a session or a job would have of its own."""

    def __init__(self, url: str, hub: HubApiServer) -> None:
        super().__init__(hub=url)
        self._hub_api = hub
        self._of: dict[str, str] = {}

    @override
    def _headers(self, caller: Caller) -> dict[str, str]:
        if caller.owner not in self._of:
            self._hub_api.add(caller.owner)
            self._of[caller.owner] = self._hub_api.token(caller.owner)
        token = self._of[caller.owner]
        return super()._headers(caller) | {"Authorization": f"token {token}"}


@asynccontextmanager
async def _hub(local: LocalService) -> AsyncIterator[WorkloadService]:
    """The service over TCP, as a hub's control serves it to bearers of the hub's tokens."""
    hub = HubApiServer().start()
    asking = HubApi(hub.url, hub.service_token)
    team = local.parts.store.team
    tokens = Tokens(asking, team=lambda: team, met=lambda person: team.people.seen((person,)))
    api = Api(service=lambda: local, document=lambda: b"{}")
    gate = Gate(tokens=tokens, administration=not_asked)
    handlers = hub_handlers(table(load_kinds().values()), api, gate, base="/services/himalia/")
    server = HTTPServer(hub_application(handlers, api, gate))
    (listening,) = bind_sockets(0, "127.0.0.1")
    server.add_socket(listening)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/services/himalia/"
    remote = RemoteService(_Bearing(url, hub))
    try:
        yield remote
    finally:
        await remote.close()
        server.stop()
        await server.close_all_connections()
        await asking.close()
        await hub.close()


def not_asked() -> NoReturn:
    """Stand where administration would be."""
    raise AssertionError("users' routes ask no administration")


@dataclass(frozen=True, kw_only=True)
class Files:
    """Who touches files and runs runs, and for whom."""

    backend: Backend
    premises: Premises
    caller: Callable[[str], Caller]
    """Gives somebody of a name an empty folder."""


def _newcomer(people: People) -> Callable[[str], Caller]:
    """Return what gives callers nobody heard of before."""
    return lambda name: Caller(owner=f"{name}-{new_id('usr')}", root=people.root(name))


async def _own_files(places: Places, kinds: Kinds, request: pytest.FixtureRequest) -> Files:
    return Files(
        backend=LocalBackend(places),
        premises=LocalPremises(places, kinds),
        caller=_newcomer(request.getfixturevalue("people")),
    )


async def _agents(_places: Places, _kinds: Kinds, request: pytest.FixtureRequest) -> Files:
    people: People = request.getfixturevalue("people")
    agents = Agents(people.of_owner, quick())
    return Files(
        backend=AgentBackend(agents), premises=AgentPremises(agents), caller=_newcomer(people)
    )


async def _pods(_places: Places, _kinds: Kinds, request: pytest.FixtureRequest) -> Files:
    from tests.servers.pods import pod_backend  # noqa: PLC0415 - a large library behind it

    estate: Estate = request.getfixturevalue("cluster_estate")
    # One for all tests: a namespace and a pod for an agent take longer than most of them. Pods
    # have the home at the same path as this machine.
    owner = estate.owner("service")
    backend, agents = await pod_backend(estate, home=str(estate.home(owner)))

    def caller(_name: str) -> Caller:
        return Caller(owner=owner, root=estate.folder(owner, f"work/{new_id('dir')}"))

    return Files(backend=backend, premises=AgentPremises(agents), caller=caller)


@dataclass(frozen=True, kw_only=True)
class Composition:
    """What a service is over: who touches files, and how one asks."""

    files: Callable[[Places, Kinds, pytest.FixtureRequest], Awaitable[Files]]
    over: Callable[[LocalService], AbstractAsyncContextManager[WorkloadService]]


SERVICES = {
    "local": Composition(files=_own_files, over=nullcontext),
    "remote": Composition(files=_own_files, over=_remote),
    "hub": Composition(files=_own_files, over=_hub),
    "agents": Composition(files=_agents, over=nullcontext),
    **({"kubernetes": Composition(files=_pods, over=nullcontext)} if found() else {}),
}
ON_PODS = frozenset({"test_service_runs.py"})
"""What runs go through; little else of a service asks a backend for anything."""
