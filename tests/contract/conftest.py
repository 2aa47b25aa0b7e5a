"""What every implementation of a contract is tested with: one parameter each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn
from urllib.parse import quote, unquote

import pytest
import pytest_asyncio
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets, bind_unix_socket
from typing_extensions import override

from himalia.agents.backend import AgentBackend
from himalia.agents.fleet import Agents
from himalia.agents.premises import AgentPremises
from himalia.backends.base import Backend
from himalia.backends.local.backend import LocalBackend
from himalia.core.local import LocalService, LocalSettings
from himalia.core.local_premises import LocalPremises
from himalia.core.model import (
    Inputs,
    Missed,
    Overlap,
    Run,
    Schedule,
    Status,
    Trigger,
    Workload,
)
from himalia.core.names import new_id
from himalia.core.places import Places
from himalia.core.premises import Premises
from himalia.core.service import Caller, WorkloadService
from himalia.core.spec import Spec
from himalia.handlers.base import Api
from himalia.handlers.control import control_application
from himalia.handlers.routes import table
from himalia.kinds.job import JobSpec
from himalia.kinds.registry import Kinds, load_kinds
from himalia.remote import RemoteService
from himalia.remote.transport import Transport
from himalia.store import schema
from himalia.store.base import Held, Store
from himalia.store.database import store_url
from himalia.store.sql import SqlStore
from himalia.store.team import TeamStore
from himalia_hub.control.handlers import Gate, hub_application, hub_handlers
from himalia_hub.control.hub_api import HubApi
from himalia_hub.control.tokens import Tokens
from tests.contract.asker import Asker
from tests.servers.hub_api import HubApiServer
from tests.servers.people import People, quick
from tests.servers.postgres import Postgres

# A store is a fixture that gives the address of an empty one.
STORES = ("sqlite", "postgres")


@pytest.fixture
def sqlite_address(tmp_path: Path) -> str:
    """A file that is not there yet."""
    return str(tmp_path / "store.db")


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    """A database with the schema in it, to be copied: that is faster than making it anew."""
    database = postgres.create()
    schema.prepare(store_url(postgres.url(database)))
    return database


@pytest.fixture
def postgres_address(postgres: Postgres, postgres_template: str) -> Iterator[str]:
    """A database of the test's own."""
    database = postgres.create(template=postgres_template)
    yield postgres.url(database)
    postgres.drop(database)


@pytest.fixture(params=STORES)
def store_address(request: pytest.FixtureRequest) -> str:
    """The address of an empty store, for tests that open it more than once."""
    address: str = request.getfixturevalue(f"{request.param}_address")
    return address


@pytest.fixture
def open_store(store_address: str) -> Callable[[], Store]:
    """Make one more store, as another process would, on the same address."""

    def decode(kind: str, stored: object) -> Spec:
        assert kind == "job"
        return JobSpec.model_validate(stored)

    return lambda: SqlStore(store_address, decode)


@pytest_asyncio.fixture
async def store(open_store: Callable[[], Store]) -> AsyncIterator[Store]:
    """An empty, open store."""
    opened = open_store()
    await opened.open()
    yield opened
    await opened.close()


