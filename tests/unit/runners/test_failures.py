"""A run that does not succeed says why, and never shows as completed (threats 61 and 62)."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import pytest

from himalia.core.spec import Resources
from himalia.runners.failure import NEXT_STEPS

TAGGED = {"tags": ["raises-exception"]}


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        pytest.param("1/0", "cell_failed", "ZeroDivisionError: division by zero", id="exception"),
        pytest.param("import sys; sys.exit(0)", "cell_failed", "SystemExit", id="sys-exit"),
        pytest.param("import os; os._exit(0)", "kernel_died", "exit code 0", id="os-exit"),
        pytest.param("raise KeyboardInterrupt", "cell_failed", "KeyboardInterrupt", id="interrupt"),
        pytest.param("raise MemoryError('much')", "out_of_memory", "MemoryError", id="memory"),
        pytest.param(
            "import os; os.kill(os.getpid(), 11)", "kernel_died", "signal SIGSEGV", id="crash"
        ),
        pytest.param("def broken(", "cell_failed", "SyntaxError", id="syntax"),
        pytest.param("raise ValueError('\\x1b[31mred\\x1b[0m')", "cell_failed", ": red", id="ansi"),
    ],
)
def test_062_what_a_cell_does_wrong_fails_the_run(
    runs: Any, source: str, code: str, words: str
) -> None:
    run = runs.run("print('before')", source, "print('after')")

    assert run.result["status"] == "failed"
    assert run.code == code
    assert words in run.message
    assert "ode cell 2" in run.message
    assert run.result["reason"]["next_step"] == NEXT_STEPS[code]
    assert run.text(0) == "before\n"
    assert run.outputs(2) == []
    assert [event["state"] for event in run.cells] == ["running", "done", "running", "failed"]


def test_062_an_expected_exception_does_not_fail_the_run(runs: Any) -> None:
    run = runs.run({"source": "1/0", "metadata": TAGGED}, "print('on')")

    assert run.result["status"] == "succeeded"
    assert run.outputs(0)[0]["ename"] == "ZeroDivisionError"
    assert run.text(1) == "on\n"


def test_062_a_kernel_that_dies_in_a_cell_with_an_expected_exception_fails_the_run(
    runs: Any,
) -> None:
    run = runs.run({"source": "import os; os._exit(3)", "metadata": TAGGED})

    assert run.code == "kernel_died"
    assert "exit code 3" in run.message


def test_a_long_message_is_shortened(runs: Any) -> None:
    assert len(runs.run("raise ValueError('x' * 100_000)").message) < 1_000


@pytest.mark.parametrize(
    ("data", "words"),
    [
        pytest.param(b"{", "is not JSON", id="broken"),
        pytest.param(b"\xff\xfe\x00", "is not JSON", id="bytes"),
        pytest.param(b"[]", "not an object", id="list"),
        pytest.param(b'{"a": 1}', "no format version", id="other"),
        pytest.param(b'{"nbformat": 9}', "newer", id="future"),
        pytest.param(b'{"nbformat": 4, "cells": 1}', "no list of cells", id="no-cells"),
        pytest.param(b'{"nbformat": 4, "cells": [7]}', "cell 1", id="bad-cell"),
        pytest.param(
            b'{"nbformat": 4, "cells": [{"cell_type": "code", "source": 5}]}',
            "no source",
            id="bad-source",
        ),
        pytest.param(b"[" * 200_000, "nested", id="deep"),
        pytest.param(b'{"nbformat": 3, "worksheets": 5}', "converted", id="bad-old"),
    ],
)
def test_061_what_is_not_a_notebook_is_refused(runs: Any, data: bytes, words: str) -> None:
    run = runs.start(data).wait()

    assert run.result["status"] == "failed"
    assert run.code == "notebook_invalid"
    assert words in run.message


def test_a_notebook_of_format_3_runs(runs: Any) -> None:
    cell = {"cell_type": "code", "language": "python", "input": "print(6*7)", "outputs": []}
    old = {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {"name": ""},
        "worksheets": [{"cells": [cell], "metadata": {}}],
    }

    run = runs.start(json.dumps(old).encode()).wait()

    assert run.result["status"] == "succeeded"
    assert run.text(0) == "42\n"


def test_061_an_unknown_kernel_is_named(runs: Any, make_document: Any) -> None:
    run = runs.start(make_document("1", kernel="no-such-kernel")).wait()

    assert run.code == "environment_missing"
    assert "no-such-kernel" in run.message


def test_an_environment_by_path_runs_the_notebook(runs: Any) -> None:
    run = runs.run("import sys; print(sys.executable)", environment=sys.prefix)

    assert run.result["status"] == "succeeded"
    assert run.text(0).strip() == f"{sys.prefix}/bin/python"


def test_061_a_cell_that_takes_too_long_ends_the_run(runs: Any) -> None:
    run = runs.run("print('ok')", "while True: pass", cell_timeout_seconds=1)

    assert run.code == "cell_timed_out"
    assert "Code cell 2 ran for longer than 1 s" in run.message
    assert run.text(0) == "ok\n"


def test_a_run_that_takes_too_long_ends(runs: Any) -> None:
    began = time.monotonic()
    run = runs.run("import time\nprint('ok')", "time.sleep(600)", timeout_seconds=3)

    assert run.code == "timed_out"
    assert run.text(0) == "ok\n"
    assert time.monotonic() - began < 60


def test_a_run_that_swallows_interrupts_is_killed_in_its_grace_time(runs: Any) -> None:
    deaf = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    run = runs.run(deaf, timeout_seconds=3, grace_seconds=2)

    assert run.code == "timed_out"


def test_a_stop_keeps_what_was_done(runs: Any, make_document: Any) -> None:
    run = runs.start(make_document("print('kept')", "import time; time.sleep(600)", "print('no')"))
    run.wait_for_cell(1).ask_to_stop()
    run.wait()

    assert run.result["status"] == "stopped"
    assert run.code == "stopped_by_user"
    assert run.text(0) == "kept\n"
    assert run.outputs(2) == []


def test_061_endless_output_is_cut_and_takes_no_disk(runs: Any, make_document: Any) -> None:
    run = runs.start(
        make_document("while True:\n    print('x' * 1000)"), timeout_seconds=8, grace_seconds=4
    ).wait()

    assert run.code == "timed_out"
    assert "was left out of the notebook" in run.text(0)
    assert len(run.text(0)) < 1_100_000
    assert sum(path.stat().st_size for path in run.folder.log.iterdir()) <= 10 * 2**20


def test_061_endless_output_of_native_code_is_cut(runs: Any, make_document: Any) -> None:
    source = "import subprocess\nsubprocess.run(['yes'])"
    run = runs.start(make_document(source), timeout_seconds=5, grace_seconds=2).wait()

    assert run.code == "timed_out"
    assert len(run.text(0)) < 1_100_000


def test_061_a_huge_output_is_cut_and_the_run_goes_on(runs: Any) -> None:
    run = runs.run("print('y' * 30_000_000)", "print('on')")

    assert run.result["status"] == "succeeded"
    assert len(run.text(0)) < 1_100_000
    assert run.text(1) == "on\n"


def test_061_a_hundred_thousand_cells_run(runs: Any, make_document: Any) -> None:
    cells = [{"cell_type": "markdown", "source": "# x"}] * 100_000
    notebook = make_document("x = 0", *(["x += 1"] * 200), "print(x)")
    notebook["cells"][1:1] = cells

    run = runs.start(notebook).wait()

    assert run.result["status"] == "succeeded"
    assert "".join(run.notebook["cells"][-1]["outputs"][0]["text"]) == "200\n"


def test_081_a_memory_hog_is_ended_with_its_reason(runs: Any) -> None:
    hog = "kept = []\nwhile True:\n    kept.append(bytearray(2**24))"
    run = runs.run(hog, resources=Resources(memory_bytes=300 * 2**20))

    assert run.code == "out_of_memory"
    assert run.result["use"]["peak_memory_bytes"] > 100 * 2**20


def test_081_memory_of_child_processes_counts(runs: Any) -> None:
    hog = "x = b'1' * (250 * 2**20); import time; time.sleep(600)"
    start = f"subprocess.Popen([sys.executable, '-c', {hog!r}])"
    source = f"import subprocess, sys\nfor _ in range(4): {start}"
    run = runs.run(source, "import time; time.sleep(600)", resources=Resources(memory_bytes=2**29))

    assert run.code == "out_of_memory"


def test_081_a_fork_bomb_is_ended_with_its_reason(runs: Any) -> None:
    bomb = "import os\nfor _ in range(10): os.fork()\nimport time; time.sleep(600)"
    run = runs.run(bomb)

    assert run.result["status"] == "failed"
    assert run.code in ("too_many_processes", "cell_failed", "kernel_died")
