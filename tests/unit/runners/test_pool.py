"""The warm process: bounded, ended when nobody asks, and never a reason for a run to fail."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from himalia.backends.local.limits import LocalLimits
from himalia.backends.local.pool import Pool
from himalia.backends.local.starting import Starting
from himalia.core.places import Places
from himalia.runners.pair import receive_attempt
from tests.servers.patience import PATIENCE_SECONDS


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool(2, 600)
    pool.warm_up()
    yield pool
    pool.close()


@pytest.fixture
def pool_runs(runs: Any, pool: Pool, tmp_path: Path) -> Any:
    """Runs over a pool of the test's own."""
    places = Places(home=tmp_path / "home").prepare()
    return type(runs)(Starting(places.snapshots, LocalLimits(), 2**20, pool), places)


def until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def children(pool: Pool) -> list[psutil.Process]:
    return psutil.Process(pool._pid).children(recursive=True)


def test_a_pool_keeps_as_many_ready_as_it_may(pool_runs: Any, pool: Pool) -> None:
    pool_runs.run("1")
    until(lambda: pool.status().ready == 2)

    status = pool.status()
    assert status.limit == 2
    assert status.memory_bytes > 20 * 2**20
    assert status.idle_end_at is not None
    assert len(children(pool)) == 4
    assert psutil.Process(pool._pid).num_threads() == 1


def test_a_kernel_serves_one_run_only(pool_runs: Any, pool: Pool) -> None:
    source = "import os; print(os.getpid())"
    assert len({pool_runs.run(source).text(0) for _ in range(4)}) == 4
    until(lambda: pool.status().ready == 2)


def test_what_is_ready_ends_with_the_pool_and_what_runs_goes_on(
    pool_runs: Any, pool: Pool, make_document: Any, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    wait = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.02)"
    run = pool_runs.start(make_document("1", wait)).wait_for_cell(1)
    until(lambda: pool.status().ready == 2)
    ready = [child for child in children(pool) if os.getsid(child.pid) != run.pid]

    os.kill(pool._pid, signal.SIGKILL)

    until(lambda: not any(child.is_running() for child in ready))
    go.touch()
    assert run.wait().result["status"] == "succeeded"


def test_a_run_starts_by_itself_when_the_pool_is_gone(pool_runs: Any, pool: Pool) -> None:
    pool_runs.run("1")
    os.kill(pool._pid, signal.SIGKILL)

    assert pool_runs.run("1").result["status"] == "succeeded"
    assert pool_runs.run("1").result["status"] == "succeeded"


def test_a_run_starts_when_the_kernels_that_were_ready_died(pool_runs: Any, pool: Pool) -> None:
    pool_runs.run("1")
    until(lambda: pool.status().ready == 2)
    kernels = [child for child in children(pool) if os.getpgid(child.pid) != os.getsid(child.pid)]
    for kernel in kernels:
        kernel.kill()
    until(lambda: all(kernel.status() == psutil.STATUS_ZOMBIE for kernel in kernels))

    assert pool_runs.run("print(2)").text(0) == "2\n"


def test_an_attempt_arrives_though_nobody_heard_that_the_kernel_is_ready(tmp_path: Path) -> None:
    mine, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its, (tmp_path / "lock").open("w") as lock:
        its.send(b"ready")
        socket.send_fds(mine, [os.fsencode(tmp_path)], [lock.fileno()])
        mine.close()

        attempt = receive_attempt(its)
        assert attempt is not None
        assert attempt[0] == tmp_path
        assert os.path.samestat(os.fstat(attempt[1]), os.fstat(lock.fileno()))
        os.close(attempt[1])
        assert receive_attempt(its) is None


def test_a_pool_that_nobody_asks_ends(runs: Any, tmp_path: Path) -> None:
    pool = Pool(1, 1)
    places = Places(home=tmp_path / "home").prepare()
    own = type(runs)(Starting(places.snapshots, LocalLimits(), 2**20, pool), places)
    pool.warm_up()
    own.run("1")
    process = psutil.Process(pool._pid)
    until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)

    assert pool.status().ready == 0
    assert own.run("1").result["status"] == "succeeded"
    pool.close()


def test_a_pool_of_none_starts_nothing() -> None:
    pool = Pool(0, 600)
    pool.warm_up()
    assert pool._pid == 0
    assert pool.status().limit == 0


def test_a_notebook_of_another_environment_is_run_by_it(
    pool_runs: Any, pool: Pool, make_document: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool_runs.run("1")
    kernels = tmp_path / "jupyter" / "kernels" / "other"
    kernels.mkdir(parents=True)
    spec = {
        "argv": ["python", "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "Other",
        "language": "python",
        "env": {"OTHER": "folder ${HOME}"},
    }
    (kernels / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    pool.close()

    for _ in range(2):
        source = "import os; print(os.environ['OTHER'])"
        run = pool_runs.start(make_document(source, kernel="other")).wait()
        assert run.text(0) == f"folder {os.environ['HOME']}\n"
