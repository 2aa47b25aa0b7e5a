"""Himalia from Python: the same operations awaited (`AsyncClient`) and blocking (`Client`).

::

    client = himalia.Client()
    run = client.run("report.ipynb", parameters={"year": 2024}, wait=True)
    client.runs.download(run.id, "results")

Without an address the client finds, or starts, the control of the user on this machine; with
``url`` and ``token`` (or HIMALIA_URL and HIMALIA_TOKEN) it talks to a Jupyter server. Where
HIMALIA_CONTROL_URL is set, as in sessions and jobs of a hub, it talks to the hub's control.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self, Unpack, cast

from himalia.client.blocking import Blocking, Portal, blocking, blocking_iterator
from himalia.client.connection import Connection
from himalia.client.jobs import AsyncJobs, AsyncSchedules
from himalia.client.options import JobOptions
from himalia.client.runs import AsyncRuns, OnEvent
from himalia.client.usage import AsyncUsage
from himalia.core.model import Environment, Run, ServiceStatus
from himalia.core.places import Places
from himalia.core.profiles import Profile

__all__ = ["AsyncClient", "Client"]


class AsyncClient:
    """Himalia, awaited."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        root: Path | None = None,
        places: Places | None = None,
    ) -> None:
        """Paths are absolute or relative to the process's folder; with `root`, relative to it
        and confined in it. `places` are another state folder than the user's usual one.
        """
        self.connection = Connection(url=url, token=token, root=root, places=places)
        self.jobs = AsyncJobs(self.connection)
        self.runs = AsyncRuns(self.connection)
        self.schedules = AsyncSchedules(self.connection)
        self.usage = AsyncUsage(self.connection)

    async def run(
        self,
        notebook: str,
        *,
        wait: bool = False,
        on_event: OnEvent | None = None,
        name: str | None = None,
        **options: Unpack[JobOptions],
    ) -> Run:
        """Run a notebook as a job and return the run, ended if `wait`."""
        made = await self.jobs.create(notebook, name=name, **options)
        assert made.last_run is not None, "a job that was asked to run has a run"
        if wait:
            return await self.runs.wait(made.last_run.id, on_event=on_event)
        return made.last_run

    async def status(self) -> ServiceStatus:
        """Return how the service is doing."""
        service = await self.connection.service()
        return await service.status(self.connection.caller)

    async def environments(self) -> tuple[Environment, ...]:
        """Return where notebooks can run, the default first."""
        service = await self.connection.service()
        return await service.environments(self.connection.caller)

    async def profiles(self) -> tuple[Profile, ...]:
        """Return what a run may be given; nothing where there is no choice."""
        service = await self.connection.service()
        return await service.profiles(self.connection.caller)

    async def close(self) -> None:
        """Let go of the connection; runs go on."""
        await self.connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class Jobs(Blocking):
    """Notebooks defined as jobs."""

    create = blocking(AsyncJobs.create)
    get = blocking(AsyncJobs.get)
    list = blocking(AsyncJobs.list)
    update = blocking(AsyncJobs.update)
    delete = blocking(AsyncJobs.delete)
    graph = blocking(AsyncJobs.graph)


class Runs(Blocking):
    """Executions of jobs."""

    start = blocking(AsyncRuns.start)
    get = blocking(AsyncRuns.get)
    list = blocking(AsyncRuns.list)
    stop = blocking(AsyncRuns.stop)
    rerun = blocking(AsyncRuns.rerun)
    delete = blocking(AsyncRuns.delete)
    log = blocking(AsyncRuns.log)
    events = blocking_iterator(AsyncRuns.events)
    wait = blocking(AsyncRuns.wait)
    outputs = blocking(AsyncRuns.outputs)
    read = blocking(AsyncRuns.read)
    download = blocking(AsyncRuns.download)


class Schedules(Blocking):
    """Times at which jobs run."""

    create = blocking(AsyncSchedules.create)
    get = blocking(AsyncSchedules.get)
    list = blocking(AsyncSchedules.list)
    update = blocking(AsyncSchedules.update)
    delete = blocking(AsyncSchedules.delete)
    preview = blocking(AsyncSchedules.preview)


class Usage(Blocking):
    """What the user has used, and may use."""

    totals = blocking(AsyncUsage.totals)
    entries = blocking_iterator(AsyncUsage.entries)
    quotas = blocking(AsyncUsage.quotas)
    notice = blocking(AsyncUsage.notice)


class Client(Blocking):
    """Himalia, blocking; works in notebooks too, and from several threads."""

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        client = AsyncClient(url, token)
        portal = Portal()
        super().__init__(client, portal)
        self.jobs = Jobs(client.jobs, portal)
        self.runs = Runs(client.runs, portal)
        self.schedules = Schedules(client.schedules, portal)
        self.usage = Usage(client.usage, portal)

    run = blocking(AsyncClient.run)
    status = blocking(AsyncClient.status)
    environments = blocking(AsyncClient.environments)
    profiles = blocking(AsyncClient.profiles)

    def close(self) -> None:
        """Let go of the connection and end the client's thread; runs go on."""
        if not self._portal.is_closed:
            self._portal.call(cast("AsyncClient", self._target).close())
            self._portal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
