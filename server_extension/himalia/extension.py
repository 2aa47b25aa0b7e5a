"""Himalia in a Jupyter server: the composition root of the session."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from jupyter_server.extension.application import ExtensionApp
from traitlets import Unicode
from typing_extensions import override

from himalia.core.places import Places
from himalia.core.service import WorkloadService
from himalia.handlers.base import Api, document_of
from himalia.handlers.openapi import document
from himalia.handlers.routes import table
from himalia.handlers.session import session_handlers
from himalia.kinds.registry import load_kinds
from himalia.sockets import Guard, guard


class HimaliaExtension(ExtensionApp):
    """Serves Himalia's REST interface; the work is done by the user's control."""

    name = "himalia"
    extension_url = "/lab"
    load_other_extensions = True

    _guard: Guard | None = None

    home = Unicode(
        "",
        help="""Folder of Himalia's state. By default HIMALIA_HOME, or `himalia` in Jupyter's data
        folder. Sessions with the same folder share one control.""",
    ).tag(config=True)

    @cached_property
    def service(self) -> WorkloadService:
        """The user's control, found or started at the first request."""
        # Deferred, so that a server whose user runs no jobs spends nothing on an HTTP client.
        from himalia.remote import RemoteService  # noqa: PLC0415

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

    @override
    async def stop_extension(self) -> None:
        if self._guard is not None:
            self._guard.end()
        if "service" in self.__dict__:
            await self.service.close()
