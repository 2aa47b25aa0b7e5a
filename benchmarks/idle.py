"""What is taken while nothing runs."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
from peers import make_notebook
from servers import himalia_client, jupyter_server
from table import Table

QUIET_SECONDS = 10
POOL_IDLE_SECONDS = 8.0


def _megabytes(size: float) -> str:
    return f"{size / 2**20:.1f} MB"


def _cpu(process: psutil.Process) -> float:
    """Return the share of a core that a process takes, in percent."""
    before = process.cpu_times()
    time.sleep(QUIET_SECONDS)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / QUIET_SECONDS * 100


def _server(folder: Path, *, with_himalia: bool, asked: bool) -> tuple[float, float]:
    """Return the memory and the CPU share of a Jupyter server."""
    extensions = {"himalia": with_himalia, "jupyter_scheduler": False, "jupyterlab": False}
    with (
        himalia_client(folder / "home") as client,
        jupyter_server(
            folder / "server", extensions, f"--HimaliaExtension.home={folder / 'home'}"
        ) as server,
    ):
        client.status()
        for _ in range(6):
            server.http.get("/api/contents").raise_for_status()
        for _ in range(3 if asked else 0):
            server.http.get("/himalia/api/jobs").raise_for_status()
            server.http.get("/himalia/api/status").raise_for_status()
        share = _cpu(server.process)
        return server.process.memory_info().rss, share


def _servers(folder: Path, table: Table) -> None:
    kinds = {
        "plain Jupyter server": (False, False),
        "with himalia": (True, False),
        "with himalia, panel opened": (True, True),
    }
    plain = 0.0
    for name, (with_himalia, asked) in kinds.items():
        memory, share = _server(folder / name, with_himalia=with_himalia, asked=asked)
        plain = plain or memory
        added = _megabytes(memory - plain)
        table.rows.append((name, _megabytes(memory), added, f"{share:.2f} %"))


def _control(folder: Path, table: Table) -> None:
    notebook = make_notebook(folder / "three.ipynb")
    with himalia_client(folder / "pool", pool_idle_seconds=POOL_IDLE_SECONDS) as client:
        for _ in range(3):
            client.run(str(notebook), wait=True)
        status = client.status()
        pool = status.pool
        ready = f"{pool.ready} of {pool.limit}" if pool else "none"
        size = _megabytes(pool.memory_bytes) if pool else ""
        time.sleep(POOL_IDLE_SECONDS + 5)
        control = psutil.Process(status.pid)
        share = f"{_cpu(control):.2f} %"
        table.rows.append(
            ("control, after three runs", _megabytes(control.memory_info().rss), "", share)
        )
        table.rows.append((f"pool after the runs: {ready} ready", size, "", ""))
        pool = client.status().pool
        left = f"{pool.ready} ready" if pool else "none"
        name = f"pool {POOL_IDLE_SECONDS + 5 + QUIET_SECONDS:.0f} s later, told to end after "
        name += f"{POOL_IDLE_SECONDS:.0f} s: {left}"
        table.rows.append((name, _megabytes(pool.memory_bytes) if pool else "", "", ""))


def idle(folder: Path) -> None:
    """Print memory and CPU."""
    table = Table(title="Idle", head=("", "memory (RSS)", "added", "CPU of one core"))
    _servers(folder, table)
    _control(folder, table)
    table.show()
