"""Threats 94 and 98: whatever happens to PostgreSQL, nothing acknowledged is lost or done twice."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DBAPIError

from himalia.core.errors import HimaliaError, Unavailable
from himalia.core.flows import new_run
from himalia.core.model import Run, Trigger, Workload
from himalia.core.names import new_id
from himalia.core.spec import Spec
from himalia.core.team import AuditEntry
from himalia.kinds.job import JobSpec
from himalia.store import database
from himalia.store.base import Key, Store
from himalia.store.sql import SqlStore
from himalia.store.team_tables import people
from tests.faults.load import Load
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.postgres import Postgres, binaries
from tests.servers.stalls import allowed
from tests.servers.tcp import TcpProxy

pytestmark = pytest.mark.asyncio

BACK_SECONDS = 10.0


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server that is broken here, as a careful admin would not set it: commits are not waited
    for unless a client asks for it.
    """
    with Postgres(max_connections="30", superuser_reserved_connections="3") as started:
        yield started


@pytest.fixture
def base(server: Postgres) -> Iterator[str]:
    """A database of the test's own."""
    name = server.create()
    yield name
    server.start()
    server.drop(name)


@pytest_asyncio.fixture
async def proxy(server: Postgres) -> AsyncIterator[TcpProxy]:
    """A network to the server, to be broken."""
    async with TcpProxy("127.0.0.1", server.port) as opened:
        yield opened


