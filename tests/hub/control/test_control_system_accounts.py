"""A hub with the system's own accounts: what becomes of a person whom it knows no more."""

from __future__ import annotations

import asyncio
import os
import pwd
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.hub.control.processes import Place, Process, new_place
from tests.servers import notebooks
from tests.servers.hub_api import HubApiServer, User
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = [
    pytest.mark.asyncio,
    pytest.mark.skipif(os.geteuid() != 0, reason="accounts are used where the hub is root"),
]


@pytest.fixture
def names() -> Iterator[tuple[str, str]]:
    """Two accounts that the system has, with homes."""
    mark = secrets.token_hex(3)
    ann, bob = f"hm-ann-{mark}", f"hm-bob-{mark}"
    for name in (ann, bob):
        subprocess.run(["useradd", "--create-home", "--no-log-init", name], check=True)
    yield ann, bob
    for name in (ann, bob):
        _kill(pwd.getpwnam(name).pw_uid)
        subprocess.run(["userdel", "--remove", name], check=True, capture_output=True)


@pytest.fixture
def place(hub_server: HubApiServer) -> Iterator[Place]:
    made = new_place(hub_server)
    yield made
    made.clear()


def _kill(uid: int) -> None:
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.uids().real == uid:
                process.kill()
                process.wait(10)


def kept(user: User) -> Path:
    """Return where the account of somebody keeps what is Himalia's."""
    return Path(pwd.getpwnam(user.name).pw_dir) / ".himalia" / user.owner


async def ended(process: Process, run: str, token: str) -> dict[str, Any]:
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        found: dict[str, Any] = (await process.ask(f"api/runs/{run}", token)).json()
        if found.get("ended_at"):
            return found
        assert time.monotonic() < end, process.log()
        await asyncio.sleep(0.2)


async def cleared(process: Process, folder: Path) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while await asyncio.to_thread(folder.exists):
        assert time.monotonic() < end, process.log()
        await asyncio.sleep(0.2)


async def a_job_of(process: Process, user: User, token: str) -> dict[str, Any]:
    """Have somebody run a notebook; return the job."""
    home = Path(pwd.getpwnam(user.name).pw_dir)
    notebooks.write(home / "sums.ipynb", f"print('from {user.name}')")
    draft = {"name": "sums", "spec": {"notebook": "sums.ipynb"}}
    made: dict[str, Any] = (await process.ask("api/jobs", token, method="POST", json=draft)).json()
    run = await ended(process, made["last_run"]["id"], token)
    assert run["status"] == "succeeded", run
    return made


async def test_what_himalia_kept_goes_to_the_heir_or_away_and_the_rest_of_the_home_stays(
    place: Place, hub_server: HubApiServer, names: tuple[str, str]
) -> None:
    ann, bob = map(hub_server.add, names)
    # An empty list of users would be taken for a mistake.
    hub_server.add("zoe")
    place.configure(
        'c.Himalia.accounts = "system"',
        'c.Himalia.on_user_deleted = "transfer"',
        f"c.Himalia.heir = {bob.name!r}",
    )
    hers, his = hub_server.token(ann.name), hub_server.token(bob.name)
    process = place.start()
    await process.listens()
    await process.ready()
    made = await a_job_of(process, ann, hers)
    run = made["last_run"]["id"]
    # What somebody may put in the way is not followed.
    outside = kept(bob).parent.parent / "precious"
    outside.touch()
    outside.chmod(0o666)
    (kept(ann) / "link").symlink_to(outside.parent)

    hub_server.remove(ann.name)
    assert (await ended(process, run, his))["id"] == run
    outputs = (await process.ask(f"api/runs/{run}/outputs", his)).json()["items"]
    text = (await process.ask(f"api/runs/{run}/outputs/{outputs[0]['name']}", his)).text
    assert f"from {ann.name}" in text
    await cleared(process, kept(ann))
    assert (kept(ann).parent.parent / "sums.ipynb").exists()
    assert outside.exists()
    assert kept(bob).exists()
    assert process.end() == 0

    # With nobody to inherit, it is deleted; the account and its home are the system's.
    place.configure('c.Himalia.accounts = "system"')
    process = place.start()
    await process.listens()
    await process.ready()
    hub_server.remove(bob.name)
    await cleared(process, kept(bob))
    assert outside.exists()
    assert process.end() == 0
