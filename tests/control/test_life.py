"""What becomes of runs, clients and control itself over its life."""

from __future__ import annotations

import asyncio
import signal
from contextlib import aclosing

import psutil
import pytest

from himalia.control.idle import Idleness
from himalia.control.launcher import ensure_control, stop_control
from himalia.core.model import RunEvent, Status
from himalia.handlers.streams import Streams
from tests.servers.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.asyncio


async def _gone(controls):
    await asyncio.to_thread(psutil.wait_procs, controls(), PATIENCE_SECONDS)
    assert controls() == []


def _until(path, then):
    """Write a cell that goes on when a file is there."""
    return f"import os, time\nwhile not os.path.exists({str(path)!r}): time.sleep(0.05)\n{then}"


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_run_goes_on_without_control_and_is_found_again(
    places, controls, service, caller, start_job, until, end, tmp_path
):
    go = tmp_path / "go"
    run = await start_job(_until(go, "print('on')"))
    await until(run.id, Status.RUNNING)
    (control,) = controls()
    if end == "stop":
        assert await stop_control(places)
    else:
        control.send_signal(signal.SIGKILL)
        control.wait(10)
    assert controls() == []
    go.touch()
    ended = await until(run.id, Status.SUCCEEDED)
    assert ended.attempt == 1
    assert ended.lost_attempts == 0


async def test_who_follows_a_run_goes_on_when_control_comes_back(
    controls, service, caller, start_job, until, tmp_path
):
    go = tmp_path / "go"
    run = await start_job(_until(go, "print('on')"))
    await until(run.id, Status.RUNNING)
    seen: list[RunEvent] = []
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        aclosing(service.runs.events(caller, run.id)) as events,
    ):
        async for event in events:
            seen.append(event)
            if len(seen) == 1:
                (control,) = controls()
                control.send_signal(signal.SIGKILL)
                control.wait(10)
                go.touch()
    assert seen[-1].type == "end"
    assert "on" in "".join(event.log or "" for event in seen)


async def test_a_request_that_makes_something_is_done_once_over_a_restart(
    controls, service, caller, start_job
):
    await start_job("1")
    (control,) = controls()
    control.send_signal(signal.SIGKILL)
    control.wait(10)
    run = await start_job("2")
    assert run.status in Status


async def test_it_ends_when_there_is_nothing_to_do(places, controls):
    places.prepare()
    (places.home / "settings.toml").write_text("idle_seconds = 0.3\n")
    await ensure_control(places)
    await _gone(controls)
    assert not places.socket.exists()
    assert "there is nothing to do" in places.control_log.read_text()


async def test_it_stays_while_something_runs(
    places, controls, service, caller, start_job, tmp_path
):
    places.prepare()
    (places.home / "settings.toml").write_text("idle_seconds = 0.2\n")
    go = tmp_path / "go"
    run = await start_job(_until(go, "print('on')"))
    pid = (await service.status(caller)).pid
    await asyncio.sleep(1.5)
    assert [control.pid for control in controls()] == [pid]
    go.touch()
    await _gone(controls)
    assert (await service.runs.get(caller, run.id)).status is Status.SUCCEEDED


class _Rows:
    """As much of a store as control looks at before it ends."""

    def __init__(self, **counts):
        self.runs = self.schedules = self.messages = self
        self._counted = counts

    async def counts(self):
        return {Status.QUEUED: self._counted.get("runs", 0)}

    async def count(self):
        return self._counted.get("schedules", 0)

    async def due(self, _now, _limit):
        return ("message",)[: self._counted.get("messages", 0)]


@pytest.mark.parametrize(
    ("needed", "ends"),
    [({}, True), ({"runs": 1}, False), ({"schedules": 1}, False), ({"messages": 1}, False)],
)
async def test_it_ends_only_when_nothing_needs_it(needed, ends):
    idleness = Idleness(store=_Rows(**needed), streams=Streams(), seconds=0.02)
    waiting = asyncio.ensure_future(idleness.wait())
    done, _ = await asyncio.wait({waiting}, timeout=0.5 if not ends else PATIENCE_SECONDS)
    waiting.cancel()
    assert bool(done) == ends


async def test_it_does_not_end_while_somebody_is_being_answered():
    now = 0.0
    idleness = Idleness(store=_Rows(), streams=Streams(), seconds=0.02, clock=lambda: now)
    waiting = asyncio.ensure_future(idleness.wait())
    with idleness.asking():
        now = 20.0
        done, _ = await asyncio.wait({waiting}, timeout=0.3)
        assert not done
    now = 40.0
    await asyncio.wait_for(waiting, PATIENCE_SECONDS)


async def test_who_is_being_answered_when_it_stops_gets_the_answer():
    idleness = Idleness(store=_Rows(), streams=Streams(), seconds=0)
    with idleness.asking():
        stopping = asyncio.ensure_future(idleness.answered(60))
        done, _ = await asyncio.wait({stopping}, timeout=0.2)
        assert not done
    await asyncio.wait_for(stopping, PATIENCE_SECONDS)
