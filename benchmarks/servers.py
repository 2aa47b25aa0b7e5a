"""Jupyter servers and controls of our own, each with its own folders, ended with the benchmark."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from himalia import Client
from himalia.control.launcher import stop_control
from himalia.core.places import Places

STOCK_SCHEDULER = (
    "--SchedulerApp.scheduler_class=jupyter_scheduler.scheduler.Scheduler",
    "--SchedulerApp.environment_manager_class=jupyter_scheduler.environments.CondaEnvironmentManager",
    "--SchedulerApp.job_files_manager_class=jupyter_scheduler.job_files_manager.JobFilesManager",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A Jupyter server that answers."""

    process: psutil.Process
    http: httpx.Client
    root: Path
    data: Path


@contextmanager
def jupyter_server(folder: Path, extensions: dict[str, bool], *options: str) -> Iterator[Server]:
    """Start a Jupyter server with these extensions switched on and off."""
    for name in ("root", "config", "data", "runtime"):
        (folder / name).mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    config = folder / "config" / "jupyter_server_config.json"
    config.write_text(json.dumps({"ServerApp": {"jpserver_extensions": extensions}}))
    command = [sys.executable, "-m", "jupyter_server", "--no-browser", f"--port={port}"]
    command += [f"--ServerApp.root_dir={folder / 'root'}", f"--IdentityProvider.token={token}"]
    command += ["--allow-root", "--ServerApp.disable_check_xsrf=True", *options]
    env = {
        **os.environ,
        "HIMALIA_HOME": str(folder / "himalia"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        headers = {"Authorization": f"token {token}"}
        with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False) as http:
            _await_answer(http, folder / "log")
            yield Server(
                process=psutil.Process(process.pid),
                http=http,
                root=folder / "root",
                data=folder / "data",
            )
    finally:
        process.terminate()
        process.wait(30)


def _await_answer(http: httpx.Client, log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            if http.get("/api/status").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise TimeoutError(log.read_text())


@contextmanager
def himalia_client(home: Path, **settings: Any) -> Iterator[Client]:
    """Give a client of a control with these settings; control ends with it."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    (home / "settings.toml").write_text("\n".join(lines))
    before = os.environ.get("HIMALIA_HOME")
    os.environ["HIMALIA_HOME"] = str(home)
    try:
        with Client() as client:
            yield client
        asyncio.run(stop_control(Places(home=home)))
    finally:
        if before is None:
            del os.environ["HIMALIA_HOME"]
        else:
            os.environ["HIMALIA_HOME"] = before
