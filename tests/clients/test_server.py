"""The client against a Jupyter server, found by its address and token."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from himalia.client import AsyncClient, Client
from himalia.core.errors import Forbidden, HimaliaError, Unauthenticated
from himalia.core.model import Status


@pytest.fixture
def address(http_server: Any, http_server_port: Any, jp_base_url: str) -> str:
    """Where the test's Jupyter server listens."""
    return f"http://127.0.0.1:{http_server_port[1]}{jp_base_url}"


@pytest.fixture
def token(jp_auth_header: dict[str, str]) -> str:
    return jp_auth_header["Authorization"].partition(" ")[2]


async def test_a_notebook_runs_below_the_server_s_root(
    address: str, token: str, write_notebook: Any, jp_root_dir: Path
) -> None:
    write_notebook("print('from the server')", name="there.ipynb")
    async with AsyncClient(address, token) as client:
        run = await client.run("there.ipynb", wait=True)
        assert run.status is Status.SUCCEEDED
        assert "from the server" in (await client.runs.log(run.id)).text
        assert (await client.jobs.get(run.workload_id)).root == os.path.realpath(jp_root_dir)  # noqa: ASYNC240


async def test_without_its_token_a_server_tells_nothing(address: str) -> None:
    async with AsyncClient(address, "wrong") as client:
        with pytest.raises((Unauthenticated, Forbidden)):
            await client.status()


async def test_address_and_token_come_from_the_environment(
    address: str, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIMALIA_URL", address)
    monkeypatch.setenv("HIMALIA_TOKEN", token)
    client = await asyncio.to_thread(Client)
    try:
        assert (await asyncio.to_thread(client.status)).backend == "local"
    finally:
        await asyncio.to_thread(client.close)
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", "from himalia.cli import main; main()", "environments", "--json"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ.copy(),
    )
    assert "python3" in done.stdout


def test_a_server_that_is_not_there_is_a_himalia_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with Client("http://127.0.0.1:9", "t") as client, pytest.raises(HimaliaError):
        client.status()
