"""``himalia-hub``: run a hub and its proxy, and start either again when it ends.

Users' servers and jobs are nobody's children here: they go on while the hub or the proxy is
started again, and when all of this is stopped (unless told otherwise).
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from himalia.control.lock import FileLock
from himalia.core.errors import HimaliaError
from himalia_hub.kept import Kept
from himalia_hub.loopback import PASSWORD_VARIABLE, REFUSAL, is_free, is_loopback, welcome
from himalia_hub.written import Plan, Wish, proxy_arguments, write

_log = logging.getLogger("himalia.start")
_LOOK_SECONDS = 0.1
_START_SECONDS = 120.0
_STOP_SECONDS = 90.0
"""For a hub that stops its users' servers first."""
_FREE_SECONDS = 5.0
_PATH = "/usr/local/bin:/usr/bin:/bin"


class Supervisor:
    """A hub and its proxy."""

    def __init__(self, plan: Plan, proxy: str, arguments: Sequence[str] = ()) -> None:
        self._plan = plan
        self._token = plan.state.secret("start-token")
        proxy_token = plan.state.secret("proxy-token")
        self._head = {"Authorization": f"token {proxy_token}"}
        self._password = secrets.token_urlsafe(9) if plan.is_demo else ""
        path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', _PATH)}"
        given = {**os.environ, "PATH": path}
        if plan.is_demo:
            given[PASSWORD_VARIABLE] = self._password
        self._hub = Kept(
            "The hub",
            [sys.executable, "-m", "jupyterhub", "-f", str(plan.config), *arguments],
            env=given,
            end_seconds=_STOP_SECONDS,
        )
        self._proxy = Kept(
            "The proxy",
            [proxy, *proxy_arguments(plan)],
            env={"PATH": path, "CONFIGPROXY_AUTH_TOKEN": proxy_token},
        )

    async def run(self, told: asyncio.Event) -> int:
        """Run both until told to stop; return an exit status."""
        proxy = asyncio.create_task(self._proxy.run())
        hub: asyncio.Task[None] | None = None
        try:
            async with httpx.AsyncClient(timeout=5.0) as client:
                if not await self._up(client, self._proxy, told):
                    return int(not told.is_set())
                hub = asyncio.create_task(self._hub.run())
                # The last thing that a hub does at its start is to have itself routed to.
                if not await self._up(client, self._hub, told, target=self._plan.hub_url):
                    return int(not told.is_set())
                self._say_where()
                await self._mend(client, told)
        finally:
            await self._hub.stop()
            await self._proxy.stop()
            await asyncio.gather(proxy, *([hub] if hub else []))
        return 0

    async def _up(
        self, client: httpx.AsyncClient, process: Kept, told: asyncio.Event, *, target: str = ""
    ) -> bool:
        """Wait until the proxy has a route to `target`; False if a process ended before, or we are
        told to.
        """
        end = asyncio.get_running_loop().time() + _START_SECONDS
        while not told.is_set() and process.endings == 0:
            with suppress(httpx.HTTPError):
                routes = await client.get(f"{self._plan.api_url}/api/routes", headers=self._head)
                known = "".join(str(route.get("target")) for route in routes.json().values())
                if target in known and process.pid is not None:
                    return True
            if asyncio.get_running_loop().time() > end:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        if not told.is_set():
            _log.error("%s did not start; what it says is above.", process.name)
        return False

    async def _mend(self, client: httpx.AsyncClient, told: asyncio.Event) -> None:
        """Have the hub give a proxy that was started again its routes, until told to stop."""
        mended = self._proxy.starts
        address = f"{self._plan.hub_url}{self._plan.base_url}hub/api/proxy"
        while not told.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), _LOOK_SECONDS)
            now = self._proxy.starts
            if now == mended or self._proxy.pid is None:
                continue
            with suppress(httpx.HTTPError):
                head = {"Authorization": f"token {self._token}"}
                answer = await client.post(address, headers=head, timeout=30.0)
                if answer.is_success:
                    mended = now

    def _say_where(self) -> None:
        sys.stderr.write(f"\n  Himalia's hub is at {self._plan.public_url}\n")
        if self._plan.is_demo:
            sys.stderr.write(welcome(self._password))
        sys.stderr.flush()


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="himalia-hub", description=__doc__)
    add: Any = parser.add_argument
    add("--config", type=Path, help="jupyterhub_config.py; by default a plain hub with Himalia")
    add("--state", help="folder of all that is kept, instead of c.Himalia.state")
    add("--bind-url", help="where to listen; by default http://127.0.0.1:8000, or as the file says")
    add("--python", help="Python that servers and jobs run with, instead of c.Himalia.python")
    add("--proxy", default="configurable-http-proxy", help="the proxy's program")
    add("--demo", action="store_true", help="let anybody in who knows the password it prints")
    add("--stop-sessions", action="store_true", help="stop users' servers when this is stopped")
    add("jupyterhub", nargs="*", help="arguments for JupyterHub, after --")
    return parser.parse_args(given)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run until SIGTERM or SIGINT; exit with a status."""
    given = _arguments(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    wish = Wish(
        config=given.config,
        state=given.state,
        bind_url=given.bind_url,
        python=given.python,
        # Never on the command line, which everybody on the machine can read.
        store_url=os.environ.pop("STORE_URL", None),
        is_demo=given.demo,
        stops_sessions=given.stop_sessions,
    )
    try:
        plan = write(wish)
        if plan.is_demo and not is_loopback(plan.bind_url):
            sys.exit(REFUSAL.format(address=plan.bind_url))
        # Let go of by the system when this process ends, however it ends.
        if not FileLock(plan.state.data / "hub.lock").take():
            sys.exit(f"A hub with the state folder {plan.state.folder} runs already.")
    except HimaliaError as error:
        sys.exit(error.message)
    if plan.problem is not None:
        sys.exit(plan.problem)
    if (taken := asyncio.run(_taken(plan))) is not None:
        sys.exit(f"Another program listens on {taken}. End it, or choose another --bind-url.")
    if (proxy := shutil.which(given.proxy)) is None:
        sys.exit(
            f"The proxy {given.proxy} is not there. Install it with "
            "`npm install -g configurable-http-proxy`, or name it with --proxy."
        )
    sys.exit(asyncio.run(_supervise(Supervisor(plan, proxy, given.jupyterhub))))


async def _taken(plan: Plan) -> str | None:
    """Return an address that is somebody else's, if there is one.

    Parts of a supervisor that was killed may take a moment to end.
    """
    taken: str | None = None
    for _ in range(int(_FREE_SECONDS / _LOOK_SECONDS)):
        urls = (plan.bind_url, plan.hub_url, plan.api_url)
        taken = next((url for url in urls if not is_free(url)), None)
        if taken is None:
            break
        await asyncio.sleep(_LOOK_SECONDS)
    return taken


async def _supervise(supervisor: Supervisor) -> int:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    return await supervisor.run(told)


if __name__ == "__main__":
    main()
