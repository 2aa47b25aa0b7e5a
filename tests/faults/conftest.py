"""A notebook that leaves a tally, and a receiver of webhooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.servers.listening import listening


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.faults)


_TALLY = """
import os
def tally(what):
    line = f"{{os.environ['HIMALIA_ATTEMPT']}} {{what}}\\n".encode()
    file = os.open({path!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line)
    os.fsync(file)
    os.close(file)
tally("begin")
"""


def _cell(source: str, number: int) -> dict[str, Any]:
    return {
        "cell_type": "code",
        "id": f"c{number}",
        "metadata": {},
        "source": source,
        "outputs": [],
        "execution_count": None,
    }


class Tally:
    """Notebooks that append ``<run>-<attempt> begin`` and ``… end`` to a file, durably."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "tally.txt"

    def write_notebook(self, name: str = "tally.ipynb", between: str = "pass") -> Path:
        sources = (_TALLY.format(path=str(self.file)), between, 'tally("end")')
        python = {"name": "python3", "display_name": "Python", "language": "python"}
        notebook = {
            "nbformat": 4,
            "nbformat_minor": 5,
            "metadata": {"kernelspec": python},
            "cells": [_cell(source, number) for number, source in enumerate(sources)],
        }
        path = self.folder / name
        path.write_text(json.dumps(notebook))
        return path

    def of(self, what: str) -> list[str]:
        """Return the attempts that began, or ended, as often as they did."""
        if not self.file.exists():
            return []
        entries = (line.split() for line in self.file.read_text().splitlines())
        return [name for name, said in entries if said == what]


class Hook:
    """Receives webhooks, and keeps their bodies."""

    def __init__(self) -> None:
        received: list[tuple[str, dict[str, Any]]] = []
        self.received = received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                received.append((self.headers["Himalia-Message"], json.loads(body)))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture
def tally(tmp_path: Path) -> Tally:
    folder = tmp_path / "notebooks"
    folder.mkdir()
    return Tally(folder)


@pytest.fixture
def hook() -> Iterator[Hook]:
    hook = Hook()
    with listening(hook.server):
        yield hook
