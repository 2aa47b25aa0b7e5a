"""A session reports what changes soon, what does not seldom, and never gives up."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest

from himalia.core.errors import Unavailable
from himalia.core.team import ServerState, SessionReport
from himalia.reports import Reports
from tests.servers.patience import PATIENCE_SECONDS

LOG = logging.getLogger(__name__)
IDLE = SessionReport()
BUSY = SessionReport(busy_kernels=1)


class Control:
    """Takes reports, or does not."""

    def __init__(self) -> None:
        self.took: list[SessionReport] = []
        self.asked = 0
        self.is_there = True
        self.told = asyncio.Event()
        self.state = ServerState()

    async def send(self, report: SessionReport) -> ServerState:
        self.asked += 1
        self.told.set()
        if not self.is_there:
            raise Unavailable("The hub is being started.")
        self.took.append(report)
        return self.state


class Session:
    """Looks as it was told to."""

    def __init__(self) -> None:
        self.state = IDLE

    def look(self) -> SessionReport:
        return self.state


async def reported(control: Control) -> None:
    control.told.clear()
    await asyncio.wait_for(control.told.wait(), PATIENCE_SECONDS)


async def test_the_first_report_comes_at_once_and_what_does_not_change_is_not_sent_again() -> None:
    control, session = Control(), Session()
    reports = Reports(session.look, control.send, LOG, 0.01)
    reports.begin()
    await reported(control)
    await asyncio.sleep(0.1)
    assert control.took == [IDLE]
    session.state = BUSY
    await reported(control)
    assert control.took == [IDLE, BUSY]
    reports.end()
    session.state = IDLE
    await asyncio.sleep(0.1)
    assert len(control.took) == 2


async def test_activity_alone_is_told_seldom_unless_the_server_is_about_to_be_stopped() -> None:
    control = Control()
    reports = Reports(active_now, control.send, LOG, 0.01)
    reports.begin()
    await asyncio.sleep(0.2)
    reports.end()
    assert len(control.took) == 1

    control.state = ServerState(stop_at=datetime.now(UTC) + timedelta(seconds=60))
    reports = Reports(active_now, control.send, LOG, 0.01)
    reports.begin()
    for _ in range(3):
        await reported(control)
    reports.end()


def active_now() -> SessionReport:
    return SessionReport(last_activity_at=datetime.now(UTC))


async def test_a_sign_of_life_comes_though_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("himalia.reports.SELDOM_SECONDS", 0.05)
    control, session = Control(), Session()
    reports = Reports(session.look, control.send, LOG, 0.01)
    reports.begin()
    await reported(control)
    await reported(control)
    reports.end()
    assert control.took[:2] == [IDLE, IDLE]


async def test_a_control_that_was_away_is_told_when_it_is_back() -> None:
    control, session = Control(), Session()
    control.is_there = False
    reports = Reports(session.look, control.send, LOG, 0.05)
    reports.begin()
    await reported(control)
    assert control.took == []
    control.is_there = True
    await reported(control)
    reports.end()
    assert control.took == [IDLE]
