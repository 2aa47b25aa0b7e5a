"""The messenger: signed webhooks and plain e-mails, tried again but not for ever."""

from __future__ import annotations

import asyncio
import email
import email.header
import hashlib
import hmac
import ipaddress
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from email.message import Message as Mail
from typing import Any

import pytest
import pytest_asyncio

from himalia.core.errors import InvalidInput
from himalia.core.mail import MailServer, compose
from himalia.core.messenger import Messenger, MessengerSettings
from himalia.core.model import Status
from himalia.core.spec import Condition, Notification
from himalia.core.webhook import is_allowed
from himalia.store.base import Change, Message

pytestmark = pytest.mark.asyncio

SECRET = "a-secret-of-the-user"


@dataclass
class Receiver:
    """An HTTP server that answers with the statuses it was told, and keeps what it got."""

    port: int = 0
    answers: list[str] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.split("\r\n")[1:-2]
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.got.append((headers, body))
        answer = self.answers.pop(0) if self.answers else "200 OK"
        writer.write(
            f"HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        await writer.drain()
        writer.close()


@dataclass
class MailDrop:
    """An SMTP server that takes everything, or refuses with the code it was told."""

    port: int = 0
    refusals: list[str] = field(default_factory=list)
    mails: list[tuple[list[str], Mail]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to: list[str] = []
        writer.write(b"220 here\r\n")
        while line := (await reader.readline()).decode().strip():
            verb, answer = line[:4].upper(), "250 OK"
            if verb == "RCPT":
                if self.refusals:
                    answer = self.refusals.pop(0)
                else:
                    to.append(line.split(":", 1)[1].strip("<> "))
            elif verb == "DATA":
                writer.write(b"354 go on\r\n")
                data = await reader.readuntil(b"\r\n.\r\n")
                self.mails.append((to, email.message_from_bytes(data[:-5])))
            elif verb == "QUIT":
                answer = "221 bye"
            writer.write(answer.encode() + b"\r\n")
            await writer.drain()
            if verb == "QUIT":
                break
        writer.close()


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    async with server:
        yield receiver


@pytest_asyncio.fixture
async def mail_drop() -> AsyncIterator[MailDrop]:
    drop = MailDrop()
    server = await asyncio.start_server(drop.serve, "127.0.0.1", 0)
    drop.port = server.sockets[0].getsockname()[1]
    async with server:
        yield drop


def messenger(world: Any, **settings: Any) -> Messenger:
    return Messenger(
        store=world.store,
        settings=MessengerSettings(
            **{"first_delay_seconds": 0.0, "clock": world.clock, **settings}
        ),
    )


async def ended_run(world: Any, notification: Notification, **changes: Any) -> Any:
    workload = await world.workload(world.spec(notify=(notification,)), **changes)
    run = await world.submit(workload)
    now = world.clock()
    (held,) = await world.store.holds.claim("t", now=now, lease_until=now, limit=1)
    change = Change(status=Status.FAILED, ended_at=now)
    return await world.store.holds.change(run.id, held.token, change)


async def drain(world: Any, messenger: Messenger) -> None:
    while await messenger.send() == 0.0:
        pass


async def pending(world: Any) -> Any:
    return await world.store.messages.due(world.clock() + timedelta(days=1), 10)


async def test_a_webhook_is_signed_over_its_time_and_body(world: Any, receiver: Receiver) -> None:
    url = f"http://127.0.0.1:{receiver.port}/hook?a=1"
    run = await ended_run(world, Notification(webhook=url, secret=SECRET))
    await drain(world, messenger(world))
    ((headers, body),) = receiver.got
    stamp, digest = (part.split("=")[1] for part in headers["himalia-signature"].split(","))
    expected = hmac.new(SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(digest, expected)
    assert headers["host"] == f"127.0.0.1:{receiver.port}"
    sent = json.loads(body)
    assert sent["event"] == "run.ended"
    assert sent["run"]["id"] == run.id
    assert SECRET.encode() not in body
    assert await pending(world) == ()


async def test_a_receiver_in_trouble_gets_the_same_message_again(
    world: Any, receiver: Receiver
) -> None:
    receiver.answers = ["500 Oops", "429 Slow", "200 OK"]
    await ended_run(world, Notification(webhook=f"http://localhost:{receiver.port}/"))
    await drain(world, messenger(world))
    assert len(receiver.got) == 3
    assert len({headers["himalia-message"] for headers, _ in receiver.got}) == 1
    assert await pending(world) == ()


async def test_022_a_redirect_is_not_followed(world: Any, receiver: Receiver) -> None:
    receiver.answers = [f"302 Found\r\nLocation: http://127.0.0.1:{receiver.port}/elsewhere"]
    await ended_run(
        world, Notification(webhook=f"http://127.0.0.1:{receiver.port}/", secret=SECRET)
    )
    await drain(world, messenger(world))
    assert len(receiver.got) == 1
    assert await pending(world) == ()


async def test_tries_are_bounded(world: Any, receiver: Receiver) -> None:
    receiver.answers = ["500 Oops"] * 50
    await ended_run(world, Notification(webhook=f"http://127.0.0.1:{receiver.port}/"))
    await drain(world, messenger(world, max_tries=3))
    assert len(receiver.got) == 3
    assert await pending(world) == ()


async def test_a_try_is_counted_even_if_the_process_dies_in_it(
    world: Any, receiver: Receiver
) -> None:
    receiver.answers = ["500 Oops"] * 50
    await ended_run(world, Notification(webhook=f"http://127.0.0.1:{receiver.port}/"))
    dying = messenger(world, first_delay_seconds=30)
    dying._deliver = lambda _: asyncio.sleep(3600)
    task = asyncio.create_task(dying.send())

    async def counted() -> bool:
        return (await pending(world))[0].tries == 1

    await world.until(counted)
    task.cancel()
    await asyncio.wait({task})
    assert await world.store.messages.due(world.clock(), 10) == ()


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
        "http://[fd00:ec2::254]/",
    ],
)
async def test_049_a_webhook_never_reaches_a_metadata_service(
    world: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[Any] = []

    async def connect(*args: Any, **_: Any) -> Any:
        reached.append(args)
        raise OSError

    monkeypatch.setattr("httpcore.AsyncConnectionPool.handle_async_request", connect)
    await ended_run(world, Notification(webhook=url))
    await drain(world, messenger(world, max_tries=2))
    assert reached == []
    assert await pending(world) == ()


async def test_049_a_name_is_resolved_once_and_that_address_is_used(
    world: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter(["127.0.0.1", "169.254.169.254"])

    async def rebind(*_: Any, **__: Any) -> Any:
        return [(2, 1, 6, "", (next(answers), receiver.port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", rebind)
    await ended_run(world, Notification(webhook=f"http://rebind.example:{receiver.port}/"))
    await drain(world, messenger(world))
    ((headers, _),) = receiver.got
    assert headers["host"] == f"rebind.example:{receiver.port}"


async def test_ordinary_addresses_are_allowed() -> None:
    for text in ("127.0.0.1", "10.1.2.3", "192.168.0.9", "8.8.8.8", "::1", "2001:4860:4860::8888"):
        assert is_allowed(ipaddress.ip_address(text))


async def test_011_no_secret_is_logged(
    world: Any, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.answers = ["500 Oops", "403 No"]
    url = f"http://user:url-password@127.0.0.1:{receiver.port}/path-token"
    await ended_run(world, Notification(webhook=url, secret=SECRET))
    smtp = "smtp://u:mail-password@127.0.0.1:1?from=h@example.org"
    await ended_run(world, Notification(email="a@example.org"))
    await drain(world, messenger(world, max_tries=2, smtp_url=smtp))
    for canary in (SECRET, "url-password", "path-token", "mail-password"):
        assert canary not in caplog.text
    assert await pending(world) == ()


async def test_an_email_tells_how_the_run_ended(world: Any, mail_drop: MailDrop) -> None:
    await ended_run(world, Notification(email="bob@example.org"), name="Täglicher Bericht")
    smtp = f"smtp://127.0.0.1:{mail_drop.port}?from=himalia@example.org"
    await drain(world, messenger(world, smtp_url=smtp))
    ((to, mail),) = mail_drop.mails
    assert to == ["bob@example.org"]
    assert mail["From"] == "Himalia <himalia@example.org>"
    subject = email.header.decode_header(mail["Subject"])
    assert str(email.header.make_header(subject)) == "Täglicher Bericht: failed"
    assert "failed" in str(mail.get_payload(decode=True), "utf-8")


async def test_an_email_is_tried_again_after_a_refusal_for_now(
    world: Any, mail_drop: MailDrop
) -> None:
    mail_drop.refusals = ["451 later"]
    await ended_run(world, Notification(email="bob@example.org"))
    smtp = f"smtp://127.0.0.1:{mail_drop.port}?from=himalia@example.org"
    await drain(world, messenger(world, smtp_url=smtp))
    assert len(mail_drop.mails) == 1


async def test_an_email_to_a_refused_address_is_given_up(world: Any, mail_drop: MailDrop) -> None:
    mail_drop.refusals = ["550 nobody", "550 nobody"]
    await ended_run(world, Notification(email="bob@example.org"))
    smtp = f"smtp://127.0.0.1:{mail_drop.port}?from=himalia@example.org"
    await drain(world, messenger(world, smtp_url=smtp))
    assert mail_drop.refusals == ["550 nobody"]
    assert await pending(world) == ()


async def test_an_email_without_a_mail_server_is_given_up(world: Any) -> None:
    await ended_run(world, Notification(email="bob@example.org"))
    await drain(world, messenger(world))
    assert await pending(world) == ()


async def test_names_cannot_inject_headers(world: Any) -> None:
    run = await world.submit()
    hostile = run.model_copy(update={"workload_name": "x\u2028\u0085Bcc: eve@example.org\r\nY: z"})
    body = {"event": "run.ended", "run": hostile.model_dump(mode="json")}
    message = Message(
        id="msg", run_id=run.id, owner="alice", body=body, tries=0, email="a@example.org"
    )
    raw = compose(message, "h@example.org").as_bytes()
    parsed = email.message_from_bytes(raw)
    assert "Bcc" not in parsed
    assert "Y" not in parsed
    assert parsed["To"] == "a@example.org"


async def test_a_message_is_only_made_for_the_ends_it_asks_for(
    world: Any, receiver: Receiver
) -> None:
    url = f"http://127.0.0.1:{receiver.port}/"
    await ended_run(world, Notification(on=(Condition.SUCCESS,), webhook=url))
    await drain(world, messenger(world))
    assert receiver.got == []


async def test_a_mail_url_that_is_none_is_refused_without_repeating_it() -> None:
    for url in ("http://u:canary@x", "smtp://", "smtp://u:canary@x:port"):
        with pytest.raises(InvalidInput) as caught:
            MailServer.of_url(url)
        assert "canary" not in str(caught.value)
