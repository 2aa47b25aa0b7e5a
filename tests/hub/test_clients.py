"""The command line and Python at a hub: in a session, in a job, and from somewhere else."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.servers.environment import server_python
from tests.servers.hub import Hub
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio
MAIN = "from himalia.cli import main; main()"


def place(hub: Hub, name: str, source: str) -> None:
    """Put a notebook of one cell into Alice's home, as hers."""
    account = hub.account("alice")
    cell: dict[str, Any] = {
        "cell_type": "code", "source": source, "metadata": {}, "outputs": [],
        "execution_count": None, "id": "only",
    }  # fmt: skip
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = {
        "cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5,
    }  # fmt: skip
    path = Path(account.pw_dir) / name
    path.write_text(json.dumps(content))
    os.chown(path, account.pw_uid, account.pw_gid)


async def token_of(hub: Hub, name: str) -> str:
    """Make a token on the hub, as its page *Token* does."""
    async with await hub.visitor(name) as visitor:
        await visitor.enter("/hub/token")
        made = await visitor.ask("POST", f"/hub/api/users/{name}/tokens", json={})
    assert made.status_code == 201, made.text
    return str(made.json()["token"])


async def himalia(
    *arguments: str, python: str = sys.executable, environment: Mapping[str, str], **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command line beside the test's own loop."""

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [python, "-c", MAIN, *arguments],
            env={"PATH": os.environ["PATH"], "PYTHONUTF8": "1", **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
            **options,
        )

    return await asyncio.to_thread(run)


async def ready(hub: Hub) -> None:
    """See that Alice has a server."""
    await hub.api("POST", "users/alice")
    if "" not in (await hub.api("GET", "users/alice")).json()["servers"]:
        await hub.open_server("alice")


async def inside(hub: Hub, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as Alice does in a terminal of her server."""
    await ready(hub)
    server, account = hub.server("alice"), hub.account("alice")
    return await himalia(
        *arguments,
        python=str(server_python()),
        environment=server.environ(),
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        cwd=account.pw_dir,
    )


async def test_in_a_session_paths_are_files_of_the_user_s_own(hub: Hub) -> None:
    await ready(hub)
    place(hub, "inside.ipynb", "import os; print('uid', os.getuid())")
    ended = await inside(hub, "job", "run", "inside.ipynb", "--project", "inside", "--wait")
    assert ended.returncode == 0, ended.stderr
    run_id = ended.stderr.split()[0]
    said = await inside(hub, "job", "log", run_id)
    assert f"uid {hub.account('alice').pw_uid}" in said.stdout
    booked = await inside(hub, "usage", "--by", "project")
    assert "inside" in booked.stdout


async def test_from_elsewhere_a_token_of_the_hub_s_is_enough_and_paths_start_at_home(
    hub: Hub, tmp_path: Path
) -> None:
    await ready(hub)
    place(hub, "far.ipynb", "print('from afar')")
    environment = {
        "HIMALIA_CONTROL_URL": f"{hub.url}/services/himalia/",
        "HIMALIA_TOKEN": await token_of(hub, "alice"),
        "HOME": str(tmp_path),
    }
    ended = await himalia("job", "run", "far.ipynb", "--wait", environment=environment)
    assert ended.returncode == 0, ended.stderr
    run_id = ended.stderr.split()[0]
    said = await himalia(
        "job", "outputs", run_id, "--download", str(tmp_path), environment=environment
    )
    assert said.returncode == 0, said.stderr
    assert "from afar" in (tmp_path / "far.ipynb").read_text()

    bob = environment | {"HIMALIA_TOKEN": await token_of(hub, "bob")}
    absent = await himalia("job", "show", run_id, environment=bob)
    assert absent.returncode == 1
    assert "far" not in absent.stdout


async def test_without_a_good_token_the_command_line_says_what_to_do(hub: Hub) -> None:
    address = {"HIMALIA_CONTROL_URL": f"{hub.url}/services/himalia/"}
    for environment in (address, address | {"HIMALIA_TOKEN": "made-up"}):
        refused = await himalia("status", environment=environment)
        assert refused.returncode == 1
        assert "token" in refused.stderr
        assert "Traceback" not in refused.stderr


async def test_in_a_job_the_client_reads_with_the_run_s_own_token(hub: Hub) -> None:
    await ready(hub)
    source = (
        "import himalia, os\n"
        "assert 'JUPYTERHUB_API_TOKEN' not in os.environ\n"
        "with himalia.Client() as client:\n"
        "    print('runs', [run.workload_name for run in client.runs.list()])\n"
        "    try:\n"
        "        client.run('reads.ipynb')\n"
        "    except Exception as error:\n"
        "        print('refused', type(error).__name__)\n"
    )
    place(hub, "reads.ipynb", source)
    ended = await inside(hub, "job", "run", "reads.ipynb", "--wait")
    assert ended.returncode == 0, ended.stderr
    said = (await inside(hub, "job", "log", ended.stderr.split()[0])).stdout
    assert "runs ['reads'" in said
    assert "refused Forbidden" in said
