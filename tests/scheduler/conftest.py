"""A Jupyter server with the upstream extension, untouched, and our shipped configuration."""

from __future__ import annotations

import asyncio
import json
import shutil
import warnings
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.patience import PATIENCE_SECONDS

with warnings.catch_warnings():
    # Upstream's models use what SQLAlchemy 2.1 has deprecated.
    warnings.simplefilter("ignore", DeprecationWarning)
    import jupyter_scheduler  # noqa: F401

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "server_extension/jupyter-config-scheduler/jupyter_jupyter_scheduler_config.json"


@pytest.fixture
def jp_server_config(jp_config_dir: Path) -> dict[str, Any]:
    shutil.copy(SHIPPED, jp_config_dir)
    return {"ServerApp": {"jpserver_extensions": {"himalia": True, "jupyter_scheduler": True}}}


@pytest.fixture(autouse=True)
def _closed(jp_serverapp: Any, jp_asyncio_loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let go of the provider's connections, which a server keeps for its life."""
    yield
    scheduler = jp_serverapp.web_app.settings["scheduler"]
    jp_asyncio_loop.run_until_complete(scheduler.client.close())


Ask = Callable[..., Awaitable[Any]]


@pytest.fixture
def ask(jp_fetch: Any) -> Ask:
    """Ask upstream's routes; returns the status and the answer's JSON, if any."""

    async def send(method: str, path: str, body: Any = None, **params: Any) -> tuple[int, Any]:
        answer = await jp_fetch(
            "scheduler",
            *path.split("/"),
            method=method,
            body=None if body is None else json.dumps(body),
            params=params,
            allow_nonstandard_methods=True,
            raise_error=False,
            request_timeout=PATIENCE_SECONDS,
        )
        return answer.code, json.loads(answer.body) if answer.body else None

    return send


@pytest.fixture
def create(ask: Ask) -> Ask:
    """Create a job as the panel does, and return its id."""

    async def make(input_uri: str = "nb.ipynb", **fields: Any) -> str:
        body = {"name": "mine", "input_uri": input_uri, "runtime_environment_name": ""}
        status, answer = await ask("POST", "jobs", body | {"output_formats": ["ipynb"]} | fields)
        assert status == 200, answer
        job_id: str = answer["job_id"]
        return job_id

    return make


@pytest.fixture
def ended_job(ask: Ask) -> Ask:
    """Wait until a job has ended, and return it."""

    async def wait(job_id: str) -> Any:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                status, job = await ask("GET", f"jobs/{job_id}")
                assert status == 200, job
                if job["status"] in {"COMPLETED", "FAILED", "STOPPED"}:
                    return job
                await asyncio.sleep(0.1)

    return wait
