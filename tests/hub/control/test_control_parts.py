"""What other parts of a hub in a cluster ask of control, with the secrets that they share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from traitlets.config import Config

from himalia.core.administration import AuditQuery
from himalia.core.team import IsolationFinding, Notice
from himalia.kinds.registry import load_kinds
from himalia.store.sql import SqlStore
from himalia_hub.banner import Banner
from himalia_hub.control.parts import part_handlers
from himalia_hub.isolation.check import Verdict
from himalia_hub.isolation.telling import report_of, tell
from himalia_hub.kubernetes.herald import follow
from himalia_hub.kubernetes.settings import Kubernetes
from himalia_hub.state import State
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio
_PREFIX = "/services/himalia/"


class Served:
    """A control's addresses for other parts, over a store of its own."""

    def __init__(self, store: SqlStore, state: State, port: int) -> None:
        self.store = store
        self.state = state
        self.url = f"http://127.0.0.1:{port}"
        self.settings = Kubernetes(control_url=self.url)


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    store = SqlStore(tmp_path / "store.db", load_kinds().decode_spec)
    await store.open()
    state = State(tmp_path / "state").prepare()
    server = HTTPServer(Application(part_handlers(_PREFIX, lambda: store.team, state)))
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    try:
        yield Served(store, state, sockets[0].getsockname()[1])
    finally:
        server.stop()
        await server.close_all_connections()
        await store.close()


async def test_076_what_the_self_test_found_is_kept_with_a_line_in_the_audit_log(
    served: Served,
) -> None:
    verdicts = [Verdict(name="hub", is_open=True), Verdict(name="database", is_open=True)]
    await tell(served.settings, served.state.secret("namespaces-token"), report_of(verdicts))
    checked = await served.store.team.checks.last()
    assert checked is not None
    assert checked.report.findings[1] == IsolationFinding(
        name="database", title="the database", is_open=True, is_right=False
    )
    (entry,) = (await served.store.team.notices.audit(AuditQuery(), None)).items
    assert (entry.actor, entry.action) == ("helm test", "isolation.test")
    assert entry.details == {"tried": 2, "wrong": ["database"]}


@pytest.mark.parametrize(
    ("method", "path", "other"),
    [("PUT", "isolation", "control-token"), ("GET", "notice", "namespaces-token")],
)
async def test_025_who_does_not_know_the_secret_of_an_address_is_refused(
    served: Served, method: str, path: str, other: str
) -> None:
    url = f"{served.url}{_PREFIX}parts/{path}"
    async with httpx.AsyncClient(trust_env=False) as client:
        for head in (
            {},
            {"Authorization": ""},
            {"Authorization": "Bearer x"},
            {"Authorization": f"Bearer {served.state.secret(other)}"},
        ):
            answer = await client.request(method, url, headers=head, content="{}")
            assert answer.status_code == 401
    assert await served.store.team.checks.last() is None


@pytest.mark.parametrize("said", ["", "[]", '{"findings": [{"name": "hub"}]}', '{"other": 1}'])
async def test_what_is_no_report_is_not_kept(served: Served, said: str) -> None:
    head = {"Authorization": f"Bearer {served.state.secret('namespaces-token')}"}
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.put(
            f"{served.url}{_PREFIX}parts/isolation", headers=head, content=said
        )
    assert answer.status_code == 400
    assert await served.store.team.checks.last() is None


async def test_a_hub_in_another_pod_shows_what_an_admin_told_and_takes_back(
    served: Served, tmp_path: Path
) -> None:
    hub = State(tmp_path / "hub").prepare()
    # Both have the same secret, as two pods have it mounted.
    (hub.secrets / "control-token").write_text(served.state.secret("control-token"))
    (hub.secrets / "control-token").chmod(0o600)
    banner = Banner(Config(Himalia={"state": str(tmp_path / "hub")}))
    following = asyncio.create_task(follow(served.settings, hub))
    try:
        for notice, shown in (
            (Notice(banner="Down <at> noon"), "Down &lt;at&gt; noon"),
            (Notice(is_draining=True), "Nothing new starts for the moment; what runs goes on."),
            (Notice(), ""),
        ):
            await served.store.team.notices.put(notice)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while banner(None) != shown:  # noqa: ASYNC110 - a file that another task writes
                    await asyncio.sleep(0.05)
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
