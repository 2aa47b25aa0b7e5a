"""A real hub for tests: proxy, JupyterHub, control and users' servers, as `make hub` runs them.

``async with Hub() as hub`` starts one on free ports, with demo logins; lines of configuration can
be added, in which PORT is the hub's. With ``host="hub.localhost"`` every user has a host below it,
and ``is_secure`` puts all of it behind TLS. What it made on the machine (accounts, processes,
files) goes with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import quote

import httpx
import psutil

from tests.servers.environment import proxy, server_python
from tests.servers.hosts import Certificate, LocalHosts
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.ports import free_port
from tests.servers.visitor import Visitor

TOKEN = "token-of-the-tests-that-may-do-everything"
_TESTER = f"""
c.JupyterHub.services.append({{"name": "tester", "api_token": {TOKEN!r}}})
c.JupyterHub.load_roles.append({{
    "name": "tester",
    "services": ["tester"],
    "scopes": ["admin:users", "admin:servers", "tokens", "admin:groups", "read:hub",
               "read:metrics", "access:servers"],
}})
"""
Part = Literal["start", "hub", "proxy", "keeper", "control"]


class Hub:
    """One hub with a state folder of its own."""

    def __init__(
        self,
        *,
        config: str = "",
        arguments: tuple[str, ...] = ("--demo",),
        host: str = "127.0.0.1",
        base: str = "/",
        is_secure: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        # Others pass through on the way to their homes, which pytest's own folders do not let.
        self.folder = Path(tempfile.mkdtemp(prefix="himalia-hub-"))
        self.folder.chmod(0o711)
        self.state = self.folder / "state"
        self.config = self.folder / "jupyterhub_config.py"
        self.log_file = self.folder / "hub.log"
        self.port = free_port()
        self._scheme, self._host, self._base = "https" if is_secure else "http", host, base
        self.url = f"{self._scheme}://{host}:{self.port}{base}".rstrip("/")
        self._certificate = Certificate(self.folder, host) if is_secure else None
        self.password = ""
        self.arguments = arguments
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.config.write_text(
            "c = get_config()\n"
            "from himalia_hub import configure\n"
            f"c.Himalia.state = {str(self.state)!r}\n"
            f"c.Himalia.python = {str(server_python())!r}\n"
            "configure(c)\n" + _TESTER + self._addresses() + config.replace("PORT", str(self.port))
        )
        self.config.chmod(0o600)

    def _addresses(self) -> str:
        lines = []
        if self._base != "/":
            lines.append(f"c.JupyterHub.base_url = {self._base!r}\n")
        if self.has_hosts:
            host = f"{self._scheme}://{self._host}:{self.port}"
            lines.append(f"c.JupyterHub.subdomain_host = {host!r}\n")
        if self._certificate is not None:
            lines.append(f"c.JupyterHub.ssl_key = {str(self._certificate.key)!r}\n")
            lines.append(f"c.JupyterHub.ssl_cert = {str(self._certificate.file)!r}\n")
        return "".join(lines)

    @property
    def has_hosts(self) -> bool:
        """Whether every user has a host of their own."""
        return self._host.endswith(".localhost")

    def home(self, user: str) -> str:
        """Return the address of a user's default server, which ends with a slash."""
        host = f"{user}.{self._host}" if self.has_hosts else self._host
        return f"{self._scheme}://{host}:{self.port}{self._base}user/{user}/"

    @property
    def service(self) -> str:
        """The address of control, which ends with a slash."""
        host = f"himalia--service.{self._host}" if self.has_hosts else self._host
        return f"{self._scheme}://{host}:{self.port}{self._base}services/himalia/"

    @property
    def trust(self) -> ssl.SSLContext | bool:
        """What a client goes by to trust the hub's certificate."""
        return self._certificate.trusted() if self._certificate is not None else True

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await asyncio.to_thread(self.clear)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.clear)

    async def start(self) -> None:
        """Start it, and wait until it says where it is."""
        said = self.launch()
        end = time.monotonic() + PATIENCE_SECONDS
        while "Himalia's hub is at" not in (text := self.log_file.read_text()[said:]):
            if self._process is None or self._process.poll() is not None:
                raise AssertionError(f"the hub ended:\n{text}")
            if time.monotonic() > end:
                raise AssertionError(f"the hub did not start:\n{text}")
            await asyncio.sleep(0.05)
        while "--demo" in self.arguments and "Password:" not in text:
            await asyncio.sleep(0.05)
            text = self.log_file.read_text()[said:]
        found = re.search(r"Password: (\S+)", text)
        self.password = found[1] if found else ""

    def launch(self) -> int:
        """Start it without waiting; return how long its log was."""
        command = [
            *(sys.executable, "-m", "himalia_hub.start", "--config", str(self.config)),
            *("--bind-url", f"http://127.0.0.1:{self.port}", "--proxy", str(proxy())),
            *self.arguments,
        ]
        with self.log_file.open("ab") as log:
            before = log.tell()
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return before

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End hub, proxy and control; return the status. Users' servers go on."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        return process.wait(PATIENCE_SECONDS)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Wait until it has ended by itself; return the status."""
        assert self._process is not None
        return self._process.wait(seconds)

    def log(self) -> str:
        """Return what hub, proxy and control said."""
        return self.log_file.read_text(errors="replace")

    def pid(self, part: Part) -> int:
        """Return the process of a part.

        :raises LookupError: it is not there at the moment.
        """
        return self.process(part).pid

    def process(self, part: Part) -> psutil.Process:
        """Find a part among the processes."""
        assert self._process is not None
        top = psutil.Process(self._process.pid)
        if part == "start":
            return top
        for one in top.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if _is_part(part, one.cmdline()):
                    return one
        raise LookupError(part)

    def kill(self, part: Part, number: signal.Signals = signal.SIGKILL) -> int:
        """Kill a part at once; return the number of the process that was."""
        found = self.pid(part)
        os.kill(found, number)
        return found

    def servers(self) -> list[psutil.Process]:
        """Return the users' servers that run, of this hub."""
        return [
            one
            for one in self._of_users()
            if "jupyterhub.singleuser" in " ".join(_said(one)) and _alive(one)
        ]

    async def visitor(self, name: str) -> Visitor:
        """Return somebody who has logged in."""
        return await Visitor(self.url, name, trust=self.trust).log_in(self.password)

    async def api(
        self, method: str, path: str, *, token: str = TOKEN, **options: Any
    ) -> httpx.Response:
        """Ask the hub's own API, as somebody who may do everything."""
        transport = LocalHosts(verify=self.trust)
        async with httpx.AsyncClient(
            transport=transport, trust_env=False, timeout=PATIENCE_SECONDS
        ) as client:
            return await client.request(
                method,
                f"{self.url}/hub/api/{path}",
                headers={"Authorization": f"token {token}"},
                **options,
            )

    async def open_server(self, user: str, name: str = "", *, seconds: float = 120.0) -> str:
        """Start a user's server, and return its path once it answers."""
        path = (
            f"users/{quote(user)}/servers/{quote(name, safe='')}"
            if name
            else (f"users/{quote(user)}/server")
        )
        answer = await self.api("POST", path)
        assert answer.status_code in {201, 202}, answer.text
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            said = (await self.api("GET", f"users/{quote(user)}")).json()
            server = said["servers"].get(name)
            if server and server["ready"]:
                return str(server["url"])
            if answer.status_code == 202 and not server:
                break
            await asyncio.sleep(0.1)
        raise AssertionError(f"{user}'s server {name!r} did not start:\n{self.log()[-3000:]}")

    def account(self, name: str) -> pwd.struct_passwd:
        """Return the system account of a user of this hub, who has had a server."""
        (found,) = (one for one in self.accounts() if f"/{name}-" in one.pw_dir)
        return found

    def server(self, user: str) -> psutil.Process:
        """Return the process of a user's only server."""
        uid = self.account(user).pw_uid
        (found,) = (one for one in self.servers() if one.uids().real == uid)
        return found

    def clear(self) -> None:
        """End everything, and remove what was made."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.stop()
        for _ in range(3):  # what one of them started meanwhile goes with the next round
            found = list(self._of_users())
            for one in found:
                with contextlib.suppress(psutil.Error):
                    one.kill()
            psutil.wait_procs(found, timeout=5)
        for account in self.accounts():
            subprocess.run(["userdel", account.pw_name], check=False, capture_output=True)
            subprocess.run(["groupdel", account.pw_name], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def accounts(self) -> list[pwd.struct_passwd]:
        """Return the system accounts that this hub made."""
        homes = str(self.state / "homes") + "/"
        return [account for account in pwd.getpwall() if account.pw_dir.startswith(homes)]

    def _of_users(self) -> Iterator[psutil.Process]:
        """Yield processes of this hub's accounts, or with a home here where all have one."""
        uids = {account.pw_uid for account in self.accounts()}
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if one.uids().real in uids or (
                    one.uids().real == os.geteuid()
                    and str(self.state) in one.environ().get("HOME", "")
                ):
                    yield one


def _is_part(part: Part, command: list[str]) -> bool:
    words = " ".join(command)
    return {
        "hub": "-m jupyterhub " in words,
        "proxy": "configurable-http-proxy" in words,
        "keeper": "himalia_hub/keep.py" in words,
        "control": "-m himalia_hub.control" in words and "himalia_hub/keep.py" not in words,
    }.get(part, False)


def _said(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return list(process.cmdline())
    return []


def _alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False
