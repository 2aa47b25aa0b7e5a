"""Threat 79: cron bombs, six fields, days that never come, clocks that change, bad zones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from himalia.core import cron
from himalia.core.errors import InvalidInput

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MOMENTS = st.integers(0, 10 * 365 * 24 * 60).map(
    lambda minutes: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)
ZONES = ["UTC", "Europe/Paris", "America/New_York", "Asia/Tokyo", "Pacific/Apia", "Africa/Cairo"]
PARIS_GAP = datetime(2026, 3, 29, tzinfo=ZoneInfo("Europe/Paris"))
PARIS_FOLD = datetime(2026, 10, 25, tzinfo=ZoneInfo("Europe/Paris"))


@pytest.mark.parametrize(
    "line",
    ["", "* * * *", "* * * * * *", "@daily", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "60 * * * *"],
)
def test_079_a_line_that_is_wrong_or_never_ticks_is_refused(line):
    with pytest.raises(InvalidInput) as caught:
        cron.check(line, "UTC", now=NOW)
    assert [problem.field for problem in caught.value.problems] == ["cron"]


@pytest.mark.parametrize(
    "zone", ["", "Europe", "../../etc/passwd", "/etc/localtime", "Mars/Olympus", "a\0b", "x" * 64]
)
def test_079_a_zone_that_is_none_is_refused(zone):
    with pytest.raises(InvalidInput) as caught:
        cron.check("0 0 * * *", zone, now=NOW)
    assert [problem.field for problem in caught.value.problems] == ["time_zone"]


def _refused(line: str, zone: str) -> set[str]:
    """Return the fields that were refused; a line that was not reads back in words."""
    try:
        cron.check(line, zone, now=NOW)
    except InvalidInput as error:
        assert error.problems, "a refusal names a field"  # noqa: PT017 - no raise is fine, too
        return {problem.field for problem in error.problems}
    assert cron.words(line)
    return set()


@given(line=st.text(max_size=60), zone=st.text(max_size=20))
def test_079_any_text_is_either_a_schedule_or_refused_by_field(line, zone):
    assert _refused(line, zone) <= {"cron", "time_zone"}


@given(
    line=st.tuples(*(st.text("0123456789*/-,L#W", min_size=1, max_size=9) for _ in range(5))).map(
        " ".join
    )
)
@settings(deadline=None)
def test_079_text_made_of_crons_own_signs_never_breaks_the_parser(line):
    assert _refused(line, "Europe/Paris") <= {"cron"}


def _local_day(line: str, day: datetime) -> list[datetime]:
    start = day - timedelta(seconds=1)
    ticks = cron.next_ticks(line, "Europe/Paris", start, 100)
    zone = ZoneInfo("Europe/Paris")
    return [tick.astimezone(zone) for tick in ticks if tick.astimezone(zone).date() == day.date()]


@pytest.mark.parametrize("line", ["30 2 * * *", "0 2 * * *", "59 2 * * *"])
def test_079_a_time_that_the_clocks_jump_over_ticks_once_right_after(line):
    (tick,) = _local_day(line, PARIS_GAP)
    assert (tick.hour, tick.minute) == (3, 0)


@pytest.mark.parametrize("line", ["30 2 * * *", "0 2 * * *", "59 2 * * *"])
def test_079_a_time_that_comes_twice_ticks_once_at_the_first(line):
    (tick,) = _local_day(line, PARIS_FOLD)
    assert tick.hour == 2
    assert tick.fold == 0


def test_079_every_real_hour_ticks_once_when_the_clocks_change():
    assert len(_local_day("0 * * * *", PARIS_GAP)) == 23
    assert len(_local_day("0 * * * *", PARIS_FOLD)) == 25


@given(
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    zone=st.sampled_from(ZONES),
    after=MOMENTS,
)
@settings(deadline=None)
def test_079_a_daily_line_ticks_exactly_once_on_every_day(minute, hour, zone, after):
    ticks = cron.next_ticks(f"{minute} {hour} * * *", zone, after, 20)
    days = [tick.astimezone(ZoneInfo(zone)).date() for tick in ticks]
    assert [later - earlier for earlier, later in pairwise(days)] == [timedelta(days=1)] * 19


@given(
    line=st.sampled_from(
        ["*/20 * * * *", "0 */2 * * *", "30 1,2,3 * * *", "15 2 * * 0", "* 2 * * *"]
    ),
    zone=st.sampled_from(ZONES),
    after=MOMENTS,
)
@settings(deadline=None)
def test_079_one_tick_after_the_other_finds_the_same_ticks_as_all_at_once(line, zone, after):
    """A ticker that was restarted between any two ticks neither repeats nor misses one."""
    at_once = cron.next_ticks(line, zone, after, 12)
    one_by_one = []
    for _ in range(12):
        tick = cron.next_tick(line, zone, after)
        assert tick is not None
        assert tick > after
        one_by_one.append(tick)
        after = tick
    assert tuple(one_by_one) == at_once
