"""Users' servers: each under an account of its own, with nothing of the hub's in it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import stat
import subprocess
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest

from tests.hub.conftest import SECRET
from tests.servers.hub import Hub
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.visitor import Visitor

pytestmark = pytest.mark.asyncio
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="accounts are made where the hub is root")


async def server(hub: Hub, user: str) -> psutil.Process:
    """Return the process of a user's server, started if need be."""
    await hub.api("POST", f"users/{user}")
    known = (await hub.api("GET", f"users/{user}")).json()["servers"]
    if "" not in known:
        await hub.open_server(user)
    return hub.server(user)


def as_account(hub: Hub, user: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the account of a user."""
    account = hub.account(user)
    return subprocess.run(
        command,
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=[],
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@as_root
async def test_every_user_has_an_account_and_a_home_of_their_own(hub: Hub) -> None:
    alice, bob = await server(hub, "alice"), await server(hub, "bob")
    assert 0 not in {alice.uids().real, bob.uids().real}
    assert alice.uids().real != bob.uids().real
    for name, process in (("alice", alice), ("bob", bob)):
        account = hub.account(name)
        assert process.uids() == (account.pw_uid,) * 3
        assert process.gids() == (account.pw_gid,) * 3
        assert process.cwd() == account.pw_dir
        assert process.environ()["HOME"] == account.pw_dir
        assert process.environ()["USER"] == account.pw_name
        assert process.environ()["JUPYTERHUB_USER"] == name
        assert stat.S_IMODE(os.stat(account.pw_dir).st_mode) == 0o700  # noqa: PTH116


@as_root
async def test_007_nobody_reads_anothers_environment_files_or_tokens(hub: Hub) -> None:
    alice, _ = await server(hub, "alice"), await server(hub, "bob")
    home = Path(hub.account("alice").pw_dir)
    (home / "secret.txt").write_text("secret")
    (home / "secret.txt").chmod(0o666)
    token = alice.environ()["JUPYTERHUB_API_TOKEN"]
    places = [
        f"/proc/{alice.pid}/environ",
        f"/proc/{alice.pid}/fd",
        f"/proc/{alice.pid}/root/etc",
        *(f"/proc/{hub.pid(part)}/environ" for part in ("start", "hub", "proxy")),
        str(home),
        str(home / "secret.txt"),
        str(hub.state / "secrets/control-token"),
        str(hub.state / "data/hub.sqlite"),
        str(hub.state / "data/jupyterhub_config.py"),
        str(hub.state),
        str(hub.state / "homes"),
        str(hub.config),
    ]
    for place in places:
        seen = as_account(hub, "bob", "/bin/sh", "-c", 'ls "$0/" 2>&1 || cat "$0"', place)
        assert seen.returncode != 0, (place, seen.stdout[:500])
    # …nor what stands on the command lines, which everybody may read.
    lines = as_account(hub, "bob", "/bin/sh", "-c", "cat /proc/[0-9]*/cmdline").stdout
    for secret in (token, hub.password, *secrets_of(hub)):
        assert secret not in lines
    killed = as_account(hub, "bob", "/bin/kill", "-0", str(alice.pid))
    assert killed.returncode != 0


@as_root
async def test_007_the_owner_reads_their_own(hub: Hub) -> None:
    """Without which the test before would see nothing wrong with an empty machine."""
    alice = await server(hub, "alice")
    seen = as_account(hub, "alice", "cat", f"/proc/{alice.pid}/environ")
    assert "JUPYTERHUB_API_TOKEN" in seen.stdout


async def test_jupyterlab_asks_nobody_about_news(hub: Hub) -> None:
    await server(hub, "alice")
    async with await hub.visitor("alice") as alice:
        page = await alice.enter("/user/alice/lab")
    found = re.search(r'id="jupyter-config-data"[^>]*>(.*?)</script>', page.text, re.DOTALL)
    assert found is not None, page.text[:2000]
    said = json.loads(found[1])
    assert "@jupyterlab/apputils-extension:announcements" in said["disabledExtensions"]
    assert said["hubUser"] == "alice", "JupyterHub has its say too"


async def test_nothing_of_the_hub_is_in_a_servers_environment(hub: Hub) -> None:
    alice = await server(hub, "alice")
    environment = alice.environ()
    said = "\0".join(f"{name}={value}" for name, value in environment.items())
    assert "CANARY_OF_THE_HUB" not in environment
    for secret in (SECRET, hub.password, *secrets_of(hub)):
        assert secret not in said
    assert environment["HIMALIA_HOME"] == ""
    assert environment["HIMALIA_CONTROL_URL"].startswith("http://127.0.0.1:")
    unknown = {
        name
        for name in environment
        if not name.startswith(("JUPYTERHUB_", "JPY_", "HIMALIA_"))
        and name not in {"HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "LC_ALL", "TZ",
                         "LANGUAGE", "MEM_LIMIT", "MEM_GUARANTEE", "CPU_LIMIT", "CPU_GUARANTEE"}
    }  # fmt: skip
    assert unknown == set()


async def test_what_a_server_writes_is_private(hub: Hub) -> None:
    await server(hub, "alice")
    home = Path(hub.account("alice").pw_dir) if os.geteuid() == 0 else hub.state
    log = next(home.rglob(".local/state/himalia/server.log"))
    assert "Jupyter" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert stat.S_IMODE(log.parent.stat().st_mode) == 0o700


async def test_a_user_may_have_several_servers_with_a_log_each(hub: Hub) -> None:
    process = await server(hub, "frank")
    path = await hub.open_server("frank", "second-one")
    assert path == "/user/frank/second-one/"
    logs = {log.name for log in hub.state.glob("homes/frank-*/.local/state/himalia/*.log")}
    assert logs == {"server.log", "server-second-one.log"}
    answer = await hub.api("DELETE", "users/frank/servers/second-one", json={"remove": True})
    assert answer.status_code in {202, 204}
    assert process.is_running()


@pytest.mark.parametrize("name", ["a b", "ärger", "a/b", "%2e", "x" * 300, "\U0001f422"])
async def test_070_servers_with_names_that_are_no_path_are_refused(hub: Hub, name: str) -> None:
    await hub.api("POST", "users/carol")
    answer = await hub.api("POST", f"users/carol/servers/{quote(name, safe='')}")
    assert answer.status_code in {400, 404}
    assert (await hub.api("GET", "users/carol")).json()["servers"] == {}


@as_root
async def test_070_look_alikes_have_accounts_of_their_own(hub: Hub) -> None:
    for name in ("d-ave", "d_ave"):
        await hub.api("POST", f"users/{name}")
        await hub.open_server(name)
        await hub.api("DELETE", f"users/{name}/server")
    made = [one for one in hub.accounts() if "/d-ave-" in one.pw_dir]
    assert len(made) == len({(one.pw_uid, one.pw_name, one.pw_dir) for one in made}) == 2


@pytest.mark.parametrize(
    "name",
    [
        "d\u0430ve",
        "\uff44ave",
        "da\u200bve",
        "d" * 200,
        "-x",
        "a b",
        "a:b",
        "\U0001f422",
        "1a",
    ],
)
async def test_071_demo_logins_know_plain_names_alone(hub: Hub, name: str) -> None:
    answer = await hub.api("POST", f"users/{quote(name, safe='')}")
    assert answer.status_code in {400, 404}


async def test_071_a_name_in_capitals_is_the_same_user(hub: Hub) -> None:
    await hub.api("POST", "users/carol")
    async with Visitor(hub.url, "CAROL") as twin:
        await twin.log_in(hub.password)
        page = await twin.enter("/hub/home")
        assert "carol" in page.text
    names = {user["name"] for user in (await hub.api("GET", "users")).json()}
    assert "CAROL" not in names


@as_root
async def test_a_new_user_of_the_same_name_gets_another_account(hub: Hub) -> None:
    await hub.api("POST", "users/erin")
    await hub.open_server("erin")
    first = hub.account("erin")
    await hub.api("DELETE", "users/erin/server")
    assert (await hub.api("DELETE", "users/erin")).status_code == 204
    await hub.api("POST", "users/erin")
    before = {one.pw_name for one in hub.accounts()}
    await hub.open_server("erin")
    (second,) = (one for one in hub.accounts() if one.pw_name not in before)
    assert second.pw_uid != first.pw_uid
    assert second.pw_dir != first.pw_dir


async def test_a_stopped_server_ends_with_all_that_it_started(hub: Hub) -> None:
    await server(hub, "frank")
    process = hub.server("frank")
    started = process.children(recursive=True)
    await hub.api("DELETE", "users/frank/server")
    async with asyncio.timeout(PATIENCE_SECONDS):
        await asyncio.to_thread(psutil.wait_procs, [process, *started])


def secrets_of(hub: Hub) -> list[str]:
    """Return all that the hub keeps secret."""
    return [path.read_text() for path in (hub.state / "secrets").iterdir()]
