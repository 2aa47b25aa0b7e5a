"""One control a user, found or started, and found again after whatever happened to it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import sys

import pytest

from himalia.control.launcher import ensure_control, find_control, stop_control
from himalia.control.lock import FileLock
from himalia.core.errors import Unavailable
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio

_START = """
import asyncio
from himalia.control.launcher import ensure_control
print(asyncio.run(ensure_control()))
"""


async def test_there_is_none_until_somebody_needs_it(places):
    assert await find_control(places) is None
    assert await stop_control(places) is False
    assert not places.home.exists()


async def test_many_starters_in_many_processes_get_one_control(places, controls):
    def start():
        return subprocess.run(
            [sys.executable, "-c", _START],
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=True,
        ).stdout.strip()

    sockets = await asyncio.gather(
        *(asyncio.to_thread(start) for _ in range(4)),
        *(ensure_control(places) for _ in range(4)),
    )
    assert {str(path) for path in sockets} == {str(places.socket)}
    assert len(controls()) == 1


async def test_it_belongs_to_no_session(places, controls):
    await ensure_control(places)
    (control,) = controls()
    assert os.getsid(control.pid) != os.getsid(0)
    assert os.getpid() not in {parent.pid for parent in control.parents()}
    assert control.cwd() == "/"


async def test_no_session_leaks_into_it(places, controls, monkeypatch):
    monkeypatch.setenv("JUPYTER_TOKEN", "canary")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "canary")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    await ensure_control(places)
    (control,) = controls()
    assert "canary" not in control.environ().values()


async def test_its_files_are_the_users_alone(places):
    await ensure_control(places)
    assert stat.S_IMODE(places.home.stat().st_mode) == 0o700
    for path in (places.socket, places.control_log, places.control_file, places.control_lock):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


async def test_it_stops_when_told_and_leaves_no_socket(places, controls):
    await ensure_control(places)
    assert await stop_control(places) is True
    assert controls() == []
    assert not places.socket.exists()
    assert not places.control_file.exists()
    assert await find_control(places) is None


async def test_a_killed_control_is_replaced_over_the_socket_it_left(
    places, controls, service, caller
):
    first = await service.status(caller)
    (control,) = controls()
    control.send_signal(signal.SIGKILL)
    control.wait(10)
    assert places.socket.exists()
    assert await find_control(places) is None
    second = await service.status(caller)
    assert second.pid != first.pid
    assert len(controls()) == 1


async def test_a_file_that_is_no_socket_is_told(places):
    places.prepare()
    places.socket.write_text("not a socket")
    with pytest.raises(Unavailable, match=r"control\.log"):
        await ensure_control(places)


async def test_an_older_control_is_replaced(places, service, caller, controls):
    first = await service.status(caller)
    said = json.loads(places.control_file.read_text())
    places.control_file.write_text(json.dumps(said | {"version": "0.0.1"}))
    await ensure_control(places)
    second = await service.status(caller)
    assert second.pid != first.pid
    assert len(controls()) == 1


async def test_a_newer_control_is_left_alone(places, service, caller):
    first = await service.status(caller)
    said = json.loads(places.control_file.read_text())
    places.control_file.write_text(json.dumps(said | {"version": "99.0"}))
    await ensure_control(places)
    assert (await service.status(caller)).pid == first.pid


async def test_a_second_one_leaves_the_first_alone(places, service, caller):
    first = await service.status(caller)
    code = "import himalia.control.serve as s; s._PREDECESSOR_SECONDS = 0.1; s.main()"
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", code],
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"another control runs already" in done.stderr
    assert (await service.status(caller)).pid == first.pid


async def test_why_it_does_not_start_is_told_with_the_end_of_its_log(places):
    places.prepare()
    (places.home / "settings.toml").write_text("max_running = 0\ncolour = 1\n")
    with pytest.raises(Unavailable) as told:
        await ensure_control(places)
    assert "max_running" in told.value.message
    assert "colour: unknown field" in told.value.message


async def test_a_damaged_store_is_told_and_not_replaced(places):
    places.prepare()
    places.store.write_bytes(b"this is no database" * 1000)
    with pytest.raises(Unavailable, match=r"store\.db"):
        await ensure_control(places)
    assert places.store.read_bytes().startswith(b"this is no database")


async def test_a_socket_of_somebody_else_is_not_trusted(places, monkeypatch):
    places.prepare()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(places.socket))
        listening.listen()
        monkeypatch.setattr("os.getuid", lambda: 4242)
        with pytest.raises(Unavailable, match="another user"):
            await find_control(places)


async def test_locks_exclude_each_other_and_end_with_their_holder(tmp_path):
    path = tmp_path / "lock"
    with FileLock(path) as first, FileLock(path) as second:
        assert first.take()
        assert not second.take(0.05)
        first.release()
        assert second.take()
