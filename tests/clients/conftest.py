"""A control of the tests' own, notebooks to run, and the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from himalia.client import Client
from tests.servers.patience import PATIENCE_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ended]
Notebook = Callable[..., Path]


@pytest.fixture(scope="package")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """State of its own for all tests here; what was started there is stopped in the end."""
    folder = tmp_path_factory.mktemp("himalia")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HIMALIA_HOME", str(folder))
        for name in ("HIMALIA_URL", "HIMALIA_TOKEN"):
            patch.delenv(name, raising=False)
        yield folder
        subprocess.run([*HIMALIA, "control", "stop"], check=True, timeout=PATIENCE_SECONDS)


HIMALIA = [sys.executable, "-c", "from himalia.cli import main; main()"]


@pytest.fixture
def himalia(home: Path, tmp_path: Path) -> Run:
    """Run the command line in the test's own folder."""

    def run(*arguments: str, **environment: str) -> Ended:
        done = subprocess.run(
            [*HIMALIA, *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONUTF8": "1"} | environment,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        return Ended(code=done.returncode, out=done.stdout, err=done.stderr)

    return run


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    """Write a notebook of the given cells; the first is its parameters cell if it is named so."""

    def write(*sources: str, name: str = "report.ipynb", parameters: str | None = None) -> Path:
        cells = [_cell(source, []) for source in sources]
        if parameters is not None:
            cells.insert(0, _cell(parameters, ["parameters"]))
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        content = {
            "cells": cells,
            "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        for number, cell in enumerate(cells):
            cell["id"] = f"cell{number}"
        path = tmp_path / name
        path.write_text(json.dumps(content))
        return path

    return write


def _cell(source: str, tags: list[str]) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "source": source,
        "metadata": {"tags": tags},
        "outputs": [],
        "execution_count": None,
    }


@pytest.fixture
def client(home: Path) -> Iterator[Client]:
    """The blocking client."""
    with Client() as made:
        yield made
