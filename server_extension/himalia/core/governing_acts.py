"""What admins do to what others own."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic import JsonValue
from typing_extensions import override

from himalia.core.administration import Acts, Admin
from himalia.core.errors import Conflict, InvalidInput, NotFound
from himalia.core.governing_parts import Deed, Office, may_write, reaches
from himalia.core.handing_over import hand_over
from himalia.core.model import Reason, Run
from himalia.core.team import Person


class LocalActs(Acts):
    """Over a store, the loops of the service and the hub's servers."""

    def __init__(self, office: Office) -> None:
        self._office = office

    @override
    async def stop_run(self, admin: Admin, run_id: str) -> Run:
        may_write(admin)
        person = await self._office.owner_of(admin, "run", run_id)
        store = self._office.parts.store.runs
        run = await store.get(person.owner, run_id)
        if run.status.is_terminal:
            return run
        deed = Deed(action="run.stop", person=person, object_id=run_id, details=_named(run))
        async with self._office.noted(admin, deed):
            stopped = await store.request_stop(
                person.owner, run_id, datetime.now(UTC), reason=stopped_by(admin.name)
            )
        self._office.parts.reconciler.wake()
        return stopped

    @override
    async def delete_run(self, admin: Admin, run_id: str) -> None:
        may_write(admin)
        person = await self._office.owner_of(admin, "run", run_id)
        store = self._office.parts.store.runs
        run = await store.get(person.owner, run_id)
        if not run.status.is_terminal:
            raise Conflict("This run has not ended yet. Stop it, or wait for its end.")
        deed = Deed(action="run.delete", person=person, object_id=run_id, details=_named(run))
        async with self._office.noted(admin, deed):
            deleted = await store.delete(person.owner, run_id)
        await self._office.parts.keeper.remove_files((deleted,))

    @override
    async def delete_workload(self, admin: Admin, workload_id: str) -> None:
        may_write(admin)
        person = await self._office.owner_of(admin, "workload", workload_id)
        parts = self._office.parts
        found = await parts.store.workloads.find(person.owner, (workload_id,))
        if not found:
            raise NotFound(f"There is no workload {workload_id!r}.")
        deed = Deed(
            action="workload.delete",
            person=person,
            object_id=workload_id,
            details={"kind": found[0].kind, "title": found[0].name},
        )
        async with self._office.noted(admin, deed):
            runs = await parts.store.workloads.delete(person.owner, found[0].kind, workload_id)
        await parts.keeper.remove_files(runs)
        parts.ticker.loop.wake()

    @override
    async def transfer(self, admin: Admin, owner: str, heir: str) -> int:
        may_write(admin)
        person = await self._office.person(admin, owner)
        to = await self._heir(admin, heir)
        if to.owner == owner:
            raise InvalidInput.of("heir", "has them already; name somebody else")
        deed = Deed(
            action="person.transfer",
            person=person,
            object_id=owner,
            details={"heir": to.name, "heir_owner": to.owner},
        )
        async with self._office.noted(admin, deed):
            count = await hand_over(
                store=self._office.parts.store,
                people=self._office.team.people,
                premises=self._office.parts.premises,
                owner=owner,
                heir=to.owner,
            )
        self._office.parts.ticker.loop.wake()
        return count

    @override
    async def stop_server(self, admin: Admin, owner: str, server_name: str) -> None:
        may_write(admin)
        person = await self._office.person(admin, owner)
        deed = Deed(action="server.stop", person=person, object_id=server_name)
        async with self._office.noted(admin, deed):
            await self._office.servers.stop(person, server_name)

    async def _heir(self, admin: Admin, name: str) -> Person:
        try:
            person = await self._office.team.people.named(name)
        except NotFound:
            raise _no_heir(name) from None
        if not reaches(admin, person):
            raise _no_heir(name)
        return person


def stopped_by(name: str) -> Reason:
    """Say who stopped a run that is not theirs."""
    return Reason(
        code="stopped_by_admin",
        message=f"{name}, who administers this hub, stopped this run.",
        next_step=f"Ask {name} why before you run it again.",
    )


def _named(run: Run) -> dict[str, JsonValue]:
    return {"kind": run.kind, "title": run.workload_name}


def _no_heir(name: str) -> InvalidInput:
    return InvalidInput.of("heir", f"there is no user {name[:60]!r}; check the name at the hub")
