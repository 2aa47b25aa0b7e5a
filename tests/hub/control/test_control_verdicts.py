"""Why a server lives or is stopped."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from himalia.core.team import SessionReport
from himalia_hub.control.hub_api import HubServer
from himalia_hub.control.verdicts import SILENT_SECONDS, Facts, Report, Rules, judge

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = Rules(idle_seconds=3600)


def facts(*, idle: float = 0, age: float = 100_000, report: dict | None = None, **more) -> Facts:
    """Make those of a server in which nothing happened for `idle` seconds."""
    told = {"last_activity_at": NOW - timedelta(seconds=idle), **(report or {})}
    server = HubServer(
        ready=True,
        started=NOW - timedelta(seconds=age),
        last_activity=NOW - timedelta(seconds=idle),
    )
    said = Report(said=SessionReport(**told), at=NOW - timedelta(seconds=30))
    return Facts(server=server, now=NOW, **{"report": said, **more})


def test_a_server_in_use_says_when_it_would_be_stopped():
    state = judge(facts(idle=60), HOUR)
    assert (state.verdict, state.stop_at) == ("active", NOW + timedelta(minutes=59))
    assert state.why == "It is in use."


def test_an_idle_one_is_stopped_when_its_time_has_come():
    state = judge(facts(idle=1800), HOUR)
    assert (state.verdict, state.stop_at) == ("idle", NOW + timedelta(minutes=30))
    assert "Nothing has happened for 30 minutes" in state.why
    assert judge(facts(idle=3601), HOUR).stop_at <= NOW


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"report": {"busy_kernels": 1}}, "1 kernel is busy"),
        ({"report": {"busy_kernels": 2, "connections": 3}}, "3 connections are open"),
        ({"running": 1}, "1 run is on"),
        ({"groups": ("staff",)}, "group staff"),
    ],
)
def test_what_keeps_a_server_however_long_nothing_happened(more, why):
    rules = Rules(idle_seconds=3600, exempt_groups=("staff",))
    state = judge(facts(idle=90_000, **more), rules)
    assert (state.verdict, state.stop_at) == ("kept", None)
    assert why in state.why


def test_a_hub_may_stop_none():
    assert judge(facts(idle=90_000), Rules(idle_seconds=0)).verdict == "kept"


def test_one_that_does_not_report_is_given_more_time():
    state = judge(_silent(3601), HOUR)
    assert state.stop_at == NOW + timedelta(seconds=SILENT_SECONDS - 1)


def _silent(idle: float) -> Facts:
    server = HubServer(
        ready=True,
        started=NOW - timedelta(days=1),
        last_activity=NOW - timedelta(seconds=idle),
    )
    return Facts(server=server, now=NOW)


def test_an_old_report_keeps_nothing():
    told = Report(said=SessionReport(busy_kernels=9), at=NOW - timedelta(hours=3))
    state = judge(Facts(server=_silent(9000).server, now=NOW, report=told), HOUR)
    assert state.busy_kernels == 0
    assert state.stop_at <= NOW


def test_activity_in_future_is_not_believed():
    told = Report(said=SessionReport(last_activity_at=NOW + timedelta(days=9)), at=NOW)
    state = judge(Facts(server=_silent(9000).server, now=NOW, report=told), HOUR)
    assert state.last_activity_at == NOW


def test_an_old_server_is_stopped_whatever_it_does():
    rules = Rules(idle_seconds=3600, max_age_seconds=7200)
    busy = {"busy_kernels": 1}
    state = judge(facts(age=7201, report=busy), rules)
    assert state.stop_at <= NOW
    assert "longer than 2 hours" in state.why
    state = judge(facts(age=7000, report=busy), rules)
    assert (state.verdict, state.stop_at) == ("kept", NOW + timedelta(seconds=200))
    assert "1 kernel is busy" in state.why


def test_an_idle_one_that_is_nearly_old_goes_when_it_is_old():
    state = judge(facts(idle=10, age=7000), Rules(idle_seconds=3600, max_age_seconds=7200))
    assert state.stop_at == NOW + timedelta(seconds=200)
