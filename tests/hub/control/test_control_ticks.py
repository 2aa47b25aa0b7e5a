"""Schedules at a hub with two controls on one database: one run a tick, whatever happens."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from tests.hub.control.processes import Place, Process, new_place
from tests.servers.hub_api import HubApiServer
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.postgres import Postgres

pytestmark = pytest.mark.asyncio

SCHEDULES = 8
ONCE_A_YEAR = "0 0 1 1 *"
"""So that ticks are due when the test says so, and never else."""


@pytest_asyncio.fixture
async def database(postgres: Postgres) -> AsyncIterator[str]:
    """The address of an empty database."""
    name = postgres.create()
    yield postgres.url(name)
    postgres.drop(name)


@pytest_asyncio.fixture
async def place(hub_server: HubApiServer, database: str) -> AsyncIterator[Place]:
    """Where controls share that database, and start one run at most."""
    made = new_place(hub_server)
    made.configure(f"c.Himalia.store_url = {database!r}", "c.Himalia.max_running = 1")
    yield made
    made.clear()


def ask(database: str, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    """Have the database do something behind control's back."""
    with psycopg.connect(database, autocommit=True) as connection:
        done = connection.execute(statement, values)
        return done.fetchall() if done.description else []


def make_due(database: str, tick_at: datetime) -> None:
    """Have all schedules wait for a tick that is over."""
    micros = int(tick_at.timestamp() * 1e6)
    ask(database, "UPDATE schedules SET next_tick_at = %(at)s", at=micros)


def ticks(database: str) -> Counter[tuple[str, int]]:
    """Count the runs of each tick of each schedule."""
    rows = ask(database, "SELECT schedule_id, tick_at FROM runs WHERE trigger = 'schedule'")
    return Counter((str(schedule), int(tick)) for schedule, tick in rows)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what must happen."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < end, "it never was so"
        await asyncio.sleep(0.2)


async def serves(process: Process) -> None:
    """Wait until a control is up."""
    await process.listens()
    await process.ready(seconds=PATIENCE_SECONDS)


async def make_schedules(process: Process, place: Place, hub_server: HubApiServer) -> None:
    user, token = hub_server.add("alice"), hub_server.token("alice")
    # It makes the home.
    assert (await process.ask("api/environments", token)).status_code == 200
    place.write(user, "long.ipynb", "import time; time.sleep(3600)")
    draft = {"name": "long", "spec": {"notebook": "long.ipynb"}, "run": False}
    job = await process.ask("api/jobs", token, method="POST", json=draft)
    assert job.status_code == 201, job.text
    schedule = {"workload_id": job.json()["id"], "cron": ONCE_A_YEAR, "overlap": "queue"}
    for _ in range(SCHEDULES):
        made = await process.ask("api/schedules", token, method="POST", json=schedule)
        assert made.status_code == 201, made.text


async def halt(process: Process, database: str) -> None:
    """Stop a control in its tracks, though not while it keeps the other from the database."""
    while True:
        process.child.send_signal(signal.SIGSTOP)
        await asyncio.sleep(0.2)
        busy = ask(
            database,
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND state <> 'idle'",
        )
        if not busy:
            return
        process.child.send_signal(signal.SIGCONT)
        await asyncio.sleep(0.1)


async def test_093_two_controls_never_make_two_runs_of_a_tick(
    place: Place, database: str, hub_server: HubApiServer
) -> None:
    before = place.start()
    await serves(before)
    await make_schedules(before, place, hub_server)
    before.end(signal.SIGKILL)

    # Missed while none was there; both come up at once and find it.
    missed = datetime.now(UTC) - timedelta(hours=2)
    make_due(database, missed)
    both = place.start(), place.start("--beside")
    for process in both:
        await serves(process)
    await until(lambda: len(ticks(database)) == SCHEDULES)

    # The one that ticks stands still for longer than it may; the other does its work meanwhile.
    ((leader,),) = ask(database, "SELECT holder FROM duties WHERE duty = 'tick'")
    alive = {holder for (holder,) in ask(database, "SELECT holder FROM duties")}
    assert len(alive) == 2
    # The hub's own control has the shorter name.
    is_own = leader == min(alive, key=len)
    slow, quick = both if is_own else both[::-1]
    await halt(slow, database)
    make_due(database, datetime.now(UTC))
    await until(lambda: len(ticks(database)) == 2 * SCHEDULES)
    slow.child.send_signal(signal.SIGCONT)
    token = hub_server.token("alice")
    for process in (slow, quick):
        await process.ready(seconds=PATIENCE_SECONDS)
        # A changed schedule wakes the ticker of whoever was asked.
        found = (await process.ask("api/schedules", token)).json()["items"]
        await process.ask(
            f"api/schedules/{found[0]['id']}", token, method="PATCH", json={"cron": ONCE_A_YEAR}
        )
    await asyncio.sleep(3)
    assert set(ticks(database).values()) == {1}
    assert len(ticks(database)) == 2 * SCHEDULES
    assert "Traceback" not in slow.log() + quick.log()
