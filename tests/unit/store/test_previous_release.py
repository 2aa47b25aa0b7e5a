"""The release before this one runs on the schema of this one, so that an upgrade can be undone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData, create_engine, inspect, select

from himalia.core.model import Run, Status, Workload
from himalia.core.spec import Spec
from himalia.kinds.job import JobSpec
from himalia.store import tables
from himalia.store.database import store_url
from himalia.store.migrate import configuration, upgrade
from himalia.store.rows import encode_run, encode_workload
from himalia.store.sql import SqlStore
from himalia.store.team_tables import people
from tests.servers.postgres import Postgres

LATER = {"cpu", "memory_bytes", "project", "held_back"}
"""Columns of runs that the first release did not write."""


@pytest.fixture(params=["sqlite", "postgres"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store of the release before."""
    if request.param == "sqlite":
        path = tmp_path / "store.db"
        path.touch()
        upgrade(str(path), tables.OLDEST_READER)
        yield str(path)
        return
    server: Postgres = request.getfixturevalue("postgres")
    database = server.create()
    upgrade(server.url(database), tables.OLDEST_READER)
    yield server.url(database)
    server.drop(database)


@pytest.fixture
def engine(address: str) -> Iterator[Engine]:
    """A client of it."""
    made = create_engine(store_url(address))
    yield made
    made.dispose()


def _reflected(engine: Engine) -> MetaData:
    metadata = MetaData()
    metadata.reflect(engine)
    return metadata


def _rows(workload: Workload[Spec], run: Run) -> dict[str, dict[str, Any]]:
    """Make rows as the release before makes them."""
    written = {name: value for name, value in encode_run(run).items() if name not in LATER}
    return {"workloads": encode_workload(workload), "runs": written}


def test_what_was_there_stays_and_what_is_new_may_be_missing(address: str, engine: Engine) -> None:
    before = _reflected(engine)
    upgrade(address)
    after = _reflected(engine)
    for name, table in before.tables.items():
        now = after.tables[name]
        for column in table.columns:
            assert str(now.c[column.name].type) == str(column.type)
            assert now.c[column.name].nullable == column.nullable
        for column in now.columns:
            if column.name not in table.c:
                assert column.nullable or column.server_default is not None, column
        is_unique = {one["name"]: one["unique"] for one in inspect(engine).get_indexes(name)}
        new = set(is_unique) - {index.name for index in table.indexes}
        assert not any(is_unique[index] for index in new)


def test_the_release_before_writes_and_reads_its_own_rows(
    address: str, engine: Engine, workload: Workload[Spec], make_run: Callable[..., Run]
) -> None:
    run = make_run()
    with engine.begin() as connection:
        known = _reflected(engine)
        for name, row in _rows(workload, make_run()).items():
            connection.execute(known.tables[name].insert(), row)
    upgrade(address)
    with engine.begin() as connection:
        old_runs = known.tables["runs"]
        connection.execute(old_runs.insert(), _rows(workload, run)["runs"])
        connection.execute(old_runs.update().values(status="running", live="running"))
        assert len(connection.execute(select(old_runs)).all()) == 2
        connection.execute(old_runs.delete().where(old_runs.c.id == run.id))
        readers = connection.scalars(select(known.tables["compatibility"].c.oldest_reader))
        assert readers.all() == [tables.OLDEST_READER]


@pytest.mark.asyncio
async def test_this_release_goes_on_with_runs_that_the_one_before_stored(
    address: str, engine: Engine, workload: Workload[Spec], make_run: Callable[..., Run]
) -> None:
    queued, on = make_run(), make_run(status=Status.RUNNING, attempt=1)
    known = _reflected(engine)
    with engine.begin() as connection:
        connection.execute(known.tables["workloads"].insert(), encode_workload(workload))
        for run in (queued, on):
            row = _rows(workload, run)["runs"] | {"token": 1, "holder": "old"}
            connection.execute(known.tables["runs"].insert(), row)
    store = SqlStore(address, lambda _, stored: JobSpec.model_validate(stored))
    await store.open()
    now = datetime.now(UTC)
    (claimed,) = await store.holds.claim("new", now=now, lease_until=now, limit=9)
    assert claimed.run.id == queued.id
    taken = await store.holds.take_over("new", now=now, lease_until=now)
    assert {held.run.id for held in taken} == {queued.id, on.id}
    entries = (
        await store.team.usage.entries(
            None, now.replace(year=2020), now.replace(year=2090), limit=9
        )
    ).items
    assert {entry.id for entry in entries} == {f"{queued.id}-1", f"{on.id}-1"}
    await store.close()


def test_all_migrations_make_the_schema_that_a_new_database_has(postgres_url: str) -> None:
    upgrade(postgres_url)
    engine = create_engine(store_url(postgres_url))
    script = ScriptDirectory.from_config(configuration())
    assert script.get_current_head() == tables.HEAD
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, people.metadata) == []
        triggers = connection.exec_driver_sql(
            "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
        )
        assert triggers.scalars().all() == ["audit_without_change"]
    engine.dispose()
