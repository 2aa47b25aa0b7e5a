"""Measure every page of administration at its server: ``make bench-admin``.

2,000 people, 100,000 runs and their ledger in one store; each page is asked for over HTTP from
control's handlers, by an admin of everybody and by an admin of one group. The hub has no part in
it: whose request it is was found out before. Other sizes: ``ARGS="--people 200 --runs 10000"``;
another database: ``ARGS="--store postgresql://user@host/name"``, which must be empty.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from estate import fill
from table import Table, clock, median, milliseconds
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from typing_extensions import override

from himalia import __version__
from himalia.core.administration import Admin
from himalia.core.governing import LocalAdministration
from himalia.core.team import By, ServerState
from himalia.handlers.admin_routes import admin_table
from himalia.handlers.base import Api, ApiHandler, addresses, pattern
from himalia.handlers.calls import AdminCall
from himalia.handlers.routes import Route
from himalia.store.database import make_engine, store_url

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.servers.estate import Estate, opened

TRIES = 30
LIMIT_SECONDS = 0.1


class _Handler(ApiHandler):
    """Takes the admin's groups from the query's stead: a header."""

    @override
    def initialize(  # type: ignore[override]
        self, api: Api, routes: Sequence[Route], administration: LocalAdministration
    ) -> None:
        super().initialize(api)
        self.routes = {route.method: route for route in routes}
        self.administration = administration

    @override
    def call(self, route: Route, **asked: Any) -> AdminCall[Any, Any]:
        group = self.request.headers.get("Group")
        admin = Admin(name="admin", groups=frozenset({group}) if group else None)
        return AdminCall(administration=self.administration, admin=admin, **asked)

    async def get(self, **path: str) -> None:
        """Answer."""
        await self.serve(self.routes["GET"], path)


def _pages() -> dict[str, str]:
    since = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0)
    until = since + timedelta(days=31)
    month = f"since={since:%Y-%m-%dT00:00:00Z}&until={until:%Y-%m-%dT00:00:00Z}"
    return {
        "overview": "overview",
        "people": "people?limit=50",
        "people, by last activity": "people?limit=50&sort=-last_seen_at",
        "people, found by name": "people?limit=50&search=user-019",
        "runs": "runs?limit=50",
        "runs, 200 of them": "runs?limit=200",
        "runs that failed": "runs?limit=50&status=failed",
        "runs of a group": "runs?limit=50&group=group-07",
        "runs found by a name": "runs?limit=50&search=user-01999",
        "runs, nothing found": "runs?limit=50&search=nowhere",
        "queue": "runs?limit=50&status=queued&status=waiting&sort=created_at",
        "workloads": "workloads?limit=50",
        "workloads found by name": "workloads?limit=50&search=user-01999",
        "orphans": "orphans",
        "usage of a month, by user": f"usage?by=owner&{month}",
        "usage of a month, by group": f"usage?by=group&{month}",
        "quotas": "quotas",
        "audit": "audit?limit=50",
        "audit, searched": "audit?limit=50&search=user-01999",
    }


async def _timed(address: str, group: str | None) -> float:
    client = AsyncHTTPClient()
    headers = {"Group": group} if group else {}
    taken = []
    for _ in range(TRIES):
        with clock() as seconds:
            await client.fetch(address, headers=headers, request_timeout=120)
            taken.append(seconds())
        if len(taken) > 5 and sum(taken) > 20:
            break
    return median(taken[2:])


async def _first_sums(estate: Estate) -> dict[str, float]:
    """Time sums of a month that nobody has asked for yet; pages that are open share one."""
    now = datetime.now(UTC)
    since = now.replace(day=1, hour=0, minute=0, second=0)
    found = {}
    for by in (By.OWNER, By.GROUP):
        taken = []
        for _ in range(5):
            with clock() as seconds:
                await estate.store.team.usage.totals(None, by, since, now)
                taken.append(seconds())
        found[f"usage of a month, by {by.value}: the first sum"] = median(taken)
    return found


async def _measure(address: str, folder: Path, options: argparse.Namespace) -> bool:
    async with opened(address, folder) as estate:
        engine = make_engine(store_url(address))
        with clock() as seconds:
            await fill(estate.store, engine, options.people, options.runs)
            print(f"\nThe store was filled in {seconds():.0f} s.")
        engine.dispose()
        state = ServerState(why="A browser is connected.")
        people = await estate.store.team.people.present()
        estate.servers.on = {person.owner: (state,) for person in people}
        sums = await _first_sums(estate)
        taken = await _time_pages(estate)
    title = f"Pages with {options.people:,} people and {options.runs:,} runs, median"
    table = Table(title=title, head=("", "admin", "admin of one group"))
    for name, pair in taken.items():
        table.rows.append((name, *map(milliseconds, pair)))
    for name, one in sums.items():
        table.rows.append((name, milliseconds(one), ""))
    table.show()
    slowest = max(*(max(pair) for pair in taken.values()), *sums.values())
    print(
        f"\nThe slowest took {milliseconds(slowest)}; the limit is {milliseconds(LIMIT_SECONDS)}."
    )
    return slowest <= LIMIT_SECONDS


async def _time_pages(estate: Estate) -> dict[str, tuple[float, float]]:
    api = Api(service=lambda: estate.service, document=lambda: b"{}")
    shared = {"api": api, "administration": estate.administration}
    server = HTTPServer(
        Application(
            [
                (f"/{pattern(path)}", _Handler, {**shared, "routes": some})
                for path, some in addresses(admin_table()).items()
            ],
            log_function=lambda _: None,
        )
    )
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    base = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/admin/"
    try:
        return {
            name: (await _timed(f"{base}{path}", None), await _timed(f"{base}{path}", "group-07"))
            for name, path in _pages().items()
        }
    finally:
        server.stop()


def main() -> None:
    """Print the tables; end with 1 where a page is too slow."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=2_000)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--store", default="")
    options = parser.parse_args()
    print("# Measurements of administration\n")
    load = psutil.getloadavg()[0]
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, himalia {__version__}, Python {platform.python_version()}, "
        f"{psutil.cpu_count()} cores, load {load:.1f} at the start."
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        is_fast = asyncio.run(_measure(options.store or str(folder / "store.db"), folder, options))
    raise SystemExit(0 if is_fast else 1)


if __name__ == "__main__":
    main()