@dataclass(kw_only=True)
class Maker:
    """Makes rows for a store; each is a second younger than the one before."""

    now: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def later(self, seconds: float) -> datetime:
        return self.now + timedelta(seconds=seconds)

    def workload(self, *, owner: str = "ann", name: str = "sums", **spec: Any) -> Workload[Spec]:
        at = self.tick()
        return Workload[Spec](
            id=new_id("wkl"),
            kind="job",
            owner=owner,
            name=name,
            spec=JobSpec(notebook="sums.ipynb", **spec),
            root="/home/ann",
            created_at=at,
            updated_at=at,
        )

    def run(self, workload: Workload[Spec], **fields: Any) -> Run:
        run_id = new_id("run")
        ended = Status(fields.get("status", Status.QUEUED)).is_terminal
        usual: dict[str, Any] = {
            "id": run_id,
            "workload_id": workload.id,
            "workload_name": workload.name,
            "kind": workload.kind,
            "owner": workload.owner,
            "trigger": Trigger.USER,
            "status": Status.QUEUED,
            "tags": workload.spec.tags,
            "flow_id": run_id,
            "created_at": self.tick(),
            "ended_at": self.later(10) if ended else None,
        }
        return Run(**(usual | fields))

    def schedule(self, workload: Workload[Spec], **fields: Any) -> Schedule:
        at = self.tick()
        usual: dict[str, Any] = {
            "id": new_id("sch"),
            "workload_id": workload.id,
            "workload_name": workload.name,
            "kind": workload.kind,
            "owner": workload.owner,
            "cron": "0 * * * *",
            "time_zone": "UTC",
            "overlap": Overlap.SKIP,
            "missed": Missed.RUN_ONCE,
            "inputs": Inputs.PINNED,
            "paused": False,
            "next_tick_at": self.later(60),
            "created_at": at,
            "updated_at": at,
        }
        return Schedule(**(usual | fields))

    async def stored(self, store: Store, **fields: Any) -> Workload[Spec]:
        """Store a workload without runs."""
        return await store.workloads.insert(self.workload(**fields))

    async def queued(self, store: Store, workload: Workload[Spec], **fields: Any) -> Run:
        """Store a run."""
        return await store.runs.insert([self.run(workload, **fields)])

    async def claimed(self, store: Store, holder: str = "h1", limit: int = 100) -> tuple[Held, ...]:
        """Claim runs for a minute."""
        now = self.tick()
        return await store.holds.claim(
            holder, now=now, lease_until=now + timedelta(seconds=60), limit=limit
        )

    async def held(self, store: Store, workload: Workload[Spec], **fields: Any) -> Held:
        """Store a run and claim it, by itself."""
        run = await self.queued(store, workload, **fields)
        (held,) = await self.claimed(store, limit=1)
        assert held.run.id == run.id
        return held


@pytest.fixture
def make() -> Maker:
    """Makes rows for a store."""
    return Maker()


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


def _own_files(places: Places, kinds: Kinds, _people: People) -> tuple[Backend, Premises]:
    return LocalBackend(places), LocalPremises(places, kinds)


def _agents(_places: Places, _kinds: Kinds, people: People) -> tuple[Backend, Premises]:
    agents = Agents(people.of_owner, quick())
    return AgentBackend(agents), AgentPremises(agents)


@dataclass(frozen=True, kw_only=True)
class Composition:
    """What a service is over: who touches files, and how one asks."""

    files: Callable[[Places, Kinds, People], tuple[Backend, Premises]]
    over: Callable[[LocalService], AbstractAsyncContextManager[WorkloadService]]


SERVICES = {
    "local": Composition(files=_own_files, over=nullcontext),
    "remote": Composition(files=_own_files, over=_remote),
    "hub": Composition(files=_own_files, over=_hub),
    "agents": Composition(files=_agents, over=nullcontext),
}

_OWNER = "Test-Owner"


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=sorted(SERVICES))
async def composed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, people: People
) -> AsyncIterator[tuple[LocalService, WorkloadService]]:
    """An open service with a state folder of its own, kept for all of its tests, and what is
    behind it.
    """
    composition = SERVICES[request.param]
    places = Places(home=tmp_path_factory.mktemp("home")).prepare()
    kinds = load_kinds()
    backend, premises = composition.files(places, kinds, people)
    local = LocalService(
        store=SqlStore(places.store, kinds.decode_spec),
        backend=backend,
        premises=premises,
        kinds=kinds,
        places=places,
        settings=LocalSettings(max_running=2),
    )
    await local.open()
    try:
        async with composition.over(local) as opened:
            yield local, opened
    finally:
        await local.close()


@pytest.fixture(scope="session")
def service(composed: tuple[LocalService, WorkloadService]) -> WorkloadService:
    """An open service."""
    return composed[1]


@pytest.fixture(scope="session")
def team(composed: tuple[LocalService, WorkloadService]) -> TeamStore:
    """What the service's team keeps, as an admin changes it."""
    return composed[0].parts.store.team


@pytest.fixture
def alice(service: WorkloadService, people: People) -> Asker:
    """A caller nobody heard of before."""
    root = people.root("alice")
    return Asker(service=service, caller=Caller(owner=f"alice-{new_id('usr')}", root=root))


@pytest.fixture
def bob(service: WorkloadService, people: People) -> Asker:
    """Another one, on the same service."""
    root = people.root("bob")
    return Asker(service=service, caller=Caller(owner=f"bob-{new_id('usr')}", root=root))
