"""The same notebook through other tools. Each function returns seconds."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from servers import Server
from table import clock

BIN = Path(sys.executable).parent


def make_notebook(path: Path) -> Path:
    """Write the notebook that everyone runs: three small cells."""
    cells = ["import math\nn = 1000", "sum(math.sqrt(i) for i in range(n))", "print('done', n)"]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in cells],
        metadata={
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}
        },
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def check(path: Path) -> None:
    """Fail where the outputs are not on disk."""
    text = path.read_text()
    if "done 1000" not in text.replace("', n)", ""):
        raise AssertionError(f"{path} was not executed")


def _command(tool: str, notebook: Path, out: Path) -> list[str]:
    if tool == "papermill":
        return [str(BIN / "papermill"), "--no-progress-bar", str(notebook), str(out)]
    made = ["--output-dir", str(out.parent), "--output", out.name]
    return [str(BIN / "jupyter-nbconvert"), "--to", "notebook", "--execute", str(notebook), *made]


def by_command(tool: str, notebook: Path, out: Path, *, at_once: int = 1) -> float:
    """Run `tool` as a process, several at once."""
    outs = [out.with_name(f"{out.stem}-{index}.ipynb") for index in range(at_once)]
    with clock() as seconds:
        processes = [
            subprocess.Popen(
                _command(tool, notebook, one),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for one in outs
        ]
        for process in processes:
            process.wait()
        taken = seconds()
    for one in outs:
        check(one)
        one.unlink()
    return taken


async def _execute(notebook: Path, out: Path, limit: asyncio.Semaphore) -> None:
    async with limit:
        made = nbformat.read(notebook, as_version=4)
        client = NotebookClient(made, kernel_name="python3")
        await client.async_execute(stderr=subprocess.DEVNULL)
        nbformat.write(made, out)


def by_nbclient(notebook: Path, out: Path, *, at_once: int = 1) -> float:
    """Run nbclient in this process, where everything is imported; a kernel per core."""
    outs = [out.with_name(f"{out.stem}-{index}.ipynb") for index in range(at_once)]

    async def all_of_them() -> None:
        limit = asyncio.Semaphore(os.cpu_count() or 1)
        await asyncio.gather(*(_execute(notebook, one, limit) for one in outs))

    with clock() as seconds:
        asyncio.run(all_of_them())
        taken = seconds()
    for one in outs:
        check(one)
    return taken


def by_jupyter_scheduler(server: Server, notebook: Path, *, at_once: int = 1) -> float:
    """Submit to jupyter-scheduler and wait until every job is completed."""
    shutil.copy(notebook, server.root / notebook.name)
    environments = server.http.get("/scheduler/runtime_environments").raise_for_status().json()
    job = {
        "name": notebook.stem,
        "input_uri": notebook.name,
        "runtime_environment_name": environments[0]["name"],
        "output_formats": ["ipynb"],
    }
    with clock() as seconds:
        ids = [
            server.http.post("/scheduler/jobs", json=job).raise_for_status().json()["job_id"]
            for _ in range(at_once)
        ]
        for one in ids:
            while True:
                answer = server.http.get(f"/scheduler/jobs/{one}").raise_for_status().json()
                if answer["status"] == "COMPLETED":
                    break
                if answer["status"] == "FAILED":
                    raise AssertionError(answer["status_message"])
                time.sleep(0.01)
        return seconds()
