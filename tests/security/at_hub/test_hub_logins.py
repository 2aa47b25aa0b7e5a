"""Somebody who tries passwords, at a hub with an authenticator that is not ours."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
import pytest_asyncio

from tests.servers.hub import TOKEN, Hub
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.visitor import AS_PAGE, Visitor

pytestmark = pytest.mark.asyncio(loop_scope="module")
PASSWORD = "the-right-one"
_WINDOW_SECONDS = 36_000
_CONFIG = f"""
import asyncio, pathlib
from himalia_hub.state import State
from jupyterhub.spawner import SimpleLocalProcessSpawner

class Slow(SimpleLocalProcessSpawner):
    async def start(self):
        await asyncio.sleep(600)

# However slow the machine, nobody earns another attempt while the tests run.
c.Himalia.login_window_seconds = {_WINDOW_SECONDS}
# After `configure(c)`: whichever authenticator there is.
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = {PASSWORD!r}
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = Slow
c.JupyterHub.concurrent_spawn_limit = 1
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
# No control is wanted here.
c.JupyterHub.services.append(
    {{"name": "himalia", "api_token": State(pathlib.Path(c.Himalia.state)).secret("control-token")}}
)
"""
_ATTEMPTS, _AT_ONCE, _LONG_NAME = 10_000, 4, "x" * 100_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def hub() -> AsyncIterator[Hub]:
    async with Hub(config=_CONFIG, arguments=()) as made:
        yield made


@pytest.fixture(scope="module")
def behind(hub: Hub) -> str:
    """Where the hub itself listens: what its proxy says of addresses can be made up there."""
    (port,) = {
        connection.laddr.port
        for connection in hub.process("hub").net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    return f"http://127.0.0.1:{port}"


async def tried(
    somebody: Visitor, password: str = "wrong", *, name: str = "", **headers: str
) -> httpx.Response:
    """Send the login form, which the hub gives to one address alone."""
    if headers or somebody.xsrf("/hub/login") is None:
        await somebody.http.get("/hub/login", headers=headers)
    form = {
        "username": name or somebody.name,
        "password": password,
        "_xsrf": somebody.xsrf("/hub/login") or "",
    }
    return await somebody.http.post("/hub/login", data=form, headers={**AS_PAGE, **headers})


async def test_088_wrong_passwords_have_to_wait(hub: Hub) -> None:
    async with Visitor(hub.url, "alice") as stranger:
        assert [(await tried(stranger)).status_code for _ in range(10)] == [403] * 10
        # The right one too, or nobody would have to stop guessing.
        for password, headers in (
            ("wrong", {}),
            (PASSWORD, {}),
            ("wrong", {"X-Real-IP": "203.0.113.1"}),
            ("wrong", {"X-Forwarded-For": "203.0.113.1", "X-Forwarded-Proto": "http"}),
            ("wrong", {"Forwarded": "for=203.0.113.1"}),
        ):
            answer = await tried(stranger, password, **headers)
            assert answer.status_code == 429, headers
            seconds = int(answer.headers["Retry-After"])
            assert 1 <= seconds <= _WINDOW_SECONDS / 10
            assert f"Too many wrong passwords. Wait {seconds} seconds, then try again." in (
                answer.text
            )
        for twin in ("ALICE", " alice "):
            assert (await tried(stranger, name=twin)).status_code == 429
        # Nor by the other way in.
        asked = {"auth": {"username": "alice", "password": PASSWORD}}
        answer = await stranger.ask("POST", "/hub/api/users/alice/tokens", json=asked)
        assert answer.status_code == 403
        assert (await tried(stranger, name="bert")).status_code == 403


async def test_088_no_stranger_locks_a_user_out(hub: Hub, behind: str) -> None:
    async with Visitor(hub.url, "carla") as carla:
        await carla.log_in(PASSWORD)
        await carla.ask("GET", "/hub/logout")
        async with Visitor(hub.url, "carla") as stranger:
            for _ in range(11):
                refused = await tried(stranger)
            assert refused.status_code == 429
        # Her browser was in before, ...
        assert (await tried(carla, PASSWORD)).status_code == 302
    async with Visitor(behind, "carla") as carla:
        # ... and another one is not where the stranger is.
        answer = await tried(carla, PASSWORD, **{"X-Forwarded-For": "192.0.2.20"})
        assert answer.status_code == 302


async def test_088_a_browser_is_known_for_one_account_and_has_a_limit_too(hub: Hub) -> None:
    async with Visitor(hub.url, "dora") as dora:
        await dora.log_in(PASSWORD)
        (known,) = (one for one in dora.http.cookies.jar if one.name == "himalia-known")
        assert "dora" not in str(known.value)
        assert known.has_nonstandard_attr("HttpOnly")
        tries = [(await tried(dora)).status_code for _ in range(11)]
        assert tries == [403] * 10 + [429]
        # The stranger's test before used that account's attempts from here up.
        assert (await tried(dora, PASSWORD, name="carla")).status_code == 429


async def test_088_one_address_does_not_go_through_all_names(behind: str) -> None:
    async with Visitor(behind) as stranger:
        stranger.http.headers["X-Forwarded-For"] = "192.0.2.30"
        found = [
            (await tried(stranger, name=f"name-{number}")).status_code for number in range(203)
        ]
        # One address has twenty times what one account has from it; and one more each 180 s.
        assert found[:200] == [403] * 200
        assert 429 in found[200:]
        elsewhere = {"X-Forwarded-For": "192.0.2.31"}
        assert (await tried(stranger, name="name-0", **elsewhere)).status_code == 403


async def test_088_attempts_cost_neither_memory_nor_log(hub: Hub, behind: str) -> None:
    process = psutil.Process(hub.pid("hub"))

    async def attempt(numbers: range) -> None:
        at = urlsplit(behind)
        reader, writer = await asyncio.open_connection(at.hostname, at.port)
        for number in numbers:
            name = f"{_LONG_NAME if number % 100 == 0 else 'name'}{number}"
            body = json.dumps({"auth": {"username": name, "password": "wrong"}}).encode()
            head = (
                f"POST /hub/api/users/x/tokens HTTP/1.1\r\nHost: {at.netloc}\r\n"
                f"X-Forwarded-For: 198.51.100.{number % 250}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            # By hand: a client would take more time than the hub does.
            writer.write(head.encode() + body)
            said = await reader.readuntil(b"\r\n\r\n")
            assert said.startswith(b"HTTP/1.1 403 "), said
            length = re.search(rb"(?i)content-length: (\d+)", said)
            assert length is not None, said
            await reader.readexactly(int(length[1]))
        writer.close()

    await attempt(range(300))
    memory, log = process.memory_info().rss, hub.log_file.stat().st_size
    # Some at once: the hub has something to do while the next is on its way.
    await asyncio.gather(*(attempt(range(first, _ATTEMPTS, _AT_ONCE)) for first in range(_AT_ONCE)))
    assert process.memory_info().rss - memory < 8 << 20
    assert hub.log_file.stat().st_size - log < _ATTEMPTS * 1000


async def metric(hub: Hub, name: str, *labels: str) -> float:
    """Return the sum of a number of the hub's over all that have these labels."""
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(
            f"{hub.url}/hub/metrics", headers={"Authorization": f"token {TOKEN}"}
        )
    assert answer.status_code == 200
    found = re.findall(rf"^{name}{{(.*)}} (\S+)$", answer.text, re.MULTILINE)
    return sum(float(number) for has, number in found if all(one in has for one in labels))


