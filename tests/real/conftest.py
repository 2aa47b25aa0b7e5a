"""Notebooks from source packages, and each of them run twice: as a job and by nbclient."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from himalia import Client
from himalia.control.launcher import stop_control
from himalia.core.model import Run
from tests.servers.patience import PATIENCE_SECONDS

HERE = Path(__file__).resolve().parent


BESIDE = {"nbconvert-7.17.2/tests/files/Widget_List.ipynb": "testimage.png"}
"""What a notebook reads from its own folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """What became of a notebook."""

    status: str
    reason: str | None
    notebook: Any


def pins() -> Iterator[tuple[str, str]]:
    """Yield the file name and the SHA-256 of every source package."""
    text = (HERE / "sources.txt").read_text()
    pin = re.compile(r"^(\w+)==(\S+) \\\s+--hash=sha256:(\w+)", re.MULTILINE)
    for name, version, digest in pin.findall(text):
        yield f"{name}-{version}.tar.gz", digest


@pytest.fixture(scope="session")
def packages() -> Path:
    """Return a folder with the source packages, downloaded once for all checkouts."""
    cache = Path(os.environ.get("HIMALIA_CACHE") or Path.home() / ".cache/himalia") / "notebooks"
    cache.mkdir(parents=True, exist_ok=True)
    if any(not (cache / name).exists() for name, _ in pins()):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-binary", ":all:", "--require-hashes", "--dest", str(cache)]
        subprocess.run([*command, "--requirement", str(HERE / "sources.txt")], check=True)
    for name, digest in pins():
        assert hashlib.sha256((cache / name).read_bytes()).hexdigest() == digest, name
    return cache


@pytest.fixture(scope="session")
def sources(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the packages' files; nothing in a package lands outside it."""
    folder = tmp_path_factory.mktemp("sources")
    for name, _ in pins():
        with tarfile.open(packages / name) as package:
            package.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def names() -> tuple[str, ...]:
    return tuple((HERE / "notebooks.txt").read_text().splitlines())


@pytest.fixture(scope="session")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Return a client of a control of our own, as a user's shell would have it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HIMALIA_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        patch.delenv("HIMALIA_URL", raising=False)
        with Client() as made:
            yield made
        asyncio.run(stop_control())


@pytest.fixture(scope="session")
def submitted(client: Client, sources: Path, names: tuple[str, ...]) -> dict[str, Run]:
    """Submit all at once: the queue takes them."""
    runs = {}
    for name in names:
        path = sources / name
        files = (str(path.with_name(BESIDE[name])),) if name in BESIDE else ()
        runs[name] = client.run(
            str(path), name=name, environment="python3", cell_timeout_seconds=60, files=files
        )
    return runs


@pytest.fixture(scope="session")
def as_job(client: Client, submitted: dict[str, Run]) -> Any:
    """Return a function that waits for a notebook's job."""

    def wait(name: str) -> Executed:
        run = client.runs.wait(submitted[name].id, timeout_seconds=240)
        first = client.runs.outputs(run.id)[0]
        assert first.role == "notebook"
        text = client.runs.read(run.id, first.name).decode()
        notebook = nbformat.reads(text, as_version=4)
        return Executed(
            status=run.status, reason=run.reason.code if run.reason else None, notebook=notebook
        )

    return wait


@pytest.fixture
def by_nbclient(sources: Path, tmp_path: Path) -> Any:
    """Return a function that executes a notebook in an ordinary kernel."""

    def execute(name: str) -> Executed:
        notebook = nbformat.read(sources / name, as_version=4)
        if name in BESIDE:
            shutil.copy((sources / name).with_name(BESIDE[name]), tmp_path)
        resources = {"metadata": {"path": str(tmp_path)}}
        status, reason = "succeeded", None
        try:
            NotebookClient(
                notebook, timeout=PATIENCE_SECONDS, kernel_name="python3", resources=resources
            ).execute()
        except CellExecutionError:
            status, reason = "failed", "cell_failed"
        except DeadKernelError:
            status, reason = "failed", "kernel_died"
        return Executed(status=status, reason=reason, notebook=notebook)

    return execute
