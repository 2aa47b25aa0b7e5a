"""What a user asks of a workload, whatever its kind, and the words every model is made of."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
Tag = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[\w.:/ -]+$")]
EnvName = Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
EnvValue = Annotated[str, Field(max_length=32_768, pattern=r"^[^\x00]*$")]
ParameterName = Annotated[str, Field(max_length=200, pattern=r"^[^\W\d]\w*$")]
Parameters = dict[ParameterName, JsonValue]
PathText = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]
Id = Annotated[str, Field(max_length=40, pattern=r"^[a-z]{3}-[0-9a-z]{26}$")]
ProfileName = Annotated[str, Field(pattern=r"^([a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?)?$")]


class Model(BaseModel):
    """Frozen, and refuses fields it does not know by their name."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Resources(Model):
    """What a run may take; nothing set means the backend's own limits."""

    cpu: Annotated[float, Field(gt=0, le=1024)] | None = None
    """Cores."""
    memory_bytes: Annotated[int, Field(ge=16 * 2**20)] | None = None


class Retries(Model):
    """How often, and after how long, a failed run is tried again."""

    count: Annotated[int, Field(ge=0, le=20)] = 0
    delay_seconds: Annotated[float, Field(ge=0, le=86_400)] = 10.0
    """Before the first retry; each later delay is `factor` times the one before."""
    factor: Annotated[float, Field(ge=1, le=10)] = 2.0
    max_delay_seconds: Annotated[float, Field(ge=0, le=86_400)] = 3600.0


class Condition(StrEnum):
    """How an upstream run must end."""

    SUCCESS = "success"
    FAILURE = "failure"
    END = "end"


class Dependency(Model):
    """A workload that runs after another one of the same owner."""

    workload_id: Id
    on: Condition = Condition.SUCCESS


class Notification(Model):
    """Whom to tell when a run ends."""

    on: tuple[Condition, ...] = (Condition.END,)
    webhook: Annotated[str, Field(max_length=2000, pattern=r"^https?://[^\s]+$")] | None = None
    secret: Annotated[str, Field(min_length=8, max_length=200)] | None = None
    """Signs the webhook's body (HMAC-SHA-256); never sent back."""
    email: Annotated[str, Field(max_length=320, pattern=r"^[^@\s,;]+@[^@\s,;]+$")] | None = None


class Retention(Model):
    """Which ended runs, with their files, are kept; nothing set keeps all."""

    keep_runs: Annotated[int, Field(ge=1, le=100_000)] | None = None
    keep_days: Annotated[float, Field(gt=0, le=36_500)] | None = None


class Spec(Model):
    """What a user asks of any workload; every kind adds its own fields."""

    timeout_seconds: Annotated[float, Field(gt=0, le=30 * 86_400)] | None = None
    """For each attempt of a run, from its start."""
    retries: Retries = Retries()
    env: dict[EnvName, EnvValue] = Field(default_factory=dict, max_length=200)
    tags: Annotated[tuple[Tag, ...], Field(max_length=20)] = ()
    resources: Resources = Resources()
    profile: ProfileName = ""
    """What a run is given, by its name in the administrator's list; what it may take of that can be
    less, by `resources`."""
    project: Annotated[str, Field(max_length=60, pattern=r"^[\w.:/ -]*$")] = ""
    """What the usage is booked on."""
    after: Annotated[tuple[Dependency, ...], Field(max_length=50)] = ()
    notify: Annotated[tuple[Notification, ...], Field(max_length=10)] = ()
    retention: Retention = Retention()


S = TypeVar("S", bound=Spec)
