"""Control killed before and after every call it makes: nothing is lost, nothing ends twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.servers.environment import ROOT

CALLS = (
    # In this order: what the keeper deletes is made once, and each of these deaths leaves less.
    "runs.delete:before",
    "runs.delete:after",
    "backend.remove:before",
    "backend.remove:after",
    *(
        f"{call}:{when}"
        for call in (
            "workloads.insert",
            "runs.insert",
            "holds.claim",
            "backend.start",
            "holds.change.running",
            "backend.observe",
            "holds.change.succeeded",
            "runs.settle",
            "holds.take_over",
            "runs.request_stop",
            "backend.stop",
            "holds.change.stopped",
            "schedules.tick",
            "messages.retry",
            "messages.sent",
        )
        for when in ("before", "after")
    ),
    "holds.renew:before",
)
KILLED = -9


class History:
    """What a chain of lives left, for whoever looks at it afterwards."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.runs = {run["id"]: run for run in json.loads((home / "report.json").read_text())}
        self.acknowledged = dict(line.split() for line in self.lines("acks"))
        self.by_name = Counter(run["workload_name"] for run in self.runs.values())

    def lines(self, name: str) -> list[str]:
        return (self.home / name).read_text().splitlines()


@pytest.mark.timeout(600)
def test_089_090_control_killed_at_every_step_of_its_work(
    tmp_path: Path, tally: Any, hook: Any
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    tally.write_notebook()
    tally.write_notebook("slow.ipynb", between="import time; time.sleep(4)")
    command = [sys.executable, "-m", "tests.faults.lives", home, tally.folder, hook.url, *CALLS]
    subprocess.run([str(part) for part in command], check=True, timeout=590, cwd=ROOT)
    exits = json.loads((home / "exits.json").read_text())
    died = {point: exits[point] for point in CALLS}
    assert died == dict.fromkeys(CALLS, KILLED), (home / "lives.log").read_text()
    history = History(home)
    check_that_nothing_acknowledged_is_lost(history)
    check_that_each_run_ended_well(history)
    check_that_no_attempt_was_executed_twice(history, tally)
    check_that_each_end_was_told_by_one_message(history, hook)
    check_that_each_tick_made_one_run(history)
    check_that_only_what_is_kept_has_files(history)


def check_that_nothing_acknowledged_is_lost(history: History) -> None:
    acknowledged, by_name = history.acknowledged, history.by_name
    assert set(history.lines("intents")) == set(acknowledged)
    assert set(acknowledged.values()) <= set(history.runs)
    # And a key that was used again made nothing new.
    assert by_name["first"] == sum(key.startswith("start") for key in acknowledged)
    assert by_name["second"] == by_name["first"]
    assert all(by_name[key] == 1 for key in acknowledged if not key.startswith("start"))


def check_that_each_run_ended_well(history: History) -> None:
    stopped = set(history.lines("stops"))
    for run in history.runs.values():
        expected = {"succeeded", "stopped"} if run["id"] in stopped else {"succeeded"}
        assert run["status"] in expected, run


def check_that_no_attempt_was_executed_twice(history: History, tally: Any) -> None:
    begun, ended = Counter(tally.of("begin")), Counter(tally.of("end"))
    assert max(begun.values()) == max(ended.values()) == 1
    for run in history.runs.values():
        if run["status"] == "succeeded":
            assert ended[f"{run['id']}-{run['attempt']}"] == 1


def check_that_each_end_was_told_by_one_message(history: History, hook: Any) -> None:
    told: dict[str, set[str]] = {}
    for message, body in hook.received:
        run = body["run"]
        told.setdefault(run["id"], set()).add(message)
        assert run["status"] == history.runs[run["id"]]["status"]
    runs = history.runs.values()
    assert set(told) == {run["id"] for run in runs if run["workload_name"] == "first"}
    assert all(len(messages) == 1 for messages in told.values())


def check_that_each_tick_made_one_run(history: History) -> None:
    ticks = Counter(run["tick_at"] for run in history.runs.values() if run["schedule_id"])
    assert len(ticks) == len(history.lines("ticks"))
    assert max(ticks.values()) == 1


def check_that_only_what_is_kept_has_files(history: History) -> None:
    assert history.by_name["kept"] == 1
    assert {entry.name for entry in (history.home / "runs").iterdir()} == set(history.runs)
