"""The benchmark in small: many who come at the same moment, and all get their server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.servers.environment import ROOT, proxy

USERS = 40


def test_087_a_storm_of_logins_ends_with_a_server_for_everybody(tmp_path: Path) -> None:
    """At a plain hub and at ours, with more users at once than either starts servers at a time."""
    proxy()
    summary = tmp_path / "summary.json"
    command = [sys.executable, "benchmarks/hub.py", f"--users={USERS}", f"--at-once={USERS}"]
    command += ["--rounds=1", "--starts-at-once=4", "--quiet-seconds=1", f"--summary={summary}"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": "/tmp"},
        capture_output=True,
        text=True,
        timeout=290,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(summary.read_text())
    assert said["failures"] == {"plain": {}, "himalia": {}}, done.stdout
    assert said["ready"] == {"plain": USERS, "himalia": USERS}
    # More came than it starts at a time: they were told to come again, and did.
    assert said["put_off"]["himalia"] > 0
    assert said["check_cached_ms"] < 1
