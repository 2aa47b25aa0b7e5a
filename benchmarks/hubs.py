"""Hubs to be measured, each in a folder of its own, ended with the benchmark."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
from simulated import ADDRESS, TOKENS

HERE = Path(__file__).parent
_START_SECONDS = 300
PASSWORD = secrets.token_hex(8)
ADMIN_TOKEN = secrets.token_hex(32)

_PLAIN = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
c = get_config()
c.JupyterHub.spawner_class = "simulated_plain.PlainSimulated"
"""
_OURS = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
c = get_config()
c.Himalia.state = STATE
from himalia_hub import configure
configure(c)
# Accounts are made once in a user's life, and by programs of the system.
from pathlib import Path
from himalia.agents.account import Account
from himalia_hub.accounts import Accounts
Accounts.of = lambda self, owner, name: Account(name="nobody", home=Path("/nonexistent"))
# By its name: control reads this file too, and has no use for a spawner.
c.JupyterHub.spawner_class = "simulated_ours.OursSimulated"
"""
_BOTH = """
c.JupyterHub.bind_url = f"http://127.0.0.1:{PORT}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{HUB_PORT}"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{PROXY_PORT}"
c.ConfigurableHTTPProxy.command = COMMAND
c.JupyterHub.db_url = "sqlite:///jupyterhub.sqlite"
c.JupyterHub.authenticator_class = "shared-password"
c.SharedPasswordAuthenticator.user_password = PASSWORD
c.Authenticator.allow_all = True
c.JupyterHub.log_level = "WARN"
c.JupyterHub.concurrent_spawn_limit = STARTS
c.JupyterHub.services.append({"name": "bench", "api_token": ADMIN_TOKEN})
c.JupyterHub.load_roles.append(
    {"name": "bench", "services": ["bench"], "scopes": ["admin:users", "admin:servers"]}
)
"""


@dataclass(kw_only=True)
class Used:
    """What a process took."""

    cpu_seconds: float = 0.0
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """A hub that answers."""

    name: str
    url: str
    folder: Path
    process: psutil.Process
    control: tuple[psutil.Process, ...] = ()
    """Control and what keeps it; ours alone has one."""
    tokens: dict[str, str] = field(default_factory=dict)

    def used(self) -> dict[str, Used]:
        """Return what hub and control have taken so far, and what is theirs alone in memory."""
        found = {}
        for name, processes in (("hub", (self.process,)), ("control", self.control)):
            times = [process.cpu_times() for process in processes]
            if processes:
                found[name] = Used(
                    cpu_seconds=sum(time.user + time.system for time in times),
                    memory_bytes=sum(one.memory_full_info().uss for one in processes),
                )
        return found

    def token(self, user: str) -> str:
        """Return the token that a user's server was given."""
        if user not in self.tokens:
            lines = (self.folder / "tokens").read_text().splitlines()
            self.tokens.update(line.split() for line in lines)  # type: ignore[arg-type]
        return self.tokens[user]


def free_port() -> int:
    """Ask the system for a port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def proxy_command() -> list[str]:
    """Find configurable-http-proxy, of this checkout or of the system."""
    own = HERE.parent / "hub/proxy/node_modules/.bin/configurable-http-proxy"
    found = str(own) if own.exists() else shutil.which("configurable-http-proxy")
    if found is None:
        raise SystemExit("configurable-http-proxy is not there: `make bench-hub` installs it.")
    return [found]


@contextmanager
def hub(name: str, folder: Path, server: str, starts_at_once: int = 100) -> Iterator[Hub]:
    """Start a hub, ``plain`` or ``himalia``, whose users' servers all are `server`."""
    folder.mkdir(parents=True, mode=0o711)
    (folder / "tokens").touch(mode=0o600)
    port = free_port()
    facts = {
        "PORT": port,
        "HUB_PORT": free_port(),
        "PROXY_PORT": free_port(),
        "COMMAND": proxy_command(),
        "PASSWORD": PASSWORD,
        "ADMIN_TOKEN": ADMIN_TOKEN,
        "STATE": str(folder / "state"),
        "STARTS": starts_at_once,
    }
    lines = [f"{key} = {value!r}" for key, value in facts.items()]
    config = folder / "jupyterhub_config.py"
    config.write_text("\n".join(lines) + (_PLAIN if name == "plain" else _OURS) + _BOTH)
    config.chmod(0o600)
    env = {**os.environ, ADDRESS: server, TOKENS: str(folder / "tokens")}
    env["CONFIGPROXY_AUTH_TOKEN"] = secrets.token_hex(32)
    command = [sys.executable, "-m", "jupyterhub", "-f", str(config)]
    with (folder / "log").open("wb") as log:
        process = psutil.Popen(
            command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _await_answer(process, f"{url}/hub/health", folder / "log")
        control: tuple[psutil.Process, ...] = ()
        if name != "plain":
            _await_answer(process, f"{url}/services/himalia/health/ready", folder / "log")
            control = _control(process)
        yield Hub(name=name, url=url, folder=folder, process=process, control=control)
    finally:
        _end(process)


def _control(process: psutil.Process) -> tuple[psutil.Process, ...]:
    children = process.children(recursive=True)
    found = tuple(child for child in children if "himalia_hub.control" in child.cmdline())
    if not found:
        raise LookupError("this hub has no control")
    return found


def _await_answer(process: psutil.Popen, url: str, log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    with httpx.Client(timeout=10, trust_env=False) as http:
        while time.monotonic() < end and process.poll() is None:
            with suppress(httpx.TransportError):
                if http.get(url).status_code == 200:
                    return
            time.sleep(0.1)
    raise TimeoutError(f"no answer at {url}:\n{log.read_text()[-4000:]}")


def _end(process: psutil.Popen) -> None:
    """End a hub with what it started: its proxy and its services."""
    children: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        children = process.children(recursive=True)
        process.send_signal(signal.SIGTERM)
    with suppress(psutil.TimeoutExpired):
        process.wait(15)
    for left in (process, *children):
        with suppress(psutil.NoSuchProcess):
            left.kill()
    with suppress(psutil.TimeoutExpired, subprocess.TimeoutExpired):
        process.wait(5)
