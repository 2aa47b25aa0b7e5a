"""The process: takes over, listens at once, opens its store when that answers, ends in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.routing import Rule
from tornado.web import Application
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from himalia import __version__
from himalia.core.administration import Administration
from himalia.core.errors import HimaliaError, Unavailable
from himalia.core.places import Places
from himalia.core.service import WorkloadService
from himalia.core.team import Person
from himalia.handlers.admin_routes import admin_table
from himalia.handlers.base import Api, document_of
from himalia.handlers.decoding import BODY_LIMIT
from himalia.handlers.openapi import document
from himalia.handlers.routes import table
from himalia.kinds.registry import load_kinds
from himalia_hub.control.handlers import Gate, hub_application, hub_handlers
from himalia_hub.control.health import Live, Metrics, Numbers, Ready
from himalia_hub.control.hub_api import HubApi
from himalia_hub.control.opening import OfVisitors, Opening
from himalia_hub.control.parts import part_handlers
from himalia_hub.control.predecessor import announce_self, take_over
from himalia_hub.control.roll import Rolls
from himalia_hub.control.team import Site, Team
from himalia_hub.control.tokens import Tokens
from himalia_hub.control.works import Works, machine
from himalia_hub.hosts import binds_cookies
from himalia_hub.kubernetes.inner_tls import inner_tls
from himalia_hub.kubernetes.settings import Kubernetes
from himalia_hub.roles import SERVICE
from himalia_hub.settings import Himalia
from himalia_hub.state import State

_PREFIX = f"/services/{SERVICE}/"
_BIND_SECONDS = 10.0
_ANSWER_SECONDS = 5.0
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 3.0
_SLOW_BODY_SECONDS = 60.0
_log = logging.getLogger("himalia.control")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a control is started."""

    config: Path
    is_beside: bool = False
    """Beside the hub's own control, on the same database."""
    port: int | None = None


def main(start: Start) -> None:
    """Serve until SIGTERM or SIGINT.

    :raises HimaliaError: it cannot start; the text says why.
    """
    c = PyFileConfigLoader(str(start.config)).load_config()
    settings = Himalia(config=c)
    state = State.of(settings).prepare()
    # Held until this process ends. In a cluster, several serve beside each other.
    lock = None if start.is_beside or not settings.is_machine else take_over(state)
    asyncio.run(Control(start, c, settings, state).run())
    del lock


