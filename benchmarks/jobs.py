"""Measure jobs beside nbconvert, papermill, nbclient and jupyter-scheduler: ``make bench-jobs``.

Everything is measured in one run, on the same notebook and the same machine, and printed as
Markdown. Sections can be named: ``make bench-jobs ARGS="latency rate"``.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psutil
from idle import idle
from lists import lists
from peers import by_command, by_jupyter_scheduler, by_nbclient, check, make_notebook
from servers import STOCK_SCHEDULER, himalia_client, jupyter_server
from table import Table, clock, median, ratio, repeated

from himalia import Client, __version__

AT_ONCE = 20
TRIES = 7
COMMANDS = {"nbconvert": "jupyter nbconvert --execute", "papermill": "papermill"}


def as_job(client: Client, notebook: Path, out: Path) -> float:
    """Submit a job and wait until it has ended, its outputs then being on disk."""
    with clock() as seconds:
        run = client.run(str(notebook), wait=True)
        taken = seconds()
    if run.status != "succeeded":
        raise AssertionError(run.reason)
    (path,) = client.runs.download(run.id, out, names=(notebook.name,))
    check(path)
    return taken


def many_as_jobs(client: Client, notebook: Path) -> float:
    """Submit many at once and wait for all."""
    with clock() as seconds:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            runs = list(threads.map(lambda _: client.run(str(notebook)), range(AT_ONCE)))
        ended = [client.runs.wait(run.id) for run in runs]
        taken = seconds()
    if any(run.status != "succeeded" for run in ended):
        raise AssertionError([run.reason for run in ended])
    return taken


def warm_up(client: Client, notebook: Path, out: Path) -> None:
    """Run jobs until processes are kept ready for the next."""
    for _ in range(10):
        as_job(client, notebook, out)
        pool = client.status().pool
        if pool is not None and pool.ready:
            return
        time.sleep(0.5)
    raise TimeoutError("no process is kept ready")


def latency(folder: Path) -> None:
    """From submitting to outputs on disk."""
    notebook = make_notebook(folder / "work" / "three.ipynb")
    out = folder / "out.ipynb"
    found: dict[str, float] = {}
    with himalia_client(folder / "warm") as client:
        warm_up(client, notebook, folder / "r")
        found["himalia, warm"] = repeated(TRIES, lambda: as_job(client, notebook, folder / "r"))
    with himalia_client(folder / "cold", pool_size=0) as client:
        found["himalia, cold"] = repeated(TRIES, lambda: as_job(client, notebook, folder / "r"))
    extensions = {"himalia": False, "jupyter_scheduler": True, "jupyterlab": False}
    with jupyter_server(folder / "js", extensions, *STOCK_SCHEDULER) as server:
        found["jupyter-scheduler"] = repeated(TRIES, lambda: by_jupyter_scheduler(server, notebook))
    found["jupyter nbconvert --execute"] = repeated(
        3, lambda: by_command("nbconvert", notebook, out)
    )
    found["papermill"] = repeated(3, lambda: by_command("papermill", notebook, out))
    found["nbclient, warm process"] = repeated(TRIES, lambda: by_nbclient(notebook, out))
    table = Table(
        title="One job of three small cells: submitted → outputs on disk",
        head=("", "median", "to himalia, warm", "to himalia, cold"),
    )
    warm, cold = found["himalia, warm"], found["himalia, cold"]
    for name, seconds in found.items():
        table.rows.append((name, f"{seconds:.3f} s", ratio(warm, seconds), ratio(cold, seconds)))
    table.show()


def rate(folder: Path) -> None:
    """Many submitted at once."""
    notebook = make_notebook(folder / "work" / "three.ipynb")
    out = folder / "out.ipynb"
    found: dict[str, float] = {}
    with himalia_client(folder / "many") as client:
        warm_up(client, notebook, folder / "r")
        found["himalia"] = median([many_as_jobs(client, notebook) for _ in range(3)])
    extensions = {"himalia": False, "jupyter_scheduler": True, "jupyterlab": False}
    with jupyter_server(folder / "js-many", extensions, *STOCK_SCHEDULER) as server:
        by_jupyter_scheduler(server, notebook)
        found["jupyter-scheduler"] = by_jupyter_scheduler(server, notebook, at_once=AT_ONCE)
    for tool, name in COMMANDS.items():
        found[name] = by_command(tool, notebook, out, at_once=AT_ONCE)
    found["nbclient, warm process"] = by_nbclient(notebook, out, at_once=AT_ONCE)
    table = Table(
        title=f"{AT_ONCE} such jobs submitted at once",
        head=("", "jobs/s", "himalia is faster by"),
    )
    for name, seconds in found.items():
        table.rows.append((name, f"{AT_ONCE / seconds:.2f}", ratio(found["himalia"], seconds)))
    table.show()


SECTIONS: dict[str, Callable[[Path], None]] = {
    "latency": latency,
    "rate": rate,
    "lists": lists,
    "idle": idle,
}


def main() -> None:
    """Run the sections that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[[], *SECTIONS], metavar="SECTION")
    chosen = parser.parse_args().sections or list(SECTIONS)
    # Byte code is cached, or every tool that starts a process would look slower than it is.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    for name in ("HIMALIA_URL", "HIMALIA_TOKEN"):
        os.environ.pop(name, None)
    memory = psutil.virtual_memory().total / 2**30
    print(
        "# Measurements of jobs\n\n"
        "All in one run, on the same notebook: `make -s bench-jobs | tee benchmarks/RESULTS.md`.\n"
        f"{datetime.now(UTC):%Y-%m-%d}, himalia {__version__}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, {memory:.0f} GiB, load {os.getloadavg()[0]:.1f} at the start."
    )
    folder = Path(tempfile.mkdtemp(prefix="himalia-bench-"))
    os.environ["IPYTHONDIR"] = str(folder / "ipython")
    try:
        with clock() as seconds:
            for name in chosen:
                SECTIONS[name](folder / name)
            print(f"\nTaken in {seconds():.0f} s.")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
