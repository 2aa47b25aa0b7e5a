"""Shared by every test: a Jupyter server with the extension, and the user's control behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import HTTPResponse

from himalia.control.launcher import stop_control
from himalia.core.places import Places
from tests.servers.patience import PATIENCE_SECONDS

pytest_plugins = [
    "pytest_jupyter.jupyter_server",
    "tests.servers.cluster",
    "tests.servers.people",
    "tests.servers.postgres",
    "tests.servers.stalls",
]


@pytest.fixture
def jp_server_config() -> dict[str, Any]:
    return {"ServerApp": {"jpserver_extensions": {"himalia": True}}}


@pytest.fixture(scope="session")
def control_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder with one control for every test's Jupyter server, stopped after them."""
    places = Places(home=tmp_path_factory.mktemp("himalia"))
    yield places.home
    asyncio.run(stop_control(places))


@pytest.fixture
def jp_environ(jp_environ: None, control_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIMALIA_HOME", str(control_home))


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whether or not it is an error."""

    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def code(self) -> str:
        """The slug of an error, after a look at its shape."""
        said = self.json()
        assert set(said) == {"error"}, said
        assert set(said["error"]) == {"code", "message", "details"}, said
        assert said["error"]["message"]
        assert self.headers["Content-Type"].startswith("application/json")
        code: str = said["error"]["code"]
        return code

    @property
    def fields(self) -> set[str]:
        """The fields that an error names."""
        return {detail["field"] for detail in self.json()["error"]["details"]}


Api = Callable[..., Awaitable[Answer]]


@pytest.fixture
def api(jp_fetch: Callable[..., Awaitable[HTTPResponse]]) -> Api:
    """Ask for an address below himalia/api; `json` is sent as the body, errors are returned."""

    async def ask(method: str, path: str, *, body: Any = None, **options: Any) -> Answer:
        content = body if isinstance(body, bytes | None) else json.dumps(body)
        found = await jp_fetch(
            "himalia/api",
            path,
            method=method,
            body=content,
            allow_nonstandard_methods=True,
            request_timeout=PATIENCE_SECONDS,
            raise_error=False,
            **options,
        )
        return Answer(found.code, dict(found.headers), found.body)

    return ask


@pytest.fixture
def write_notebook(jp_root_dir: Path) -> Callable[..., str]:
    """Write a notebook of these code cells below the server's root; return its path."""

    def write(*sources: str, name: str = "nb.ipynb") -> str:
        cells = [
            {
                "cell_type": "code",
                "id": f"cell-{index}",
                "source": source,
                "metadata": {},
                "outputs": [],
                "execution_count": None,
            }
            for index, source in enumerate(sources)
        ]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        text = json.dumps(
            {
                "nbformat": 4,
                "nbformat_minor": 5,
                "metadata": {"kernelspec": kernel},
                "cells": cells,
            }
        )
        (jp_root_dir / name).write_text(text)
        return name

    return write


@pytest.fixture
def make_job(api: Api, write_notebook: Callable[..., str]) -> Callable[..., Awaitable[Any]]:
    """Make a job of these cells, which runs if `run`."""

    async def make(*sources: str, run: bool = False, **spec: Any) -> Any:
        notebook = write_notebook(*(sources or ("print(1)",)))
        body = {"spec": {"notebook": notebook, **spec}, "run": run}
        answer = await api("POST", "jobs", body=body)
        assert answer.status == 201, answer.content
        return answer.json()

    return make


@pytest.fixture
def ended(api: Api) -> Callable[[str], Awaitable[Any]]:
    """Wait for the end of a run, and return it."""

    async def wait(run_id: str) -> Any:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                run = (await api("GET", f"runs/{run_id}")).json()
                if run["status"] in {"succeeded", "failed", "stopped", "skipped"}:
                    return run
                await asyncio.sleep(0.05)

    return wait
