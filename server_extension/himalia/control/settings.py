"""Control's settings: ``settings.toml`` in the state folder; what is not said has a default."""

from __future__ import annotations

import os
import tomllib
from typing import Annotated

from pydantic import Field, ValidationError

from himalia.core.errors import InvalidInput
from himalia.core.places import Places
from himalia.core.problems import invalid
from himalia.core.spec import Model

NAME = "settings.toml"


class Settings(Model):
    """How one user's control behaves."""

    max_running: Annotated[int, Field(ge=1, le=1000)] = Field(
        default_factory=lambda: max(2, os.cpu_count() or 2)
    )
    """Runs at once; the others wait in the queue."""
    pool_size: Annotated[int, Field(ge=0, le=64)] | None = None
    """Warm processes kept ready; 0 starts every run cold. By default as the machine allows."""
    pool_idle_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    """After the last run, until the warm processes end."""
    idle_seconds: Annotated[float, Field(ge=0, le=30 * 86_400)] = 900.0
    """After the last request, until a control with nothing to do ends; 0 means never."""
    log_limit_bytes: Annotated[int, Field(ge=65_536, le=2**40)] = 20 * 2**20
    """Of each attempt's log; the oldest part goes."""
    smtp_url: Annotated[str, Field(max_length=2000, pattern=r"^smtps?://\S+$")] | None = Field(
        default=None, repr=False
    )
    """Mail server: ``smtp://user:password@host:port?from=address`` (STARTTLS where the server
    offers it), or ``smtps:`` for TLS from the start."""


def read_settings(places: Places) -> Settings:
    """Read the settings of the user whose places these are.

    :raises InvalidInput: the file is not TOML, or a setting is unknown or wrong; each is named.
    """
    path = places.home / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} cannot be read: {error}") from error
    try:
        return Settings.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        raise InvalidInput(f"{path}: {invalid(error).message}") from error
