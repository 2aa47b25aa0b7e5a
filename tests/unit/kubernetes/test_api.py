"""An API server that is slow, busy, broken or forgetful, and what its caller makes of that."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from pathlib import Path

import pytest
from aiohttp import web

from himalia.backends.kubernetes import api as api_module
from himalia.backends.kubernetes.api import Api, Exists, NotThere, Outdated, Refusal
from himalia.backends.kubernetes.watching import Watching
from himalia.core.errors import Unavailable
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.stalls import allowed
from tests.unit.kubernetes.script import (
    PODS,
    Answer,
    Handler,
    asked,
    breaks,
    hangs,
    listed,
    pod,
    refuses,
    says,
    streams,
)

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("trouble", [says(500), says(503), says(429, Retry_After="0"), breaks])
async def test_what_passes_is_tried_again(tmp_path: Path, trouble: Handler) -> None:
    async with asked(tmp_path, trouble, trouble, says(200, body={"ok": 1})) as (api, server):
        assert await api.get(PODS) == {"ok": 1}
        assert len(server.requests) == 3
        assert server.requests[0].headers["Authorization"] == "Bearer the-token"


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        (says(500), "500"),
        (says(429, Retry_After="0"), "429"),
        (breaks, "ServerDisconnected"),
        (hangs, "does not answer in time"),
        (refuses(401, "Unauthorized"), "does not know who asks"),
    ],
)
async def test_what_does_not_pass_is_said_in_bounded_time(
    tmp_path: Path, trouble: Handler, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_module, "_SECONDS", 0.2)
    async with asked(tmp_path, trouble) as (api, _):
        with pytest.raises(Unavailable, match=words):
            await api.create(PODS, {"kind": "Pod"})


async def test_a_server_that_wants_to_be_left_alone_is_left_alone(tmp_path: Path) -> None:
    busy = says(429, Retry_After="1")
    async with asked(tmp_path, busy, busy, says(200, body={"ok": 1})) as (api, server):
        begun = time.monotonic()
        assert await api.get(PODS) == {"ok": 1}
        assert time.monotonic() - begun >= 2
        assert len(server.requests) == 3


async def test_who_would_have_to_wait_too_long_is_told_and_asks_nothing(tmp_path: Path) -> None:
    async with asked(tmp_path, says(429, Retry_After="30")) as (api, server):
        begun = time.monotonic()
        for _ in range(3):
            with pytest.raises(Unavailable, match="just now"):
                await api.get(PODS)
        with pytest.raises(Unavailable, match="busy"):
            await anext(api.watch(PODS, [], "1"))
        assert time.monotonic() - begun < allowed(5, begun)
        assert len(server.requests) == 1
    async with asked(tmp_path, says(503, Retry_After="30")) as (api, server):
        with pytest.raises(Unavailable, match="Service Unavailable"):
            await anext(api.watch(PODS, [], "1"))
        with pytest.raises(Unavailable, match="busy"):
            await api.get(PODS)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refuses(404, "NotFound"), NotThere),
        (refuses(409, "AlreadyExists"), Exists),
        (refuses(409, "Conflict"), Refusal),
        (refuses(410, "Expired"), Outdated),
        (refuses(403, "Forbidden"), Refusal),
        (says(418, body="a teapot"), Refusal),
    ],
)
async def test_a_no_is_a_no_at_once(tmp_path: Path, answer: Handler, kind: type[Exception]) -> None:
    async with asked(tmp_path, answer) as (api, server):
        with pytest.raises(Refusal) as caught:
            await api.create(PODS, {"kind": "Pod"})
        assert type(caught.value) is kind
        assert len(server.requests) == 1


async def test_what_a_lost_answer_had_made_is_found_by_the_next_try(tmp_path: Path) -> None:
    async with asked(tmp_path, breaks, refuses(409, "AlreadyExists")) as (api, _):
        with pytest.raises(Exists):
            await api.create(PODS, {"kind": "Pod"})


@pytest.mark.parametrize(
    "answer", [says(200), refuses(404, "NotFound"), refuses(409, "Conflict", "uid differs")]
)
async def test_who_is_gone_or_another_need_not_be_deleted(tmp_path: Path, answer: Handler) -> None:
    async with asked(tmp_path, answer) as (api, server):
        await api.delete(f"{PODS}/p", grace_seconds=0, uid="u")
        assert server.requests[0].method == "DELETE"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refuses(410, "Expired"), Outdated),
        (streams({"type": "ERROR", "object": {"code": 410, "reason": "Expired"}}), Outdated),
        (streams({"type": "ERROR", "object": {"code": 500}}), Unavailable),
        (refuses(403, "Forbidden"), Refusal),
        (breaks, Unavailable),
    ],
)
async def test_a_watch_says_how_it_ended(
    tmp_path: Path, answer: Handler, kind: type[Exception]
) -> None:
    async with asked(tmp_path, answer) as (api, _):
        with pytest.raises(kind):
            await anext(api.watch(PODS, [], "1"))


async def test_a_watch_that_says_nothing_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_module, "_SILENCE_SECONDS", 0.2)
    first = {"type": "ADDED", "object": pod("p", 2)}

    async def silent(request: web.Request) -> Answer:
        await streams(first)(request)
        return await hangs(request)

    async with asked(tmp_path, silent) as (api, _), aclosing(api.watch(PODS, [], "1")) as events:
        assert await anext(events) == first
        with pytest.raises(Unavailable, match="in time"):
            await anext(events)


async def test_a_watch_goes_on_where_it_was_and_lists_anew_what_is_forgotten(
    tmp_path: Path,
) -> None:
    changed = asyncio.Event()
    script = (
        listed(5, pod("a", 4)),
        streams({"type": "ADDED", "object": pod("b", 7)}),
        streams({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}),
        refuses(410, "Expired"),
        listed(20, pod("b", 7), pod("c", 18)),
        hangs,
    )
    async with asked(tmp_path, *script) as (api, server):
        watching = Watching(api, lambda _: changed.set())
        pods = watching.pods("x")
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(server.requests) < 6:  # noqa: ASYNC110 - the server only counts
                await asyncio.sleep(0.02)
        assert set(pods.there) == {"b", "c"}
        assert set(pods.gone) == {"a"}
        assert changed.is_set()
        versions = [request.query.get("resourceVersion") for request in server.requests]
        assert versions == [None, "5", "7", "9", None, "20"]
        await watching.close()


async def test_without_a_way_to_a_cluster_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("{}")
    with pytest.raises(Unavailable, match="no way to the cluster"):
        await Api.connect(tmp_path / "config")
