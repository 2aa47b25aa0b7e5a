"""The command line, as a shell sees it: real processes against a real control."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.servers.patience import PATIENCE_SECONDS

HIMALIA = [sys.executable, "-c", "from himalia.cli import main; main()"]


def test_waiting_for_a_run_that_succeeds_exits_with_0(himalia: Any, notebook: Any) -> None:
    notebook("print('total', x * 2)", parameters="x = 1")
    ended = himalia("job", "run", "report.ipynb", "-p", "x=21", "--wait")
    assert ended.code == 0, ended.err
    assert "succeeded" in ended.err
    run_id = ended.err.split()[0]
    assert "total 42" in himalia("job", "log", run_id).out


def test_waiting_for_a_run_that_fails_exits_with_1_and_says_why(
    himalia: Any, notebook: Any
) -> None:
    notebook("1/0")
    ended = himalia("job", "run", "report.ipynb", "--wait")
    assert ended.code == 1
    assert "ZeroDivisionError" in ended.err
    assert "Traceback" not in ended.err


def test_waiting_for_a_run_that_is_stopped_exits_with_3(notebook: Any, client: Any) -> None:
    with _waiting_for(notebook("import time; time.sleep(600)")) as waiting:
        run_id = waiting.stderr.readline().split()[0]
        client.runs.stop(run_id)
        assert waiting.wait(60) == 3
        assert "stopped" in waiting.stderr.read()


def test_interrupting_the_wait_says_that_the_run_goes_on(notebook: Any, client: Any) -> None:
    with _waiting_for(notebook("import time; time.sleep(600)")) as waiting:
        run_id = waiting.stderr.readline().split()[0]
        for event in client.runs.events(run_id):
            if event.run is not None and event.run.status == "running":
                break
        waiting.send_signal(signal.SIGINT)
        rest = waiting.stderr.read()
        assert waiting.wait(60) == 130
    assert "goes on" in rest
    assert f"himalia job stop {run_id}" in rest
    assert client.runs.get(run_id).status == "running"
    client.runs.stop(run_id)
    assert client.runs.wait(run_id, timeout_seconds=PATIENCE_SECONDS).status == "stopped"


def _waiting_for(path: Path) -> Any:
    # As from a terminal: tests that run in the background inherit that interrupts are ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [*HIMALIA, "job", "run", str(path), "--wait"], stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("job", "run", "missing.ipynb"), "spec.notebook"),
        (("job", "run", "report.ipynb", "-p", "nonsense"), "NAME=VALUE"),
        (("job", "run", "report.ipynb", "-e", "no-such-kernel"), "spec.environment"),
        (("job", "run", "report.ipynb", "--format", "no-such-format"), "spec.formats"),
        (("job", "run", "report.ipynb", "--timeout", "soon"), "duration"),
        (("job", "run", "report.ipynb", "--email", "nobody"), "notify.0.email"),
        (("job", "run", "report.ipynb", "--after", "job-x:sometimes"), "after.0.on"),
        (("job", "run", "report.ipynb", "-p", "unknown=1"), "spec.parameters.unknown"),
        (("job", "run"), "NOTEBOOK"),
        (("schedule", "preview", "not a cron"), "cron"),
    ],
)
def test_bad_input_exits_with_2_and_names_the_field(
    himalia: Any, notebook: Any, arguments: tuple[str, ...], text: str
) -> None:
    notebook("print(x)", parameters="x = 1")
    ended = himalia(*arguments)
    assert ended.code == 2
    assert text in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""


def test_an_unknown_run_exits_with_1(himalia: Any) -> None:
    ended = himalia("job", "show", "run-00000000000000000000000000")
    assert ended.code == 1
    assert ended.err.startswith("Error: ")


def test_every_list_and_every_answer_is_json_on_request(himalia: Any, notebook: Any) -> None:
    notebook("print(1)")
    ended = himalia("job", "run", "report.ipynb", "--wait", "--json", "--tag", "nightly")
    run = ended.json()
    assert run["status"] == "succeeded"
    assert run["tags"] == ["nightly"]
    job_id = run["workload_id"]
    assert run["id"] in {one["id"] for one in himalia("job", "list", "--runs", "--json").json()}
    assert job_id in {one["id"] for one in himalia("job", "list", "--json").json()}
    assert himalia("job", "list", "--status", "failed", "--tag", "nightly", "--json").json() == []
    assert himalia("job", "show", job_id, "--json").json()["last_run"]["id"] == run["id"]
    assert "1" in himalia("job", "log", job_id, "--json").json()["text"]
    outputs = himalia("job", "outputs", run["id"], "--json").json()
    assert [one["role"] for one in outputs] == ["notebook"]
    assert himalia("status", "--json").json()["backend"] == "local"
    assert himalia("environments", "--json").json()[0]["is_default"] is True
    assert himalia("control", "status", "--json").json()["is_running"] is True


def test_order_retention_and_messages_are_given_by_options(
    himalia: Any, notebook: Any, tmp_path: Path
) -> None:
    notebook("print(1)")
    first = himalia("job", "run", "report.ipynb", "--wait", "--json").json()["workload_id"]
    secret = tmp_path / "secret"
    secret.write_text("correct horse battery\n")
    run = himalia(
        "job", "run", "report.ipynb", "--after", f"{first}:failure", "--keep-runs", "3",
        "--email", "me@example.org", "--webhook", "http://127.0.0.1:9/hook",
        "--webhook-secret-file", str(secret), "--notify-on", "failure", "--json",
    ).json()  # fmt: skip
    shown = himalia("job", "show", run["workload_id"], "--json")
    spec = shown.json()["spec"]
    assert spec["after"] == [{"workload_id": first, "on": "failure"}]
    assert spec["retention"]["keep_runs"] == 3
    assert [(told["webhook"], told["email"], told["on"]) for told in spec["notify"]] == [
        ("http://127.0.0.1:9/hook", None, ["failure"]),
        (None, "me@example.org", ["failure"]),
    ]
    assert "horse" not in shown.out


def test_texts_stay_text_and_json_becomes_values(himalia: Any, notebook: Any) -> None:
    notebook("print(repr((a, b, c, d)))", parameters="a = b = c = d = None", name="values.ipynb")
    ended = himalia(
        "job", "run", "values.ipynb", "-p", "a=3", "-P", "b=3", "-p", "c=False",
        "-p", 'd=[1, {"k": null}]', "--wait",
    )  # fmt: skip
    run_id = ended.err.split()[0]
    assert "(3, '3', False, [1, {'k': None}])" in himalia("job", "log", run_id).out


def test_outputs_are_downloaded(himalia: Any, notebook: Any, tmp_path: Path) -> None:
    notebook("open('table.csv', 'w').write('a,b')", name="made.ipynb")
    ended = himalia(
        "job", "run", "made.ipynb", "--output", "*.csv", "--format", "html", "--wait", "--json"
    )
    folder = tmp_path / "results"
    listed = himalia("job", "outputs", ended.json()["id"], "--download", str(folder))
    assert listed.code == 0
    assert {path.name for path in folder.iterdir()} == {"made.ipynb", "made.html", "table.csv"}
    assert (folder / "table.csv").read_text() == "a,b"


def test_a_run_is_repeated_and_deleted(himalia: Any, notebook: Any) -> None:
    notebook("print(1)", name="again.ipynb")
    first = himalia("job", "run", "again.ipynb", "--wait", "--json").json()
    second = himalia("job", "rerun", first["id"], "--wait", "--json").json()
    assert second["rerun_of"] == first["id"]
    third = himalia("job", "rerun", first["workload_id"], "--wait", "--json").json()
    assert third["rerun_of"] is None
    assert himalia("job", "delete", first["id"]).code == 0
    assert himalia("job", "show", first["id"]).code == 1
    assert himalia("job", "delete", first["workload_id"]).code == 0
    assert himalia("job", "show", first["workload_id"]).code == 1


def test_a_schedule_is_added_paused_resumed_and_deleted(himalia: Any, notebook: Any) -> None:
    notebook("print(1)", name="nightly.ipynb")
    made = himalia(
        "schedule", "add", "nightly.ipynb", "0 6 * * 1-5", "-z", "Europe/Berlin", "--json"
    ).json()
    assert made["next_tick_at"] is not None
    assert made["time_zone"] == "Europe/Berlin"
    paused = himalia("schedule", "pause", made["id"], "--json").json()
    assert paused["paused"] is True
    assert himalia("schedule", "resume", made["id"], "--json").json()["paused"] is False
    assert made["id"] in himalia("schedule", "list").out
    assert "nightly" in himalia("schedule", "show", made["id"]).out
    assert himalia("schedule", "delete", made["id"]).code == 0
    assert himalia("schedule", "show", made["id"]).code == 1
    assert himalia("job", "delete", made["workload_id"]).code == 0


def test_a_bad_cron_line_leaves_no_job_behind(himalia: Any, notebook: Any) -> None:
    notebook("print(1)", name="unscheduled.ipynb")
    assert himalia("schedule", "add", "unscheduled.ipynb", "61 * * * *").code == 2
    assert himalia("job", "list", "--search", "unscheduled", "--json").json() == []


def test_preview_reads_the_line_back_in_words(himalia: Any) -> None:
    shown = himalia("schedule", "preview", "0 6 * * 1-5", "-z", "Europe/Berlin", "--count", "3")
    assert "06:00" in shown.out.splitlines()[0]
    assert len(shown.out.splitlines()) == 4


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_each_shell(himalia: Any, shell: str) -> None:
    ended = himalia("completion", shell)
    assert ended.code == 0
    assert "_HIMALIA_COMPLETE" in ended.out


def test_completion_knows_the_commands(himalia: Any) -> None:
    ended = himalia(_HIMALIA_COMPLETE="bash_complete", COMP_WORDS="himalia job r", COMP_CWORD="2")
    assert {"plain,run", "plain,rerun"} <= set(ended.out.split())


def test_help_imports_nothing_slow() -> None:
    script = (
        "import sys; sys.argv = ['himalia', '--help']\n"
        "from himalia.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print(sorted({'pydantic', 'httpx', 'tornado', 'asyncio'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] in {"[]", "['asyncio']"}


def test_a_server_that_does_not_answer_is_an_error_in_one_line(himalia: Any) -> None:
    ended = himalia("--url", "http://127.0.0.1:9", "status")
    assert ended.code == 1
    assert ended.err.startswith("Error: ")
    assert "Traceback" not in ended.err


def test_the_log_cannot_drive_the_terminal(himalia: Any, notebook: Any) -> None:
    notebook(r"print('\x1b]0;owned\x07\x1b[31mred\x1b[0m\x1b[2Jend')", name="hostile.ipynb")
    ended = himalia("job", "run", "hostile.ipynb", "--wait", "--json")
    shown = himalia("job", "log", ended.json()["id"]).out
    assert "red" in shown
    assert "\x1b]" not in shown
    assert "\x1b[2J" not in shown
    assert os.linesep in shown
