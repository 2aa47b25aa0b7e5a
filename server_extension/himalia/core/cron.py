"""Cron lines: when they tick in a time zone, and how they read in words.

A line that names hours ticks once on every day it means, as Debian's cron has it: a time that the
clocks jump over ticks right after the jump, one that they show twice ticks the first time. A line
whose minute or hour is ``*`` follows real time, so an hour that comes twice has its ticks twice,
each of them another moment. See https://github.com/cuu508/cronsim.
"""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, tzinfo

from cronsim import CronSim, CronSimError

from himalia.core.errors import FieldProblem, InvalidInput

MAX_TICKS = 100
_FIELDS = "five fields: minute, hour, day of month, month, day of week"


def check(cron: str, time_zone: str, *, now: datetime) -> None:
    """Check a line and its zone.

    :raises InvalidInput: naming ``cron`` and ``time_zone``, whichever is wrong.
    """
    problems: list[FieldProblem] = []
    for part in (lambda: _zone(time_zone), lambda: _check_line(cron, now)):
        try:
            part()
        except InvalidInput as error:
            problems += error.problems
    if problems:
        text = "; ".join(f"{problem.field}: {problem.message}" for problem in problems)
        raise InvalidInput(text, problems=tuple(problems))


def next_tick(cron: str, time_zone: str, after: datetime) -> datetime | None:
    """Return the first tick later than `after`, in UTC; None where no tick follows.

    :raises InvalidInput: naming ``cron`` or ``time_zone``.
    """
    ticks = next_ticks(cron, time_zone, after, 1)
    return ticks[0] if ticks else None


def next_ticks(cron: str, time_zone: str, after: datetime, count: int) -> tuple[datetime, ...]:
    """Return up to `count` ticks later than `after`, in UTC, each later than the one before.

    :raises InvalidInput: naming ``cron`` or ``time_zone``.
    """
    last = after.astimezone(UTC)
    ticks: list[datetime] = []
    if count < 1:
        return ()
    for local in _line(cron, after.astimezone(_zone(time_zone))):
        tick = local.astimezone(UTC)
        # Inside an hour that comes twice the line starts over from the first of the two.
        if tick <= last:
            continue
        ticks.append(tick)
        last = tick
        if len(ticks) == count:
            break
    return tuple(ticks)


def words(cron: str) -> str:
    """Say in plain English when `cron` ticks (:raises InvalidInput: naming ``cron``)."""
    line = _line(cron, datetime(2000, 1, 1, tzinfo=UTC))
    text = line.explain()
    if not line.day_and:
        # Where both days are given, either is enough.
        text = text.replace(" and on ", " or on ")
    return text


def _check_line(cron: str, now: datetime) -> None:
    if next(_line(cron, now.astimezone(UTC)), None) is None:
        raise InvalidInput.of("cron", "it never ticks: no year has such a day")


def _line(cron: str, start: datetime) -> CronSim:
    fields = cron.split()
    if len(fields) != 5:
        raise InvalidInput.of("cron", f"write {_FIELDS}; this has {len(fields)}")
    try:
        return CronSim(" ".join(fields), start)
    except CronSimError as error:
        which = str(error).removeprefix("Bad ").replace("-", " ")
        raise InvalidInput.of("cron", f"the {which} field is not valid; write {_FIELDS}") from error


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInput.of(
            "time_zone", f"there is no time zone {name!r}; write it like Europe/Paris"
        ) from error
