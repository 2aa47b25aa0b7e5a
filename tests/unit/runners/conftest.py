"""Runs of tiny notebooks, by the real runner in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from himalia.backends.base import AttemptRef
from himalia.backends.local.limits import LocalLimits
from himalia.backends.local.pool import Pool
from himalia.backends.local.starting import Starting
from himalia.core.names import new_id
from himalia.core.places import Places
from himalia.core.spec import Resources
from himalia.kinds.base import RunPlan
from himalia.runners.attempt import AttemptFolder
from himalia.runners.events import read_cells
from himalia.runners.log import read_log
from himalia.runners.task import RUNNER, NotebookTask
from tests.servers.patience import PATIENCE_SECONDS


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def document(*cells: str | dict[str, Any], kernel: str = "python3") -> dict[str, Any]:
    """Make a notebook; a cell is its source, or a dictionary that adds to a code cell."""
    made = []
    for number, cell in enumerate(cells):
        extra = {"source": cell} if isinstance(cell, str) else cell
        base = {"cell_type": "code", "id": f"cell-{number}", "metadata": {}}
        code = {"outputs": [], "execution_count": None}
        is_code = extra.get("cell_type", "code") == "code"
        made.append({**base, **(code if is_code else {}), **extra})
    spec = {"name": kernel, "display_name": kernel, "language": "python"}
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": spec},
        "cells": made,
    }


@dataclass
class Passage:
    """One attempt, while it runs and after."""

    folder: AttemptFolder

    @property
    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = json.loads(self.folder.result.read_text())
        return result

    @property
    def code(self) -> str | None:
        reason = self.result["reason"]
        return reason["code"] if reason else None

    @property
    def message(self) -> str:
        return str(self.result["reason"]["message"])

    @property
    def notebook(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.folder.outputs / "n.ipynb").read_text())
        return document

    @property
    def log(self) -> str:
        return read_log(self.folder.log, offset=0, limit=2**30)[0].decode()

    @property
    def cells(self) -> list[dict[str, Any]]:
        return read_cells(self.folder.events)

    def outputs(self, index: int) -> list[dict[str, Any]]:
        outputs: list[dict[str, Any]] = self.notebook["cells"][index]["outputs"]
        return outputs

    def text(self, index: int) -> str:
        """Return what a cell wrote and gave, in one piece."""
        parts = []
        for output in self.outputs(index):
            part = output.get("text") or output.get("data", {}).get("text/plain") or ""
            parts.append("".join(part))
        return "".join(parts)

    def wait(self) -> Passage:
        """Wait for the runner's end."""
        wait_until(lambda: not self.folder.is_taken())
        return self

    def wait_for_cell(self, index: int) -> Passage:
        """Wait until a cell has begun."""
        wait_until(lambda: any(event["index"] == index for event in self.cells))
        return self

    @property
    def pid(self) -> int:
        wait_until(lambda: "pid" in json.loads(self.folder.started.read_text()))
        return int(json.loads(self.folder.started.read_text())["pid"])

    def ask_to_stop(self) -> None:
        self.folder.stop.touch()
        os.kill(self.pid, signal.SIGTERM)


@dataclass
class Runs:
    """Starts runs of one notebook each."""

    starting: Starting
    places: Places
    made: list[Passage] = field(default_factory=list)

    def start(
        self,
        notebook: dict[str, Any] | bytes,
        *,
        files: dict[str, bytes] | None = None,
        env: dict[str, str] | None = None,
        environment: str = "",
        resources: Resources | None = None,
        timeout_seconds: float | None = None,
        grace_seconds: float = 10.0,
        **task: Any,
    ) -> Passage:
        data = notebook if isinstance(notebook, bytes) else json.dumps(notebook).encode()
        digest = new_id("snp")
        folder = self.places.snapshots / digest / "files"
        folder.mkdir(parents=True)
        for name, content in {"n.ipynb": data, **(files or {})}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        plan = RunPlan(
            runner=RUNNER,
            task=NotebookTask(notebook="n.ipynb", **task).to_json(),
            environment=environment,
            env=env or {},
            resources=resources or Resources(),
            snapshot_digest=f"sha256:{digest}",
            timeout_seconds=timeout_seconds,
            grace_seconds=grace_seconds,
        )
        ref = AttemptRef(owner="me", run_id=new_id("run"), attempt=1)
        passage = Passage(AttemptFolder(self.places.runs / ref.run_id / "1"))
        self.starting.start(ref, passage.folder, plan)
        self.made.append(passage)
        return passage

    def run(self, *cells: str | dict[str, Any], **how: Any) -> Passage:
        """Run cells to their end."""
        return self.start(document(*cells), **how).wait()


def _runs(places: Places, pool: Pool) -> Iterator[Runs]:
    starting = Starting(places.snapshots, LocalLimits(processes=200), 10 * 2**20, pool)
    runs = Runs(starting, places)
    yield runs
    for passage in runs.made:
        if passage.folder.is_taken():
            os.kill(passage.pid, signal.SIGKILL)
            passage.wait()
    pool.close()


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Runs whose runners are forked from one warm process."""
    pool = Pool(1, 600)
    pool.warm_up()
    yield from _runs(Places(home=tmp_path_factory.mktemp("home")).prepare(), pool)


@pytest.fixture(scope="session")
def cold_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Runs whose runners and kernels are started each by themselves."""
    yield from _runs(Places(home=tmp_path_factory.mktemp("home")).prepare(), Pool(0, 600))


@pytest.fixture(scope="session")
def make_document() -> Callable[..., dict[str, Any]]:
    """Makes notebooks."""
    return document