def _store(url: str) -> SqlStore:
    return SqlStore(url, lambda _, stored: JobSpec.model_validate(stored))


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[SqlStore]:
    store = _store(url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def _workload(store: Store) -> Workload[Spec]:
    now = datetime.now(UTC)
    return await store.workloads.insert(
        Workload(
            id=new_id("wkl"),
            kind="job",
            owner="ann",
            name="w",
            spec=JobSpec(notebook="a.ipynb"),
            root="/",
            created_at=now,
            updated_at=now,
        )
    )


def _run(workload: Workload[Spec]) -> Run:
    return new_run(workload, trigger=Trigger.USER)


async def _judge(server: Postgres, base: str, load: Load) -> None:
    """Look at the database itself: what was acknowledged is there, once."""

    def look(connection: Connection) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
        return (
            list(connection.execute(text("SELECT id, status FROM runs"))),
            list(connection.execute(text("SELECT key, object_id FROM idempotency_keys"))),
            list(connection.execute(text("SELECT id, object_id, ended_at FROM ledger"))),
            list(connection.execute(text("SELECT id FROM runs WHERE live IS NULL"))),
        )

    async with _opened(server.url(base)) as store:
        runs, keys, ledger, over = await store._database.read(look)
    statuses = dict(tuple(row) for row in runs)
    assert set(load.acknowledged.values()) <= set(statuses)
    assert load.acknowledged.items() <= dict(tuple(row) for row in keys).items()
    # Each key made one run, however often it was sent.
    assert len(runs) == len(keys)
    assert all(statuses[run] == "succeeded" for run in load.ended)
    assert max(Counter(load.ended).values()) == 1
    # The ledger has each attempt once, and those of ended runs are closed.
    assert len({row.object_id for row in ledger}) == len(ledger)
    is_open = {row.object_id for row in ledger if row.ended_at == 2**63 - 1}
    assert is_open.isdisjoint(row.id for row in over)
    assert {row.id for row in over} <= {row.object_id for row in ledger}


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
async def test_094_a_server_that_restarts_or_crashes_loses_nothing(
    server: Postgres, base: str, how: signal.Signals
) -> None:
    async with _opened(server.url(base)) as store:
        load = Load(store, await _workload(store))

        async def trouble() -> None:
            for _ in range(2):
                await asyncio.sleep(0.7)
                await asyncio.to_thread(server.restart, how)
                back_mono = time.monotonic()
                while load.answered_mono < back_mono:
                    assert time.monotonic() - back_mono < allowed(BACK_SECONDS, back_mono)
                    await asyncio.sleep(0.01)

        await load.go(trouble())
    assert load.refusals
    assert all("try again" in one.lower() for one in load.refusals)
    await _judge(server, base, load)


async def test_094_connections_that_drop_in_transactions_lose_nothing(
    server: Postgres, base: str, proxy: TcpProxy
) -> None:
    async with _opened(server.url(base, port=proxy.port)) as store:
        load = Load(store, await _workload(store))

        async def trouble() -> None:
            chance = random.Random(94)
            for turn in range(40):
                await asyncio.sleep(chance.uniform(0.01, 0.1))
                if turn % 2:
                    proxy.cut()
                else:
                    await asyncio.to_thread(server.cut, base)

        await load.go(trouble())
    assert load.refusals
    await _judge(server, base, load)


async def test_094_a_commit_whose_answer_was_lost_is_found_by_its_key(
    server: Postgres, base: str, proxy: TcpProxy
) -> None:
    async with _opened(server.url(base, port=proxy.port)) as store:
        run = _run(await _workload(store))
        key = Key(owner="ann", key="once", digest="d")
        loop = asyncio.get_running_loop()
        is_stalled = threading.Event()

        def stall(_: object) -> None:
            # The commit is about to be sent: it will arrive, and nobody will hear of it.
            if not is_stalled.is_set():
                loop.call_soon_threadsafe(partial(proxy.stall, answers_only=True))
                loop.call_soon_threadsafe(is_stalled.set)
                is_stalled.wait(10)

        event.listen(store._database._engine, "commit", stall)
        sent = asyncio.create_task(store.runs.insert([run], key=key))
        async with _opened(server.url(base)) as other:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await other.runs.known([run.id]):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        proxy.cut()
        with pytest.raises(Unavailable):
            await sent
        await proxy.heal()
        again = run.model_copy(update={"id": new_id("run")})
        assert (await store.runs.insert([again], key=key)).id == run.id
        assert await store.runs.known([run.id, again.id]) == {run.id}


async def test_094_a_server_that_is_gone_is_told_in_plain_words_and_comes_back(
    server: Postgres, base: str, proxy: TcpProxy
) -> None:
    async with _opened(server.url(base, port=proxy.port)) as store:
        workload = await _workload(store)
        await proxy.vanish()
        for call in (
            store.workloads.get("ann", "job", workload.id),
            store.runs.insert([_run(workload)]),
            store.team.lists.revision(),
            store.team.leaders.lead("tick", "h", datetime.now(UTC), datetime.now(UTC)),
        ):
            began_mono = time.monotonic()
            with pytest.raises(Unavailable, match=r"cannot be reached.*[Tt]ry again") as caught:
                await call
            assert caught.value.http_status == 503
            assert database_secrets(str(caught.value)) == []
            assert time.monotonic() < began_mono + 6
        await proxy.heal()
        assert (await store.workloads.get("ann", "job", workload.id)).id == workload.id


def database_secrets(said: str) -> list[str]:
    """Find what of the address must not be told."""
    return [word for word in ("not-for-any-log", "himalia:", "127.0.0.1") if word in said]


async def test_094_a_store_does_not_open_while_the_server_is_gone(server: Postgres) -> None:
    with pytest.raises(Unavailable, match="no such database"):
        await _store(server.url("absent")).open()
    nowhere = server.url("postgres", port=1)
    with pytest.raises(Unavailable, match="cannot be reached"):
        await _store(nowhere).open()


async def test_094_a_server_that_says_nothing_keeps_nobody_waiting_for_ever(
    server: Postgres, base: str, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_PATIENCE_SECONDS", 0.5)
    async with _opened(server.url(base, port=proxy.port)) as store:
        workload = await _workload(store)
        proxy.stall()
        asked = [store.workloads.get("ann", "job", workload.id) for _ in range(20)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert all(isinstance(answer, Unavailable) for answer in answers)
        await proxy.heal()
        healed_mono = time.monotonic()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                with suppress(Unavailable):
                    await store.workloads.get("ann", "job", workload.id)
                    break
        assert time.monotonic() - healed_mono < allowed(BACK_SECONDS, healed_mono)


async def test_094_a_slow_server_is_waited_for(
    server: Postgres, base: str, proxy: TcpProxy
) -> None:
    async with _opened(server.url(base, port=proxy.port)) as store:
        workload = await _workload(store)
        proxy.slow(0.4)
        run = await store.runs.insert([_run(workload)])
        await proxy.heal()
        assert (await store.runs.get("ann", run.id)).id == run.id


async def test_094_a_server_without_a_connection_to_spare_is_asked_again(
    server: Postgres, base: str
) -> None:
    others: list[psycopg.Connection[Any]] = []
    async with _opened(server.url(base)) as store:
        workload = await _workload(store)
        await asyncio.to_thread(server.cut, base)
        with suppress(psycopg.OperationalError):
            while True:
                others.append(psycopg.connect(server.url("postgres")))
        with pytest.raises(Unavailable, match="no connection to spare"):
            await store.runs.insert([_run(workload)])
        for other in others:
            other.close()
        run = _run(workload)
        spare_mono = time.monotonic()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not await store.runs.known([run.id]):
                with suppress(HimaliaError):
                    await store.runs.insert([run])
        assert time.monotonic() - spare_mono < allowed(BACK_SECONDS, spare_mono)


async def test_094_transactions_that_entangle_are_done_again(server: Postgres, base: str) -> None:
    async with _opened(server.url(base)) as store:
        loop = asyncio.get_running_loop()
        duties = ("a", "b")
        now = datetime.now(UTC)
        for duty in duties:
            await store.team.leaders.lead(duty, "h", now, now)
        first = [asyncio.Event() for _ in duties]
        tries: list[int] = []

        def take(connection: Connection, mine: int) -> None:
            tries.append(mine)
            touch = text("UPDATE duties SET until = until + 1 WHERE duty = :duty")
            connection.execute(touch, {"duty": duties[mine]})
            loop.call_soon_threadsafe(first[mine].set)
            asyncio.run_coroutine_threadsafe(first[1 - mine].wait(), loop).result(10)
            connection.execute(touch, {"duty": duties[1 - mine]})

        await asyncio.gather(*(store._database.write(take, mine) for mine in range(2)))
        assert len(tries) == 3


async def test_094_commits_are_durable_whatever_the_servers_usual_is(
    server: Postgres, base: str
) -> None:
    def told(connection: Connection) -> Any:
        return connection.scalar(text("SHOW synchronous_commit"))

    async with _opened(server.url(base)) as store:
        assert await store._database.write(told) == "on"
    strict = f"{server.url(base)}?options=-csynchronous_commit%3Dremote_apply"
    async with _opened(strict) as store:
        assert await store._database.write(told) == "remote_apply"


def _counts(connection: Connection) -> dict[str, int]:
    counted = {}
    for name in people.metadata.tables:
        counted[name] = connection.scalar(text(f"SELECT count(*) FROM {name}")) or 0
    return counted


async def test_098_a_dump_that_is_put_back_holds_all_and_goes_on(
    server: Postgres, base: str, tmp_path: Path
) -> None:
    async with _opened(server.url(base)) as store:
        workload = await _workload(store)
        now = datetime.now(UTC)
        runs = [await store.runs.insert([_run(workload)]) for _ in range(5)]
        held = await store.holds.claim("h", now=now, lease_until=now, limit=2)
        await store.team.notices.record(
            AuditEntry(id=new_id("aud"), at=now, actor="ann", action="drain.start")
        )
        # Taken while the hub works.
        dump = tmp_path / "himalia.dump"
        await _tool("pg_dump", "--format=custom", f"--file={dump}", server.url(base))
        counted = await store._database.read(_counts)
    assert {counted[name] for name in ("runs", "ledger", "audit")} == {5, 2, 1}
    other = server.create()
    await _tool("pg_restore", "--exit-on-error", f"--dbname={server.url(other)}", str(dump))
    async with _opened(server.url(other)) as restored:
        assert await restored._database.read(_counts) == counted
        taken = await restored.holds.take_over("h2", now=now, lease_until=now)
        assert {one.run.id for one in taken} == {one.run.id for one in held}
        claimed = await restored.holds.claim("h2", now=now, lease_until=now, limit=9)
        assert {one.run.id for one in (*taken, *claimed)} == {run.id for run in runs}
        with pytest.raises(DBAPIError, match="only appended to"):
            await restored._database.write(lambda c: c.execute(text("DELETE FROM audit")))
    server.drop(other)


async def _tool(program: str, *arguments: str) -> None:
    started = await asyncio.create_subprocess_exec(str(binaries() / program), *arguments)
    assert await started.wait() == 0
