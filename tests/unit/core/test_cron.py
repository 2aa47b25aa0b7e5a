"""Cron lines: when they tick, and how they read."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from himalia.core import cron
from himalia.core.errors import InvalidInput

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_ticks_are_strictly_later_and_in_utc():
    ticks = cron.next_ticks("0 12 * * *", "UTC", NOW, 2)
    assert ticks == (datetime(2026, 3, 2, 12, tzinfo=UTC), datetime(2026, 3, 3, 12, tzinfo=UTC))


def test_hours_are_those_of_the_time_zone():
    assert cron.next_tick("0 9 * * *", "Asia/Tokyo", NOW) == datetime(2026, 3, 2, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("*/5 * * * *", "Every fifth minute of every hour"),
        ("0 6 * * 1-5", "At 06:00 on Monday through Friday"),
        ("30 2 1 * *", "At 02:30 on the first day of every month"),
        ("0 0 13 * FRI", "At 00:00 on the 13th day of month or on Friday"),
        ("0 9 L * *", "At 09:00 on the last day of every month"),
    ],
)
def test_a_line_reads_back_in_words(line, said):
    assert cron.words(line) == said


def test_both_fields_are_named_when_both_are_wrong():
    with pytest.raises(InvalidInput) as caught:
        cron.check("61 * * * *", "Mars/Olympus", now=NOW)
    assert {problem.field for problem in caught.value.problems} == {"cron", "time_zone"}


def test_a_wrong_line_says_which_of_its_fields_is_wrong():
    with pytest.raises(InvalidInput, match="the hour field is not valid"):
        cron.check("0 24 * * *", "UTC", now=NOW)


def test_the_fastest_line_ticks_once_a_minute():
    first, second = cron.next_ticks("* * * * *", "UTC", NOW, 2)
    assert (second - first).total_seconds() == 60


def test_a_line_may_have_any_white_space_between_its_fields():
    cron.check(" 0\t12  * * *\n", "UTC", now=NOW)


def test_no_ticks_are_asked_for_and_none_come():
    assert cron.next_ticks("* * * * *", "UTC", NOW, 0) == ()
