"""What travels over REST beside the models: named lists, and the one shape of errors."""

from __future__ import annotations

from typing import Generic

from himalia.core.model import Environment, Output, Page, Run, RunEvent, Schedule, T
from himalia.core.profiles import Profile
from himalia.core.spec import Model
from himalia.core.team import Standing, UsageEntry, UsageTotal


class Items(Model, Generic[T]):
    """A list that is never long."""

    items: tuple[T, ...]


class RunPage(Page[Run]):
    """Part of a list of runs."""


class SchedulePage(Page[Schedule]):
    """Part of a list of schedules."""


class EnvironmentList(Items[Environment]):
    """Where notebooks can run, the default first."""


class ProfileList(Items[Profile]):
    """What the caller may choose to give a run."""


class OutputList(Items[Output]):
    """What a run left, the executed notebook first."""


class CellList(Items[RunEvent]):
    """The cell events of a run's latest attempt."""


class UsagePage(Page[UsageEntry]):
    """Part of the caller's lines of the ledger."""


class UsageTotalList(Items[UsageTotal]):
    """Sums of the caller's usage, the largest first."""


class StandingList(Items[Standing]):
    """The quotas that hold for the caller, with what is taken of each."""


class ErrorDetail(Model):
    """One field and what is wrong with it."""

    field: str
    message: str


class ErrorBody(Model):
    """What went wrong, for programs and for people."""

    code: str
    message: str
    details: tuple[ErrorDetail, ...] = ()


class ErrorAnswer(Model):
    """The one shape of every error."""

    error: ErrorBody
