"""Administration over a real store, with people, workloads and runs as rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from himalia.backends.local.backend import LocalBackend
from himalia.core.administration import Admin, AuditQuery
from himalia.core.errors import NotFound
from himalia.core.governing import LocalAdministration
from himalia.core.local import LocalService
from himalia.core.local_premises import LocalPremises
from himalia.core.model import Reason, Run, Status, Trigger, Workload
from himalia.core.names import new_id
from himalia.core.places import Places
from himalia.core.spec import Spec
from himalia.core.team import AuditEntry, Notice, Person, ServerState
from himalia.kinds.job import JobSpec
from himalia.kinds.registry import load_kinds
from himalia.store.sql import SqlStore

BOSS = Admin(name="boss", groups=None)
CHAIR = Admin(name="chair", groups=frozenset({"physics"}))
AUDITOR = Admin(name="auditor", groups=None, may_write=False)


@dataclass
class KnownServers:
    """The hub's part, for who asks of servers without a hub."""

    on: dict[str, tuple[ServerState, ...]] = field(default_factory=dict)
    stopped: list[tuple[str, str]] = field(default_factory=list)

    async def states(self, people: Sequence[Person]) -> Mapping[str, tuple[ServerState, ...]]:
        return {one.owner: self.on[one.owner] for one in people if one.owner in self.on}

    async def count(self, owners: Collection[str] | None) -> int:
        return sum(len(on) for owner, on in self.on.items() if owners is None or owner in owners)

    async def stop(self, person: Person, server_name: str) -> None:
        if server_name not in {server.name for server in self.on.get(person.owner, ())}:
            raise NotFound("This server is not on.")
        self.stopped.append((person.owner, server_name))


@dataclass(kw_only=True)
class Estate:
    """A store with a service that is not let loose on it, so that rows stay as they were put."""

    service: LocalService
    store: SqlStore
    servers: KnownServers
    administration: LocalAdministration
    told: list[Notice]
    now: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(minutes=30))

    async def person(self, name: str, *groups: str, is_admin: bool = False) -> Person:
        """Store somebody."""
        person = Person(
            owner=f"{name}-{new_id('own')[4:]}",
            name=name,
            groups=groups,
            is_admin=is_admin,
            first_seen_at=self.now,
            last_seen_at=self.now,
        )
        await self.store.team.people.seen([person])
        return person

    async def workload(self, person: Person, name: str = "sums", **spec: Any) -> Workload[Spec]:
        """Store one of theirs."""
        self.now += timedelta(seconds=1)
        workload = Workload[Spec](
            id=new_id("job"),
            kind="job",
            owner=person.owner,
            name=name,
            spec=JobSpec(notebook="sums.ipynb", **spec),
            root="/",
            created_at=self.now,
            updated_at=self.now,
        )
        return await self.store.workloads.insert(workload)

    async def run(
        self, workload: Workload[Spec], status: Status = Status.QUEUED, **fields: Any
    ) -> Run:
        """Store a run of it."""
        self.now += timedelta(seconds=1)
        run_id = new_id("run")
        reason = Reason(code="cell_failed", message="Cell 3 failed.", next_step="Look at it.")
        usual: dict[str, Any] = {
            "id": run_id,
            "workload_id": workload.id,
            "workload_name": workload.name,
            "kind": "job",
            "owner": workload.owner,
            "trigger": Trigger.USER,
            "status": status,
            "reason": reason if status is Status.FAILED else None,
            "flow_id": run_id,
            "created_at": self.now,
            "started_at": self.now if status is not Status.QUEUED else None,
            "ended_at": self.now + timedelta(seconds=10) if status.is_terminal else None,
        }
        return await self.store.runs.insert([Run(**(usual | fields))])

    async def log(self) -> list[AuditEntry]:
        """Return the audit log, the oldest first."""
        page = await self.store.team.notices.audit(AuditQuery(limit=200), None)
        return list(reversed(page.items))


@asynccontextmanager
async def opened(address: str, home: Path) -> AsyncIterator[Estate]:
    """Open a store and what administers it."""
    places = Places(home=home).prepare()
    kinds = load_kinds()
    store = SqlStore(address, kinds.decode_spec)
    service = LocalService(
        store=store,
        backend=LocalBackend(places),
        premises=LocalPremises(places, kinds),
        kinds=kinds,
        places=places,
    )
    servers = KnownServers()
    told: list[Notice] = []

    async def tell(notice: Notice) -> None:
        told.append(notice)

    await store.open()
    try:
        yield Estate(
            service=service,
            store=store,
            servers=servers,
            told=told,
            administration=LocalAdministration(
                parts=service.parts,
                team=store.team,
                servers=servers,
                announce=tell,
                self_test="helm test himalia",
            ),
        )
    finally:
        await store.close()
