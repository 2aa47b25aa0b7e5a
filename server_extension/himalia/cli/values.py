"""What is typed on a command line, turned into values."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

_WORDS = {"True": True, "False": False, "None": None}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|sec|m|min|h|d)?")
_SECONDS = {None: 1, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kKMGT]?)(i?)B?")


def _not_a_number(text: str) -> object:
    raise ValueError(text)


def typed(text: str) -> Any:
    """Read JSON (or Python's True, False and None), and take anything else as text."""
    if text in _WORDS:
        return _WORDS[text]
    try:
        return json.loads(text, parse_constant=_not_a_number)
    except ValueError:
        return text


def pairs(items: Iterable[str], option: str) -> dict[str, str]:
    """Split NAME=VALUE items.

    :raises click.BadParameter: an item has no ``=``.
    """
    found = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{item!r} is not NAME=VALUE", param_hint=option)
        found[name] = value
    return found


def parameters(typed_items: Iterable[str], raw_items: Iterable[str]) -> dict[str, Any]:
    """Read a run's parameters from ``-p`` and ``-P``."""
    values = {name: typed(text) for name, text in pairs(typed_items, "-p").items()}
    return values | pairs(raw_items, "-P")


class Duration(click.ParamType):  # type: ignore[type-arg]
    """Seconds, or a number with s, m, h or d."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds."""
        if isinstance(value, (int, float)):
            return float(value)
        match = _DURATION.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{value!r} is not a duration; write 90, 90s, 5m, 2h or 1d", param, ctx)
        return float(match[1]) * _SECONDS[match[2]]


class Size(click.ParamType):  # type: ignore[type-arg]
    """Bytes, or a number with k, M, G or T (Ki, Mi … for powers of 1024)."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return bytes."""
        if isinstance(value, int):
            return value
        match = _SIZE.fullmatch(str(value).strip())
        if match is None:
            self.fail(f"{value!r} is not a size; write 500M, 2G or 2Gi", param, ctx)
        base = 1024 if match[3] else 1000
        return int(float(match[1]) * base ** " KMGT".index(match[2].upper() or " "))


def local_zone() -> str:
    """Return the name of this machine's time zone, UTC where it cannot be told."""
    name = os.environ.get("TZ", "").lstrip(":")
    if name and "/" in name and not name.startswith("/"):
        return name
    try:
        _, found, name = str(Path("/etc/localtime").readlink()).partition("zoneinfo/")
    except OSError:
        return "UTC"
    return name if found and not name.startswith("Etc/") else "UTC"
