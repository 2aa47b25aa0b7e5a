"""Secrets of a running hub are taken from where they are kept, and looked for everywhere else."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from tests.security.at_hub.places import LEAVING, PLACES

pytestmark = pytest.mark.asyncio(loop_scope="session")
CANARY = "canary-5b2f81"


def texts(hub):
    """Return all that was logged, by file: hub, proxy and control, and what runs for users."""
    found = {"hub.log": hub.log()}
    for path in (*hub.state.rglob("*.log"), *hub.state.rglob("*log*.txt")):
        found[str(path.relative_to(hub.state))] = path.read_text(errors="replace")
    return found


def kept_secrets(hub):
    """Return what lies in files and environments that one account alone reads."""
    found = {}
    for path in (hub.state / "secrets").iterdir():
        found[path.name] = path.read_text().strip()
    wanted = re.compile(r"TOKEN|SECRET|PASSWORD|_KEY$")
    parts = [hub.process(name) for name in ("hub", "proxy", "control")]
    for process in (*parts, *hub.servers()):
        for name, value in process.environ().items():
            if wanted.search(name) and len(value) >= 16:
                found[f"{name} of {process.pid}"] = value
    return found


async def codes_of(visitor):
    """Go through the login of a session by hand; return the code that its URL had."""
    query = {
        "client_id": f"jupyterhub-user-{visitor.name}",
        "redirect_uri": f"/user/{visitor.name}/oauth_callback",
        "response_type": "code",
        "state": f"{CANARY}-state",
    }
    answer = await visitor.ask("GET", f"/hub/api/oauth2/authorize?{urlencode(query)}")
    where = answer.headers["Location"]
    # It is used, with a state that the session never gave out, and it is logged.
    assert (await visitor.ask("GET", where)).status_code in {302, 400, 403}
    return parse_qs(urlsplit(where).query)["code"][0]


async def test_011_no_log_holds_a_secret(hub, alice, admin, nobody, walk, admin_token):
    cookies = {f"cookie {c.name}": c.value for c in alice.http.cookies.jar if c.name != "_xsrf"}
    tokens = {}
    for visitor in (alice, admin):
        answer = await visitor.ask("POST", f"/hub/api/users/{visitor.name}/tokens")
        tokens[f"token of {visitor.name}"] = answer.json()["token"]
    token = tokens["token of alice"]
    code = await codes_of(alice)
    form = {"username": "alice", "password": f"{CANARY}-password"}
    assert (await nobody.ask("POST", "/hub/login", data=form)).status_code == 403
    for place in PLACES:
        # Right and wrong, in 2xx, 4xx and 5xx, in the header and in the address.
        async for _ in walk.over(place, alice, ("GET",), token=token, without=STREAMS):
            pass
        async for _ in walk.over(
            place, nobody, ("GET", "POST"), query=f"?token={token}", without=LEAVING
        ):
            pass
        async for _ in walk.over(place, nobody, ("POST",), token=f"{CANARY}-token"):
            pass
    secrets = {**cookies, **tokens, **kept_secrets(hub), "code": code, "admin": admin_token}
    assert len(secrets) > 10, sorted(secrets)
    logged = texts(hub)
    assert len(logged) >= 2, sorted(logged)
    assert "Traceback" in logged["hub.log"], "something was said in full"
    for file, text in logged.items():
        assert f"{CANARY}-password" not in text, file
        assert f"{CANARY}-token" not in text, file
        for name, secret in secrets.items():
            if name in HER_OWN and file != "hub.log":
                continue  # in a log that is hers alone: what she herself put into an address
            line = next((line for line in text.splitlines() if secret in line), None)
            assert line is None, (name, file, line)


HER_OWN = {"cookie jupyterhub-session-id", "token of alice"}
STREAMS = {
    *LEAVING,
    "ChangesHandler",
    "SpawnHandler",
    "SpawnProgressAPIHandler",
    "UserServerAPIHandler",
}


async def test_011_no_command_line_holds_a_secret(hub, alice):
    """Everybody on the machine sees them."""
    secrets = kept_secrets(hub)
    parts = [hub.process(name) for name in ("start", "hub", "proxy", "keeper", "control")]
    for process in (*parts, *hub.servers()):
        with contextlib.suppress(ProcessLookupError):
            line = " ".join(process.cmdline())
            assert not [name for name, secret in secrets.items() if secret in line], line
            assert hub.password not in line


async def test_012_files_of_the_runtime_are_not_served(hub, alice):
    """Sessions keep their cookie secret in a file below the home that they serve."""
    (home,) = (hub.state / "homes").glob("alice-*")
    hidden = [
        path
        for path in home.rglob("*")
        if path.is_file() and path.relative_to(home).parts[0].startswith(".")
    ]
    assert [path for path in hidden if "cookie_secret" in path.name], hidden
    for path in (*hidden, *(hub.state / "secrets").iterdir(), hub.config):
        relative = path.relative_to(home) if path.is_relative_to(home) else f"..{path}"
        for kind in ("api/contents", "files", "nbconvert/html"):
            answer = await alice.ask("GET", f"/user/alice/{kind}/{relative}")
            # jupyter-server's nbconvert answers 500 to what is outside.
            refused = {400, 403, 404} if kind != "nbconvert/html" else {400, 403, 404, 500}
            assert answer.status_code in refused, (kind, relative)


async def test_012_a_session_reaches_nothing_of_the_hub(hub, alice):
    """What Alice's programs may open; that one would be enough."""
    (server,) = [one for one in hub.servers() if one.environ()["JUPYTERHUB_USER"] == "alice"]
    assert server.uids().real != 0
    closed = [hub.state / "secrets", hub.state / "data", hub.config, hub.state / "homes"]
    code = "import os, sys; print([os.access(p, os.R_OK) for p in sys.argv[1:]])"

    said = await asyncio.to_thread(
        subprocess.run,
        ["/usr/bin/python3", "-I", "-c", code, *map(str, closed), "/proc/1/environ"],
        user=server.uids().real,
        group=server.gids().real,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == str([False] * (len(closed) + 1))