async def test_087_what_is_refused_for_the_moment_is_counted(hub: Hub) -> None:
    """Logins, and spawns at once beyond the hub's limit."""
    requests = "jupyterhub_request_duration_seconds_count"
    logins = ('code="429"', 'handler="jupyterhub.handlers.login.LoginHandler"')
    before = await metric(hub, requests, *logins)
    async with Visitor(hub.url, "gustav") as stranger:
        for _ in range(11):
            await tried(stranger)
    assert await metric(hub, requests, *logins) == before + 1
    before = await metric(hub, requests, 'code="429"')
    for name in ("one", "two"):
        await hub.api("POST", f"users/{name}")
    assert (await hub.api("POST", "users/one/server")).status_code == 202
    refused = await hub.api("POST", "users/two/server")
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert await metric(hub, requests, 'code="429"') == before + 1
    throttled = "jupyterhub_server_spawn_duration_seconds_count"
    assert await metric(hub, throttled, '"throttled"') == 1


async def test_008_any_authenticators_hub_tells_of_changes(hub: Hub) -> None:
    made = await hub.api("POST", "users/emil")
    assert made.status_code == 201
    token = (await hub.api("POST", "users/emil/tokens")).json()
    async with (
        httpx.AsyncClient(trust_env=False, timeout=PATIENCE_SECONDS) as client,
        client.stream(
            "GET",
            f"{hub.url}/hub/api/himalia/changes",
            headers={"Authorization": f"token {TOKEN}"},
        ) as stream,
    ):
        assert stream.status_code == 200
        lines = stream.aiter_lines()
        assert await anext(lines) == "alive"
        await hub.api("DELETE", f"users/emil/tokens/{token['id']}")
        said = ""
        while said in {"", "alive"}:
            said = await anext(lines)
        assert said == "changed emil"
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{hub.url}/hub/api/himalia/changes")).status_code == 403
