"""Measure a hub with Himalia beside a plain JupyterHub of the same version: ``make bench-hub``.

Both run at the same time: each round of users logs in at both hubs at once, on a spawner that
starts nothing, so whatever else the machine does meets both. Medians are over rounds; all is
printed as Markdown. Fewer users: ``make bench-hub ARGS="--users 300"``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import jupyterhub
import psutil
from checks import checks
from crowd import Crowd, user_server
from hubs import Hub, Used, hub
from table import Table, clock, median, milliseconds

from himalia import __version__

ROUNDS = 10
AT_ONCE = 5
"""At each hub."""
NAMES = ("plain", "himalia")


@dataclass(kw_only=True)
class Round:
    """What one round of users took at one hub."""

    cpu: dict[str, float] = field(default_factory=dict)
    """Seconds a user, by process."""
    seconds: float = 0.0
    """Wall time a user."""
    answers: dict[str, list[float]] = field(default_factory=dict)


@dataclass(kw_only=True)
class Side:
    """One of the two hubs, and what was seen of it."""

    hub: Hub
    crowd: Crowd
    before: dict[str, Used]
    rounds: list[Round] = field(default_factory=list)
    quiet: dict[str, float] = field(default_factory=dict)
    """Share of a core taken when all sessions are open and nobody does anything, by process."""

    async def welcome(self, names: list[str]) -> None:
        """Let a round of users in."""
        self.crowd.seconds = defaultdict(list)
        before = self.hub.used()
        with clock() as seconds:
            await self.crowd.come(names)
            taken = seconds()
        after = self.hub.used()
        self.rounds.append(
            Round(
                cpu={
                    name: (used.cpu_seconds - before[name].cpu_seconds) / len(names)
                    for name, used in after.items()
                },
                seconds=taken / len(names),
                answers=self.crowd.seconds,
            )
        )

    async def rest(self, seconds: float) -> None:
        """Keep the sessions of those who came open for a while."""
        before = self.hub.used()
        await self.crowd.stay(seconds)
        after = self.hub.used()
        self.quiet = {
            name: (used.cpu_seconds - before[name].cpu_seconds) / seconds
            for name, used in after.items()
        }

    def cpu(self, *names: str) -> float:
        """Return the median of the rounds, of these processes together."""
        return median([sum(one.cpu.get(name, 0.0) for name in names) for one in self.rounds])

    def memory(self, *names: str) -> int:
        """Return what these processes have now."""
        used = self.hub.used()
        return sum(used[name].memory_bytes for name in names if name in used)

    def answers(self, what: str) -> list[float]:
        """Return how long answers took, over all rounds, the fastest first."""
        return sorted(value for one in self.rounds for value in one.answers.get(what, []))


def part(values: list[float], share: float) -> str:
    """Write the value below which a share of them lies."""
    return milliseconds(values[min(len(values) - 1, int(len(values) * share))]) if values else ""


def over(ours: float, theirs: float) -> str:
    """Say how much more ours is; nothing where theirs was too little to be seen."""
    if not theirs:
        return ""
    return f"{(ours / theirs - 1) * 100:+.0f} %"


def show(sides: dict[str, Side], users: int, at_once: int) -> None:
    """Print what was measured."""
    plain, ours = (sides[name] for name in NAMES)
    table = Table(
        title=f"{users:,} users log in, start a server and use the API, {at_once} at once at each",
        head=("", "plain JupyterHub", "with himalia"),
    )
    both = (plain, ours)
    table.rows.append(("failed starts", *(f"{users - side.crowd.ready}" for side in both)))
    for what in ("login", "API", "start", "control"):
        for share, name in ((0.5, "median"), (0.99, "p99")):
            found = tuple(part(side.answers(what), share) for side in both)
            table.rows.append((f"{what}, {name}", *found))
    walls = (milliseconds(median([one.seconds for one in side.rounds])) for side in both)
    table.rows.append(("wall time of a user", *walls))
    table.show()
    _show_overhead(plain, ours, users)


def _show_overhead(plain: Side, ours: Side, users: int) -> None:
    table = Table(
        title="What it takes",
        head=("", "plain hub", "hub with himalia", "", "and control", "together"),
    )
    pairs = [
        (
            f"CPU of a user, median of {len(ours.rounds)} rounds",
            [milliseconds(plain.cpu("hub"))],
            plain.cpu("hub"),
            (ours.cpu("hub"), ours.cpu("control"), ours.cpu("hub", "control")),
            milliseconds,
        ),
        (
            f"memory with {users:,} servers (USS)",
            [_megabytes(plain.memory("hub"))],
            plain.memory("hub"),
            (ours.memory("hub"), ours.memory("control"), ours.memory("hub", "control")),
            _megabytes,
        ),
        (
            "CPU of one core while all sessions stay open",
            [_percent(plain.quiet["hub"])],
            plain.quiet["hub"],
            (ours.quiet["hub"], ours.quiet["control"], sum(ours.quiet.values())),
            _percent,
        ),
    ]
    for name, first, theirs, (hub_only, control, together), write in pairs:
        table.rows.append(
            (
                name,
                *first,
                write(hub_only),
                over(hub_only, theirs),
                write(control),
                f"{write(together)}, {over(together, theirs)}",
            )
        )
    table.show()


def _megabytes(size: float) -> str:
    return f"{size / 2**20:.0f} MB"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


async def load(folder: Path, chosen: argparse.Namespace) -> dict[str, object]:
    """Let everybody in, round by round; return what a test looks at."""
    users = chosen.users
    names = [f"user-{number:04}" for number in range(users)]
    step = max(1, -(-users // chosen.rounds))
    async with user_server() as server:
        with ExitStack() as stack:
            sides = {}
            for name in NAMES:
                one = stack.enter_context(hub(name, folder / name, server, chosen.starts_at_once))
                sides[name] = Side(hub=one, crowd=Crowd(one, chosen.at_once), before=one.used())
            for begin in range(0, users, step):
                some = names[begin : begin + step]
                await asyncio.gather(*(side.welcome(some) for side in sides.values()))
            # One after the other, so that neither is in the other's way.
            for side in sides.values():
                await side.rest(chosen.quiet_seconds)
            show(sides, users, chosen.at_once)
            for side in sides.values():
                await side.crowd.close()
            checked = await checks(sides["himalia"].hub, names[:50])
    failures = {name: dict(side.crowd.failures) for name, side in sides.items()}
    for name, found in failures.items():
        for text, count in found.items():
            print(f"\n{name}: {count} times: {text}")
    return {
        "failures": failures,
        "ready": {name: side.crowd.ready for name, side in sides.items()},
        "put_off": {name: side.crowd.put_off for name, side in sides.items()},
        "check_cached_ms": checked * 1000,
    }


def _arguments() -> str:
    return f' ARGS="{" ".join(sys.argv[1:])}"' if sys.argv[1:] else ""


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=3000)
    parser.add_argument("--at-once", type=int, default=AT_ONCE)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--starts-at-once", type=int, default=100, help="JupyterHub's default: 100")
    parser.add_argument("--quiet-seconds", type=float, default=30.0)
    parser.add_argument("--summary", type=Path, help="write what a test looks at to this file")
    chosen = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    memory = psutil.virtual_memory().total / 2**30
    print(
        "# Measurements of a hub\n\n"
        "Both hubs in one run, at the same time: "
        f"`make -s bench-hub{_arguments()} | tee benchmarks/RESULTS-hub.md`.\n"
        f"{datetime.now(UTC):%Y-%m-%d}, himalia {__version__}, JupyterHub {jupyterhub.__version__},"
        f" Python {platform.python_version()}, {os.cpu_count()} cores, {memory:.0f} GiB, "
        f"load {os.getloadavg()[0]:.1f} at the start."
    )
    # Whoever ends this early ends the hubs too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = Path(tempfile.mkdtemp(prefix="himalia-bench-"))
    folder.chmod(0o711)  # accounts other than ours have their homes below
    try:
        with clock() as seconds:
            summary = asyncio.run(load(folder, chosen))
            print(f"\nTaken in {seconds():.0f} s.")
        if chosen.summary is not None:
            chosen.summary.write_text(json.dumps(summary))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
