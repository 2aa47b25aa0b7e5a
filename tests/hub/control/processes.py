"""Processes of control, as a hub starts them, with a bent hub's interface before them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from himalia_hub.state import State
from tests.servers import notebooks
from tests.servers.environment import server_python
from tests.servers.hub_api import HubApiServer, User
from tests.servers.patience import PATIENCE_SECONDS


@dataclass(kw_only=True)
class Process:
    """One control."""

    child: subprocess.Popen[bytes]
    log_file: Path
    url: str = ""

    def log(self) -> str:
        """Return what it said."""
        return self.log_file.read_text(errors="replace")

    async def listens(self) -> None:
        """Wait until it listens, and note where."""
        end = time.monotonic() + PATIENCE_SECONDS
        while " listens at " not in self.log():
            assert self.child.poll() is None, self.log()
            assert time.monotonic() < end, self.log()
            await asyncio.sleep(0.05)
        self.url = self.log().split(" listens at ")[1].split(",")[0]

    async def ask(self, path: str, token: str | None = None, **more: Any) -> httpx.Response:
        """Ask it."""
        headers = {"Authorization": f"token {token}"} if token else {}
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as client:
            return await client.request(
                more.pop("method", "GET"), f"{self.url}{path}", headers=headers, **more
            )

    async def ready(self, status: int = 200, *, seconds: float = PATIENCE_SECONDS) -> float:
        """Wait until it says that it is ready, or is not; return how long that took."""
        began = time.monotonic()
        while (await self.ask("health/ready")).status_code != status:
            assert time.monotonic() < began + seconds, self.log()
            await asyncio.sleep(0.1)
        return time.monotonic() - began

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it; return its status."""
        self.child.send_signal(number)
        return self.child.wait(30)


@dataclass(kw_only=True)
class Place:
    """A state folder with a configuration, for any number of controls."""

    hub: HubApiServer
    folder: Path
    started: list[Process] = field(default_factory=list)

    @property
    def state(self) -> State:
        """The state folder."""
        return State(self.folder / "state")

    def configure(self, *lines: str) -> None:
        """Write the configuration."""
        self.hub.service_token = self.state.secret("control-token")
        (self.folder / "jupyterhub_config.py").write_text(
            "c = get_config()\n"
            f"c.Himalia.state = {str(self.state.folder)!r}\n"
            f"c.Himalia.python = {str(server_python())!r}\n" + "\n".join(lines)
        )

    def start(self, *arguments: str) -> Process:
        """Start a control."""
        log_file = self.folder / f"control-{len(self.started)}.log"
        config = str(self.folder / "jupyterhub_config.py")
        with log_file.open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "himalia_hub.control", "--config", config, *arguments],
                env={**os.environ, "JUPYTERHUB_API_URL": self.hub.url},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.started.append(Process(child=child, log_file=log_file))
        return self.started[-1]

    def home(self, user: User) -> Path:
        """Return somebody's home, which is there once control has asked their agent."""
        return self.state.homes / user.owner

    def write(self, user: User, name: str, *sources: str) -> None:
        """Write a notebook into somebody's home, as theirs."""
        notebooks.write(self.home(user) / name, *sources)

    def clear(self) -> None:
        """End everything, and remove what was made."""
        for process in self.started:
            if process.child.poll() is None:
                process.child.kill()
                process.child.wait()
        homes = str(self.state.homes) + "/"
        accounts = [one for one in pwd.getpwall() if one.pw_dir.startswith(homes)]
        for one in _of({account.pw_uid for account in accounts}):
            with contextlib.suppress(psutil.Error):
                one.kill()
                one.wait(5)
        for account in accounts:
            subprocess.run(["userdel", account.pw_name], check=False, capture_output=True)
            subprocess.run(["groupdel", account.pw_name], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def _of(uids: set[int]) -> Iterator[psutil.Process]:
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if one.uids().real in uids:
                yield one


def new_place(hub: HubApiServer) -> Place:
    """Make a folder that other accounts may pass through."""
    folder = Path(tempfile.mkdtemp(prefix="himalia-control-"))
    folder.chmod(0o711)
    place = Place(hub=hub, folder=folder)
    place.configure()
    return place