class Control:
    """One process of a hub's control."""

    def __init__(self, start: Start, c: Config, settings: Himalia, state: State) -> None:
        self._settings = settings
        self._state = state
        self._start = start
        self._binds_cookies = binds_cookies(c)
        self._template_paths = tuple(c.JupyterHub.get("template_paths", ()))
        self._kubernetes = None if settings.is_machine else Kubernetes(config=c)
        self._tls = inner_tls(self._kubernetes) if self._kubernetes else None
        self._port = self._chosen_port()
        self._prefix = os.environ.get("JUPYTERHUB_SERVICE_PREFIX") or _PREFIX
        api_url = os.environ.get("JUPYTERHUB_API_URL") or "http://127.0.0.1:8081/hub/api"
        # An old process's environment may be of an old hub; the secret on disk is what counts.
        ask_with = self._tls.client() if self._tls else None
        self._hub = HubApi(api_url, state.secret("control-token"), ask_with)
        self._rolls = Rolls(self._hub)
        self._kinds = load_kinds()
        self._works: Works | None = None
        self._team: Team | None = None
        self._answering = 0
        self._tokens = Tokens(
            self._hub,
            team=lambda: self._ready().store.team,
            met=self._meet,
            saw=self._rolls.saw,
        )

    def _ready(self) -> Team:
        if self._team is None:
            raise Unavailable(
                "Himalia starts, or its database does not answer. Try again in a moment."
            )
        return self._team

    async def run(self) -> None:
        """Serve until told to stop."""
        told = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, told.set)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._hub.close)
            listening = await self._bind()
            port = listening.getsockname()[1]
            if not self._start.is_beside and self._kubernetes is None:
                announce_self(self._state, self._url(port))
            stack.push_async_callback(self._close)
            self._serve(stack, listening)
            opening = asyncio.create_task(self._open(port))
            following = asyncio.create_task(self._tokens.listen(self._changed, self._on_server))
            stack.callback(following.cancel)
            stack.callback(opening.cancel)
            where = self._url(port)
            _log.info("control %s listens at %s, process %d", __version__, where, os.getpid())
            await told.wait()
            _log.info("control ends")

    def _chosen_port(self) -> int:
        if self._start.port is not None:
            return self._start.port
        return self._kubernetes.control_port if self._kubernetes else self._state.port("control")

    async def _bind(self) -> socket.socket:
        """Listen, on a machine to itself alone; the control before may still be letting go of the
        port.
        """
        host = "127.0.0.1" if self._kubernetes is None else "0.0.0.0"  # noqa: S104 - in a pod
        end = time.monotonic() + _BIND_SECONDS
        while True:
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                made.bind((host, self._port))
            except OSError as error:
                made.close()
                if time.monotonic() > end:
                    raise Unavailable(
                        f"Control cannot listen on port {self._port}: {error.strerror}. Remove "
                        f"{self._state.folder / 'control-port'} to have another one chosen."
                    ) from error
                await asyncio.sleep(0.1)
            else:
                made.listen(1024)
                made.setblocking(False)
                return made

    def _url(self, port: int) -> str:
        if self._kubernetes is not None:
            return f"{self._kubernetes.control_url.rstrip('/')}{_PREFIX}"
        return f"http://127.0.0.1:{port}{_PREFIX}"

    async def _site(self, port: int) -> Site:
        # The hub's own control is always the same holder: what the one before held is its own.
        if self._kubernetes is None:
            name, folder = self._state.secret("control-name")[:16], "control"
        else:
            # In a cluster it is the one of its pod.
            name, folder = f"{socket.gethostname()}-{port}", "control"
        if self._start.is_beside:
            name, folder = f"{name}-{secrets.token_hex(4)}", f"control-{port}"
        return Site(
            state=self._state,
            url=self._url(port),
            holder=f"control-{name}",
            places=Places(home=self._state.folder / folder),
            works=await self._found(),
            self_test=self._kubernetes.self_test if self._kubernetes else "",
        )

    async def _open(self, port: int) -> None:
        """Open the team as soon as that is possible; requests are told to wait meanwhile."""
        pause = _FIRST_PAUSE
        while True:
            try:
                team = Team(
                    settings=self._settings,
                    site=await self._site(port),
                    kinds=self._kinds,
                    hub=self._hub,
                    rolls=self._rolls,
                )
                await team.open()
            except HimaliaError as error:
                _log.warning("not ready: %s", error.message)
            except Exception:  # noqa: BLE001 - logged, and tried again
                _log.exception("not ready: unexpected trouble")
            else:
                self._team = team
                # What was made until now stays: no collection need look at it again.
                gc.collect()
                gc.freeze()
                _log.info("control is ready")
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _found(self) -> Works:
        """Return where things lie and run (:raises Unavailable: it cannot be reached)."""
        if self._works is None and self._kubernetes is None:
            self._works = await machine(self._settings)
        elif self._works is None and self._kubernetes is not None:
            from himalia_hub.kubernetes.works import kubernetes  # noqa: PLC0415 - an extra

            token = self._state.secret("namespaces-token")
            self._works = await kubernetes(self._kubernetes, token)
        assert self._works is not None
        return self._works

    async def _close(self) -> None:
        if self._team is not None:
            await self._team.close()
        if self._works is not None:
            await self._works.close()

    async def _meet(self, person: Person) -> None:
        """Have somebody known before the next roll call; the hub says more of them then."""
        await self._ready().store.team.people.seen((person,))

    def _changed(self, _name: str) -> None:
        if self._team is not None:
            self._team.roll_call.loop.wake()

    def _on_server(self, said: str) -> None:
        if self._team is not None:
            self._team.session_news.told(said)

    def _serve(self, stack: AsyncExitStack, listening: socket.socket) -> None:
        """Answer requests; undone in the opposite order, answers first."""
        gate, api = self._gate(), self._api()
        handlers = [
            self._page(gate, api),
            *self._health(gate, api),
            *self._parts(),
            *hub_handlers(self._routes(), api, gate, base=self._prefix),
        ]
        if self._prefix != _PREFIX:
            # Sessions and jobs come directly, and know nothing of the hub's base address.
            handlers += hub_handlers(self._routes(), api, gate, base=_PREFIX)
        application = hub_application(
            handlers, api, gate, cookie_secret=self._state.secret("control-cookies")
        )
        server = _server(application)
        server.add_socket(listening)
        servers = [server]
        if self._tls is not None and self._kubernetes is not None:
            # For other parts of the hub; users' pods have no certificates.
            servers.append(_server(application, self._tls.server()))
            servers[-1].listen(self._kubernetes.control_tls_port)
        for one in servers:
            stack.push_async_callback(one.close_all_connections)
        stack.push_async_callback(self._answered, gate)
        for one in servers:
            stack.callback(one.stop)

    def _routes(self) -> tuple[Any, ...]:
        return (*table(self._kinds.values()), *admin_table())

    def _api(self) -> Api:
        def service() -> WorkloadService:
            return self._ready().service

        return Api(
            service=service,
            document=document_of(
                lambda: document(self._kinds.values(), f"{self._prefix}api", admin_table())
            ),
            asking=self._asking,
        )

    def _gate(self) -> Gate:
        def administration() -> Administration:
            return self._ready().administration

        async def home(owner: str) -> Path:
            return await self._ready().home(owner)

        return Gate(tokens=self._tokens, administration=administration, home=home)

    def _page(self, gate: Gate, api: Api) -> Rule:
        async def opened() -> Application:
            # Half of JupyterHub: loaded beside the event loop, and only when an admin comes.
            part = await asyncio.to_thread(import_module, "himalia_hub.control.visits")
            page = part.Page(
                base=self._prefix,
                cookie_secret=self._state.secret("control-cookies"),
                binds_cookies=self._binds_cookies,
                template_paths=self._template_paths,
                tls_files=self._tls.files() if self._tls else {},
            )
            made: Application = part.visits(page, self._hub, api, gate)
            return made

        return Rule(OfVisitors(self._prefix), Opening(opened))

    def _parts(self) -> list[Any]:
        if self._kubernetes is None:
            return []
        return part_handlers(_PREFIX, lambda: self._ready().store.team, self._state)

    def _health(self, gate: Gate, api: Api) -> list[Any]:
        async def store() -> str | None:
            return "is not open" if self._team is None else await self._team.look_at_store()

        async def backend() -> str | None:
            return "is not open" if self._team is None else await self._team.look_at_backend()

        async def text() -> bytes:
            team = self._team
            return await numbers.text(
                team.service if team is not None else None,
                streams=api.streams.count,
                agents=len(team.agents.owners()) if team is not None else 0,
            )

        numbers = Numbers(
            tokens=self._tokens, duties=lambda: self._team.duties.mine if self._team else ()
        )
        gate.answered = numbers.answered
        metrics = {"tokens": self._tokens, "text": text, "who": self._settings.metrics}
        return [
            (f"{self._prefix}health/live", Live),
            (
                f"{self._prefix}health/ready",
                Ready,
                {"checks": {"store": store, "backend": backend}, "needed": {"store"}},
            ),
            (f"{self._prefix}metrics", Metrics, metrics),
        ]

    @contextmanager
    def _asking(self) -> Iterator[None]:
        self._answering += 1
        try:
            yield
        finally:
            self._answering -= 1

    async def _answered(self, gate: Gate) -> None:
        """Wait until those that asked have their answers; those that follow are told to go."""
        end = time.monotonic() + _ANSWER_SECONDS
        for handler in tuple(gate.open):
            handler.on_connection_close()
        while self._answering and time.monotonic() < end:  # noqa: ASYNC110 - a count that many change
            await asyncio.sleep(0.02)


def _server(application: Application, tls: ssl.SSLContext | None = None) -> HTTPServer:
    return HTTPServer(
        application,
        ssl_options=tls,
        max_body_size=4 * BODY_LIMIT,
        body_timeout=_SLOW_BODY_SECONDS,
        idle_connection_timeout=300,
    )
