"""``python -I -m himalia_hub.isolation.probe TARGETS``: say what a user's pod reaches.

It runs in such a pod, and leaves what it found as the pod's last words.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

LAST_WORDS = Path("/dev/termination-log")
TOKEN = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
MARK = "himalia-isolation"
"""File that the neighbour has in its home."""
_SECONDS = 4.0
_TRIES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An address, and whether users' pods should reach it."""

    name: str
    host: str
    port: int
    is_open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found of one thing."""

    name: str
    is_open: bool
    """Whether it could be reached."""


def reaches(target: Target) -> bool:
    """Tell whether somebody accepts connections there; what should be open is tried again."""
    for _ in range(_TRIES if target.is_open else 1):
        try:
            with socket.create_connection((target.host, target.port), timeout=_SECONDS):
                return True
        except OSError:
            continue
    return False


def find(targets: Sequence[Target], *, homes: Path, token: Path = TOKEN) -> list[Finding]:
    """Try everything at once."""
    with ThreadPoolExecutor(max_workers=max(1, len(targets))) as pool:
        found = [
            Finding(name=target.name, is_open=is_open)
            for target, is_open in zip(targets, pool.map(reaches, targets), strict=True)
        ]
    marks = [*homes.glob(MARK), *homes.glob(f"*/{MARK}")]
    return [
        *found,
        Finding(name="token", is_open=token.exists()),
        Finding(name="other-homes", is_open=bool(marks)),
        Finding(name="own-home", is_open=_is_writable(Path.home())),
    ]


def _is_writable(home: Path) -> bool:
    trial = home / f".{MARK}-trial"
    try:
        trial.write_text("")
        trial.unlink()
    except OSError:
        return False
    return True


def main(arguments: Sequence[str]) -> None:
    """Find out, and leave the findings."""
    targets = [Target(**target) for target in json.loads(arguments[0])]
    findings = find(targets, homes=Path.home().parent)
    LAST_WORDS.write_text(json.dumps([asdict(finding) for finding in findings]))


if __name__ == "__main__":
    main(sys.argv[1:])
