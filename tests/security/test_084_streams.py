"""Those who follow runs are limited in number, kept alive, and let go of when they leave."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, aclosing, suppress

import pytest
import pytest_asyncio
from tornado.httpclient import HTTPRequest
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream
from tornado.simple_httpclient import SimpleAsyncHTTPClient
from tornado.tcpclient import TCPClient

from himalia.core.errors import NotFound, TooMany
from himalia.core.model import RunEvent
from himalia.handlers.base import Api
from himalia.handlers.control import control_application
from himalia.handlers.routes import table
from himalia.handlers.streams import KEEP_ALIVE, Streams, follow
from himalia.kinds.registry import load_kinds
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio

ROUTES = table(load_kinds().values())
PATH = "/himalia/api/runs/run-00000000000000000000000000/events"


class Endless:
    """A service whose only run says one thing and then nothing, for ever."""

    def __init__(self):
        self.runs = self
        self.closed = asyncio.Event()

    async def events(self, *_args, **_options):
        try:
            yield RunEvent(id="1", type="log", log="one\u2028line\n")
            await asyncio.Event().wait()
        finally:
            self.closed.set()


@pytest_asyncio.fixture
async def served(unused_tcp_port):
    """The application of control over TCP, with room for two streams of each owner."""
    service = Endless()
    streams = Streams(limit=2)
    api = Api(service=lambda: service, document=lambda: b"{}", streams=streams)
    application = control_application(
        ROUTES, api, identify=lambda request: request.headers.get("Test-Owner", "ann")
    )
    server = HTTPServer(application)
    server.listen(unused_tcp_port, "127.0.0.1")
    yield service, streams, unused_tcp_port
    server.stop()
    await server.close_all_connections()


async def open_stream(port) -> IOStream:
    """Follow the run, up to its first event."""
    stream = await TCPClient().connect("127.0.0.1", port)
    await stream.write(f"GET {PATH} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    await stream.read_until(b"\n\n")
    return stream


async def test_084_one_owners_streams_are_limited_and_anothers_are_not(served):
    _, streams, port = served
    opened = [await open_stream(port) for _ in range(2)]
    client = SimpleAsyncHTTPClient(force_instance=True)
    request = HTTPRequest(f"http://127.0.0.1:{port}{PATH}", request_timeout=PATIENCE_SECONDS)
    refused = await client.fetch(request, raise_error=False)
    assert refused.code == 429
    assert refused.headers["Retry-After"]
    assert b"too_many" in refused.body
    assert streams.count == 2
    with streams.take("bob"):
        assert streams.count == 3
    for stream in opened:
        stream.close()
    client.close()


async def test_084_who_leaves_makes_room_and_nothing_reads_on(served):
    service, streams, port = served
    stream = await open_stream(port)
    assert streams.count == 1
    stream.close()
    await asyncio.wait_for(service.closed.wait(), PATIENCE_SECONDS)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while streams.count:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def test_084_a_thousand_are_refused_without_being_kept():
    streams = Streams(limit=50)
    with ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(streams.take("ann"))
        for _ in range(1000):
            with pytest.raises(TooMany), streams.take("ann"):
                pass
        assert streams.count == 50
    assert streams.count == 0


async def test_what_says_nothing_is_kept_alive():
    service, gone = Endless(), asyncio.Event()
    async with aclosing(follow(service.events(None, ""), gone, keep_alive=0.01)) as parts:
        first = await anext(parts)
        assert first.startswith(b"id: 1\nevent: log\ndata: {")
        assert first.endswith(b"}\n\n")
        assert await anext(parts) == KEEP_ALIVE
        gone.set()
        with suppress(StopAsyncIteration):
            while await anext(parts) == KEEP_ALIVE:
                pass
    assert service.closed.is_set()


async def test_what_fails_at_the_first_step_is_an_error_and_no_stream():
    async def events():
        raise NotFound("There is no such run.")
        yield

    async with aclosing(follow(events(), asyncio.Event())) as parts:
        with pytest.raises(NotFound):
            await anext(parts)
