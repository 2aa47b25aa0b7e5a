"""The service over HTTP, where what answers is not what was hoped for."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from tornado import web
from tornado.httpserver import HTTPServer

from himalia.control.launcher import ensure_control
from himalia.core.errors import (
    Conflict,
    Forbidden,
    HimaliaError,
    InvalidInput,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from himalia.core.model import RunDraft
from himalia.core.places import Places
from himalia.core.service import Caller, RunQuery
from himalia.handlers.decoding import ROOT_HEADER
from himalia.remote import RemoteService
from himalia.remote.decoding import read_events

ME = Caller(owner="me", root=Path("/home/mé b"))
RUN = "run-00000000000000000000000000"


@pytest.fixture
def jupyter(jp_serverapp, jp_base_url, jp_http_port):
    """The service through a Jupyter server, with this token."""

    def at(token):
        return RemoteService.at(f"http://127.0.0.1:{jp_http_port}{jp_base_url}", token)

    return at


async def test_a_jupyter_server_is_a_service(jupyter, jp_serverapp, jp_web_app, http_server):
    service = jupyter(jp_serverapp.identity_provider.token)
    assert (await service.status(ME)).backend == "local"
    assert (await service.runs.list(ME, RunQuery(tag="none"))).items == ()
    with pytest.raises(NotFound):
        await service.runs.get(ME, RUN)
    with pytest.raises(NotFound):
        await anext(service.runs.events(ME, RUN))
    with pytest.raises(NotFound):
        await service.runs.open_output(ME, RUN, "a.txt")
    await service.close()


@pytest.mark.parametrize("token", ["wrong", None])
async def test_a_wrong_token_is_told(jupyter, http_server, token):
    service = jupyter(token)
    with pytest.raises((Unauthenticated, Forbidden)):
        await service.status(ME)
    with pytest.raises((Unauthenticated, Forbidden)):
        await service.runs.start(ME, "job", "job-00000000000000000000000000", RunDraft())
    await service.close()


class Odd(web.RequestHandler):
    """Answers as it is told, and notes what it was asked."""

    def initialize(self, answers, asked):
        self.answers, self.asked = answers, asked

    def prepare(self):
        self.asked.append(self.request)

    def get(self):
        status, content = self.answers.pop(0)
        if status is None:
            self.request.connection.stream.close()
            raise web.Finish
        self.set_status(status)
        self.finish(content)

    post = delete = get


@pytest.fixture
def odd(unused_tcp_port):
    """Ask something that gives these answers, one after the other; give also what was asked."""

    async def ask(answers, action):
        asked = []
        application = web.Application([(".*", Odd, {"answers": answers, "asked": asked})])
        server = HTTPServer(application)
        server.listen(unused_tcp_port, "127.0.0.1")
        service = RemoteService.at(f"http://127.0.0.1:{unused_tcp_port}/base/", "secret-token")
        try:
            return await action(service), asked
        finally:
            await service.close()
            server.stop()
            await server.close_all_connections()

    return ask


def error(code):
    return json.dumps({"error": {"code": code, "message": "said", "details": []}})


@pytest.mark.parametrize(
    ("status", "content", "expected"),
    [
        (409, error("conflict"), Conflict),
        (500, error("internal"), HimaliaError),
        (418, error("of_a_later_release"), HimaliaError),
        (403, "<html>Forbidden</html>", Forbidden),
        (502, "<html>Bad gateway</html>", Unavailable),
        (302, "", Unauthenticated),
        (200, "<html>Hello</html>", Unavailable),
        (200, '{"version": 1}', Unavailable),
    ],
)
async def test_whatever_answers_it_is_one_of_our_errors(odd, status, content, expected):
    with pytest.raises(HimaliaError) as told:
        await odd([(status, content)], lambda service: service.status(ME))
    assert type(told.value) is expected
    assert "secret-token" not in told.value.message


async def test_what_a_field_was_called_arrives(odd):
    details = [{"field": "spec.notebook", "message": "missing"}]
    said = {"error": {"code": "invalid_input", "message": "m", "details": details}}
    with pytest.raises(InvalidInput) as told:
        await odd([(400, json.dumps(said))], lambda service: service.status(ME))
    assert [problem.field for problem in told.value.problems] == ["spec.notebook"]


async def test_a_request_that_broke_is_repeated_once_under_the_same_key(odd):
    broken = [(None, ""), (404, error("not_found"))]

    async def start(service):
        with pytest.raises(NotFound):
            await service.runs.start(ME, "job", "job-00000000000000000000000000", RunDraft())

    _, asked = await odd(broken, start)
    keys = [request.headers["Idempotency-Key"] for request in asked]
    assert len(keys) == 2
    assert keys[0] == keys[1] != ""


async def test_a_deletion_whose_answer_was_lost_is_done(odd):
    broken = [(None, ""), (404, error("not_found"))]
    _, asked = await odd(broken, lambda service: service.runs.delete(ME, RUN))
    assert [request.method for request in asked] == ["DELETE", "DELETE"]


async def test_what_never_answers_is_unavailable(unused_tcp_port):
    service = RemoteService.at(f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(Unavailable):
        await service.status(ME)
    await service.close()


async def test_022_a_token_is_sent_to_no_other_address(odd):
    with pytest.raises(Unauthenticated):
        await odd([(302, "")], lambda service: service.status(ME))


async def test_an_event_is_read_whole_however_it_arrives():
    event = 'id: 1\nevent: log\ndata: {"id":"1","type":"log","log":"a\u2028b\\n"}\n\n'.encode()
    text = b": still here\n\n" + event + b": still here\n\n" + event
    for size in (1, 7, len(text)):

        async def chunks(size=size):
            for start in range(0, len(text), size):
                yield text[start : start + size]

        found = [item async for item in read_events(chunks())]
        assert [item.log for item in found] == ["a\u2028b\n"] * 2


@pytest.mark.parametrize("root", ["relative", "%ff", "/a/%00", "/a/../b", ""])
async def test_a_root_that_is_none_is_refused(control_home, root):
    socket = await ensure_control(Places(home=control_home))
    transport = httpx.AsyncHTTPTransport(uds=str(socket))
    async with httpx.AsyncClient(transport=transport, base_url="http://himalia") as client:
        answer = await client.get("/himalia/api/status", headers={ROOT_HEADER: root})
    assert answer.status_code == 400
    assert answer.json()["error"]["details"][0]["field"] == ROOT_HEADER
