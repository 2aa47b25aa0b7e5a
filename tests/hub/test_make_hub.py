"""A hub on one machine: who is let in, who is not, and what it says."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from himalia_hub.loopback import is_loopback
from tests.servers.environment import ROOT, proxy, server_python
from tests.servers.hub import Hub
from tests.servers.patience import PATIENCE_SECONDS
from tests.servers.ports import free_port
from tests.servers.visitor import Visitor


def start(state: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `himalia-hub`, which is expected to end by itself."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "himalia_hub.start", "--state", str(state)),
            *("--proxy", str(proxy()), "--python", str(server_python()), *arguments),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        env={**os.environ, **environment},
        cwd=state.parent,
        check=False,
    )


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "[::]", "", "192.0.2.7", "[2001:db8::1]", "hub.example.org", "localhost.evil.test",
     "127.0.0.1.evil.test", "0x7f000001.evil.test", "[::ffff:192.0.2.7]", socket.gethostname()],
)  # fmt: skip
def test_addresses_that_others_reach_are_told_from_loopback(host: str) -> None:
    assert host == "localhost" or not is_loopback(f"http://{host}:8000")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.10", "localhost", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_addresses_of_this_machine_alone_are_known(host: str) -> None:
    assert is_loopback(f"http://{host}:8000")


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "", socket.gethostname(), "hub.example.org"])
def test_demo_logins_refuse_to_be_reached_from_elsewhere(tmp_path: Path, host: str) -> None:
    port = free_port()
    done = start(tmp_path / "st", "--demo", "--bind-url", f"http://{host}:{port}")
    assert done.returncode != 0
    assert "Demo logins are for this machine alone" in done.stderr
    assert "Traceback" not in done.stderr
    with socket.socket() as trial:
        assert trial.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize(
    "lines",
    [
        "c.JupyterHub.bind_url = 'http://0.0.0.0:{port}'",
        "c.JupyterHub.ip = '0.0.0.0'\nc.JupyterHub.port = {port}",
        "c.JupyterHub.port = {port}",
        "c.JupyterHub.bind_url = 'http://127.0.0.1:{port}'\nc.JupyterHub.hub_ip = ''",
        "c.JupyterHub.bind_url = 'http://[::1]:{port}'\nc.JupyterHub.hub_bind_url = 'http://0.0.0.0'",
    ],
    ids=["bind_url", "ip", "no address", "hub_ip", "hub_bind_url"],
)
def test_demo_logins_refuse_it_in_a_plain_jupyterhub_too(tmp_path: Path, lines: str) -> None:
    config = tmp_path / "jupyterhub_config.py"
    config.write_text(
        "from himalia_hub import configure\nc = get_config()\nconfigure(c)\n"
        f"c.Himalia.state = {str(tmp_path / 'st')!r}\nc.Himalia.demo = True\n"
        + lines.format(port=free_port())
    )
    done = subprocess.run(
        [sys.executable, "-m", "jupyterhub", "-f", str(config)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode != 0
    assert "Demo logins are for this machine alone" in done.stderr
    assert "is now running" not in done.stderr


@pytest.mark.asyncio
async def test_the_password_is_needed_and_the_admins_name_is_an_admin(hub: Hub) -> None:
    for password in ("", "wrong", hub.password + "x", hub.password[:-1]):
        async with Visitor(hub.url, "mallory") as visitor:
            with pytest.raises(AssertionError, match=r"^\(403"):
                await visitor.log_in(password)
    async with await hub.visitor("admin") as admin:
        assert (await admin.enter("/hub/admin")).status_code == 200
    async with await hub.visitor("carol") as carol:
        assert (await carol.enter("/hub/admin")).status_code == 403


def test_the_password_is_in_no_file(hub: Hub) -> None:
    """The test's log is what a terminal would show."""
    for path in hub.folder.rglob("*"):
        if path.is_file() and path != hub.log_file:
            assert hub.password.encode() not in path.read_bytes(), path


def test_there_is_one_hub_for_each_state_folder(hub: Hub) -> None:
    done = start(hub.state, "--demo", "--bind-url", f"http://127.0.0.1:{free_port()}")
    assert done.returncode != 0
    assert done.stderr.strip() == f"A hub with the state folder {hub.state} runs already."


def test_what_is_missing_is_said_at_the_start(tmp_path: Path) -> None:
    state, address = tmp_path / "st", f"http://127.0.0.1:{free_port()}"
    no_file = start(state, "--config", "/nowhere/config.py")
    assert no_file.stderr == "There is no configuration /nowhere/config.py.\n"
    broken = tmp_path / "broken.py"
    broken.write_text("c.JupyterHub.port = 1 +\n")
    said = start(state, "--config", str(broken)).stderr
    assert "is broken" in said
    assert "Traceback" not in said
    no_proxy = start(state, "--bind-url", address, "--proxy", "/nowhere/proxy")
    assert "npm install -g configurable-http-proxy" in no_proxy.stderr
    closed = tmp_path / "python"
    closed.symlink_to(sys.executable)
    tmp_path.chmod(0o700)
    no_python = start(state, "--bind-url", address, "--python", str(tmp_path / "nowhere"))
    assert "c.Himalia.python" in no_python.stderr
    assert all(done.returncode for done in (no_file, no_proxy, no_python))


@pytest.mark.skipif(os.geteuid() != 0, reason="servers run under other accounts where it is root")
def test_a_python_that_other_accounts_may_not_execute_is_told_at_the_start(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "python").symlink_to(server_python())
    done = start(tmp_path / "st", "--python", str(tmp_path / "python"))
    assert done.returncode != 0
    assert "may not be executed by other accounts" in done.stderr
    assert "make hub-environment" in done.stderr


def test_a_port_that_is_taken_ends_it_with_a_word(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"http://127.0.0.1:{other.getsockname()[1]}"
        done = start(tmp_path / "st", "--demo", "--bind-url", address)
    assert done.returncode != 0
    assert done.stderr == (
        f"Another program listens on {address}. End it, or choose another --bind-url.\n"
    )


async def home_page(url: str, password: str) -> int:
    """Log in, and return how the first page answers."""
    async with Visitor(url, "alice") as alice:
        await alice.log_in(password)
        return (await alice.enter("/hub/home")).status_code


@pytest.mark.timeout(900)
def test_make_hub_as_a_user_types_it(tmp_path: Path) -> None:
    """From the command to a login; what it builds is there already where `make test` runs."""
    port, state = free_port(), tmp_path / "st"
    log = tmp_path / "log"
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["make", "--silent", "hub", f"PORT={port}", f"HUB_STATE={state}"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        while "Password:" not in (said := log.read_text()):
            assert process.poll() is None, said
            time.sleep(0.1)
        assert f"Himalia's hub is at http://127.0.0.1:{port}/" in said
        assert "admin is the admin" in said
        found = re.search(r"Password: (\S+)", said)
        assert found is not None
        assert asyncio.run(home_page(f"http://127.0.0.1:{port}", found[1])) == 200
    finally:
        # As Ctrl-C in a terminal does it: to all of them.
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
    with socket.socket() as trial:
        assert trial.connect_ex(("127.0.0.1", port)) != 0
