"""The first page of a list, with few and with many runs in the store."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from peers import by_jupyter_scheduler, make_notebook
from servers import STOCK_SCHEDULER, himalia_client, jupyter_server
from table import Table, clock, median, milliseconds

from himalia.core.model import Run
from himalia.core.names import new_id
from himalia.core.places import Places
from himalia.kinds.registry import load_kinds
from himalia.store.sql import SqlStore

SIZES = (1_000, 100_000)
TRIES = 50
BATCH = 5_000


async def _fill(places: Places, pattern: Run, count: int) -> None:
    """Copy an ended run until there are `count` of it."""
    store = SqlStore(places.store, load_kinds().decode_spec)
    await store.open()
    begin = datetime.now(UTC) - timedelta(days=30)
    for start in range(1, count, BATCH):
        runs = []
        for index in range(start, min(start + BATCH, count)):
            made = begin + timedelta(seconds=index)
            new = new_id("run")
            changed = {"id": new, "flow_id": new, "created_at": made, "ended_at": made}
            runs.append(pattern.model_copy(update=changed))
        await store.runs.insert(runs)
    await store.close()


def _timed(http: httpx.Client, path: str) -> float:
    taken = []
    for _ in range(TRIES):
        with clock() as seconds:
            http.get(path).raise_for_status()
            taken.append(seconds())
    return median(taken[5:])


def _ours(folder: Path, size: int) -> float:
    notebook = make_notebook(folder / "three.ipynb")
    places = Places(home=folder / f"himalia-{size}")
    with himalia_client(places.home) as client:
        run = client.run(str(notebook), wait=True)
    asyncio.run(_fill(places, run, size))
    with himalia_client(places.home) as client:
        client.status()
        transport = httpx.HTTPTransport(uds=str(places.socket))
        with httpx.Client(transport=transport, base_url="http://control", timeout=60) as http:
            return _timed(http, "/himalia/api/runs?limit=25")


def _through_session(folder: Path, size: int) -> float:
    """Ask a Jupyter server, which asks control."""
    extensions = {"himalia": True, "jupyter_scheduler": False, "jupyterlab": False}
    home = folder / f"himalia-{size}"
    option = f"--HimaliaExtension.home={home}"
    with (
        himalia_client(home) as client,
        jupyter_server(folder / f"session-{size}", extensions, option) as server,
    ):
        client.status()
        return _timed(server.http, "/himalia/api/runs?limit=25")


def _theirs(folder: Path, size: int) -> float:
    notebook = make_notebook(folder / "three.ipynb")
    extensions = {"himalia": False, "jupyter_scheduler": True, "jupyterlab": False}
    with jupyter_server(folder / f"js-{size}", extensions, *STOCK_SCHEDULER) as server:
        by_jupyter_scheduler(server, notebook)
        with sqlite3.connect(server.data / "scheduler.sqlite") as database:
            names = [row[1] for row in database.execute("PRAGMA table_info(jobs)")]
            rest = ", ".join(name for name in names if name != "job_id")
            row = database.execute(f"SELECT {rest} FROM jobs").fetchone()
            marks = ", ".join("?" for _ in names)
            rows = ((str(uuid.uuid4()), *row) for _ in range(size - 1))
            database.executemany(f"INSERT INTO jobs (job_id, {rest}) VALUES ({marks})", rows)
        return _timed(server.http, "/scheduler/jobs?max_items=25")


def lists(folder: Path) -> None:
    """Print how long the first page takes."""
    table = Table(
        title="First page of 25, by the number of runs in the store",
        head=("", *(f"{size:,} runs" for size in SIZES)),
    )
    for name, timed in (
        ("himalia: control", _ours),
        ("himalia: Jupyter server and control", _through_session),
        ("jupyter-scheduler", _theirs),
    ):
        table.rows.append((name, *(milliseconds(timed(folder, size)) for size in SIZES)))
    table.show()
