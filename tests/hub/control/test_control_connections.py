"""The connections over which control asks the hub: kept, mended, and never waited for too long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from himalia_hub.control import connections
from himalia_hub.control.connections import Connections

pytestmark = pytest.mark.asyncio

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Scripted:
    """A server that answers as it was told, and counts who connects."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        """In this order; the last one again and again. Nothing: no answer at all."""
        self.heads: list[bytes] = []
        self.connections = 0
        self.closes_after = False
        self.open: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        try:
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if not answer:
                    await asyncio.Event().wait()
                writer.write(answer)
                await writer.drain()
                if self.closes_after:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    def hang_up(self) -> None:
        """Close what is open, as a hub that is started again."""
        for writer in tuple(self.open):
            writer.close()


@pytest_asyncio.fixture
async def asked() -> AsyncIterator[tuple[Scripted, Connections]]:
    scripted = Scripted()
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    made = Connections(f"http://127.0.0.1:{port}/hub/api/")
    yield scripted, made
    made.close()
    scripted.hang_up()
    server.close()


async def test_one_connection_serves_one_question_after_the_other(asked) -> None:
    scripted, made = asked
    scripted.answers = [OK, b"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx", OK]
    statuses = [(await made.ask("GET", f"user?{n}", {"X-Word": "a"})).status for n in range(3)]
    assert statuses == [200, 404, 200]
    assert scripted.connections == 1
    assert scripted.heads[1].startswith(b"GET /hub/api/user?1 HTTP/1.1\r\n")
    assert b"X-Word: a\r\n" in scripted.heads[0]


async def test_many_at_once_have_a_connection_each_and_some_are_kept(asked) -> None:
    scripted, made = asked
    scripted.answers = [OK]
    found = await asyncio.gather(*(made.ask("GET", "user", {}) for _ in range(40)))
    assert {answer.status for answer in found} == {200}
    assert scripted.connections <= 40
    before = scripted.connections
    await made.ask("GET", "user", {})
    assert scripted.connections == before


async def test_a_connection_that_the_server_closed_is_made_anew(asked) -> None:
    scripted, made = asked
    scripted.answers = [OK]
    await made.ask("GET", "user", {})
    scripted.hang_up()
    # Noticed, or not noticed yet: the next question is answered all the same.
    assert (await made.ask("GET", "user", {})).body == b"{}"
    assert scripted.connections == 2


async def test_a_connection_is_not_kept_where_the_server_says_so(asked) -> None:
    scripted, made = asked
    scripted.answers = [OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")]
    for _ in range(2):
        await made.ask("GET", "user", {})
    assert scripted.connections == 2


async def test_parts_of_unknown_length_make_one_answer(asked) -> None:
    scripted, made = asked
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    scripted.answers = [head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", OK]
    assert (await made.ask("GET", "user", {})).body == b"abcde"
    assert (await made.ask("GET", "user", {})).body == b"{}"
    assert scripted.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"",
    ],
    ids=["cut short", "of two lengths", "another protocol", "none"],
)
async def test_an_answer_that_is_none_is_an_error_in_time(asked, monkeypatch, answer) -> None:
    scripted, made = asked
    monkeypatch.setattr(connections, "_ANSWER_SECONDS", 0.5)
    scripted.answers, scripted.closes_after = [answer], True
    with pytest.raises(OSError):
        await made.ask("GET", "user", {})
    # What was half read is not used again.
    scripted.answers = [OK]
    assert (await made.ask("GET", "user", {})).body == b"{}"


async def test_nobody_there_is_an_error() -> None:
    nobody = Connections("http://127.0.0.1:1/hub/api")
    with pytest.raises(OSError, match="refused"):
        await nobody.ask("GET", "user", {})


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nb"])
async def test_a_token_cannot_bring_headers_of_its_own(asked, value) -> None:
    scripted, made = asked
    scripted.answers = [OK]
    with pytest.raises(ValueError, match="header"):
        await made.ask("GET", "user", {"Authorization": f"token {value}"})
    assert scripted.heads == []
