"""What a session at a hub tells control of itself: only then is it stopped when nobody needs it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from himalia.core.errors import HimaliaError
from himalia.core.team import ServerState, SessionReport

Send = Callable[[SessionReport], Awaitable[ServerState]]

SELDOM_SECONDS = 300.0
"""Between reports of nothing new; where there are thousands of sessions, each one counts."""


class Reports:
    """Looks often, and reports when kernels or connections changed; of activity alone seldom,
    unless the server is about to be stopped.
    """

    def __init__(
        self,
        look: Callable[[], SessionReport],
        send: Send,
        log: logging.Logger,
        look_seconds: float,
    ) -> None:
        self._look = look
        self._send = send
        self._log = log
        self._look_seconds = look_seconds
        self._told: tuple[SessionReport, datetime, ServerState] | None = None
        self._work: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Report from now on; to be called in the event loop."""
        self._work = asyncio.ensure_future(self._run())

    def end(self) -> None:
        """Report no more."""
        if self._work is not None:
            self._work.cancel()

    async def _run(self) -> None:
        while True:
            report = self._look()
            if self._is_due(report, datetime.now(UTC)):
                try:
                    self._told = (report, datetime.now(UTC), await self._send(report))
                except HimaliaError as error:
                    # Control or the hub is being started again; it knows us from before.
                    self._log.debug("Control did not take the report: %s", error.message)
                    self._told = None
            await asyncio.sleep(self._look_seconds)

    def _is_due(self, report: SessionReport, now: datetime) -> bool:
        if self._told is None:
            return True
        told, at, state = self._told
        if (report.busy_kernels, report.connections) != (told.busy_kernels, told.connections):
            return True
        if (now - at).total_seconds() >= SELDOM_SECONDS:
            return True
        ends_soon = (
            state.stop_at is not None and (state.stop_at - now).total_seconds() < SELDOM_SECONDS
        )
        return ends_soon and report != told


def look(server: Any, connections: int) -> SessionReport:
    """Look at a Jupyter server: kernels that work, who is connected, what happened last.

    JupyterHub is told, too, that a server in use is active.
    """
    kernels = server.kernel_manager
    busy = 0
    for kernel_id in kernels.list_kernel_ids():
        with suppress(KeyError):  # it ended meanwhile
            kernel = kernels.get_kernel(kernel_id)
            busy += getattr(kernel, "execution_state", "") == "busy"
    if busy or connections:
        server.web_app.settings["last_activity_times"]["himalia"] = datetime.now(UTC)
    return SessionReport(
        server_name=os.environ.get("JUPYTERHUB_SERVER_NAME", ""),
        busy_kernels=busy,
        connections=connections,
        last_activity_at=server.web_app.last_activity(),
    )
