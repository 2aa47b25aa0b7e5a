"""Himalia in a Jupyter server: the composition root of the session."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

from jupyter_server.extension.application import ExtensionApp
from traitlets import Bool, Float, Unicode
from typing_extensions import override

from himalia.core.homes import RESCUED, own_gauge
from himalia.core.names import user_name
from himalia.core.places import Places
from himalia.core.service import Caller, WorkloadService
from himalia.core.team import ServerState, SessionReport
from himalia.handlers.base import Api, document_of
from himalia.handlers.openapi import document
from himalia.handlers.routes import table
from himalia.handlers.session import session_handlers
from himalia.homes.start import WHY
from himalia.kinds.registry import load_kinds
from himalia.quiet import silence
from himalia.reports import Reports, look
from himalia.sockets import Guard, guard

CONTROL_URL = "HIMALIA_CONTROL_URL"
TOKEN = "JUPYTERHUB_API_TOKEN"  # noqa: S105 - the variable's name


class HimaliaExtension(ExtensionApp):
    """Serves Himalia's REST interface; the work is done by the user's control."""

    name = "himalia"
    extension_url = "/lab"
    load_other_extensions = True

    _guard: Guard | None = None
    _reports: Reports | None = None

    home = Unicode(
        "",
        help="""Folder of Himalia's state. By default HIMALIA_HOME, or `himalia` in Jupyter's data
        folder. Sessions with the same folder share one control.""",
    ).tag(config=True)

    report_seconds = Float(
        30.0,
        help="""At a hub: how often the server looks whether there is something to tell control:
        kernels that work, connections, activity.""",
    ).tag(config=True)

    announcements = Bool(
        False,
        help="""At a hub: whether JupyterLab asks each user if they want news from the internet, and
        tells them of its new releases. A hub's users cannot update it, so by default it does not;
        `c.Spawner.args.append("--HimaliaExtension.announcements=True")` turns it on again.""",
    ).tag(config=True)

    @cached_property
    def service(self) -> WorkloadService:
        """The hub's control, or the user's own, found or started at the first request."""
        # Deferred, so that a server whose user runs no jobs spends nothing on an HTTP client.
        from himalia.remote import RemoteService  # noqa: PLC0415

        if url := os.environ.get(CONTROL_URL):
            return RemoteService.at_hub(url, os.environ.get(TOKEN))
        return RemoteService.of_user(self._places())

    def _places(self) -> Places:
        return (
            Places(home=Path(self.home).expanduser().resolve()) if self.home else Places.of_user()
        )

    @override
    def initialize_handlers(self) -> None:
        kinds = load_kinds()
        assert self.serverapp is not None, "Jupyter links the server before it asks for handlers"
        base_url = self.serverapp.base_url
        api = Api(
            service=lambda: self.service,
            document=document_of(lambda: document(kinds.values(), f"{base_url}himalia/api")),
        )
        root = Path(self.serverapp.root_dir).resolve()
        handlers = session_handlers(table(kinds.values()), api, root=root)
        self.handlers.extend(handlers)
        self._guard = guard(self.serverapp)
        if not os.environ.get(CONTROL_URL):
            return
        self._clean()
        if not self.announcements:
            # When all is set up: JupyterHub's own extension sets its hook, whatever was there.
            self.serverapp.io_loop.add_callback(silence, self.serverapp.web_app.settings)
        if self._guard is not None:
            self._report(root, self._guard)

    def _clean(self) -> None:
        """Serve the page that tells what fills the home."""
        # Deferred: on a machine of one's own nobody needs it.
        from himalia.homes.page import Cleaning, home_handlers  # noqa: PLC0415

        rescued = os.environ.get(RESCUED, "")
        cleaning = Cleaning(
            home=Path(rescued) if rescued else Path.home(),
            gauge=own_gauge(),
            why=os.environ.get(WHY, ""),
            hub=f"{os.environ.get('JUPYTERHUB_BASE_URL', '/')}hub/home",
        )
        self.handlers.extend(home_handlers(cleaning))

    def _report(self, root: Path, guarded: Guard) -> None:
        """Tell the hub's control how this server is doing, from the moment it listens."""
        server = self.serverapp
        assert server is not None, "it was asked for handlers"
        caller = Caller(owner=user_name(), root=root)

        async def send(report: SessionReport) -> ServerState:
            return await self.service.hub.report(caller, report)

        self._reports = Reports(
            lambda: look(server, guarded.connections), send, server.log, self.report_seconds
        )
        server.io_loop.add_callback(self._reports.begin)

    @override
    async def stop_extension(self) -> None:
        if self._guard is not None:
            self._guard.end()
        if self._reports is not None:
            self._reports.end()
        if "service" in self.__dict__:
            await self.service.close()
