"""The magics, in a real IPython shell and in a real kernel."""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from traitlets.config import Config

from himalia import views
from himalia.core.model import Status
from tests.servers.patience import PATIENCE_SECONDS


@pytest.fixture
def shell(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A shell in the test's own folder, with the extension loaded."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / ".ipython"))
    made = InteractiveShell(config=Config(HistoryManager={"enabled": False}))
    made.run_line_magic("load_ext", "himalia")
    yield made
    made.magics_manager.registry["HimaliaMagics"].close()


def test_a_notebook_runs_with_parameters_from_the_line(shell: Any, notebook: Any) -> None:
    notebook("print('got', x)", parameters="x = 1")
    shown = shell.run_line_magic("himalia", "run report.ipynb -p x=7 --wait")
    assert shown.run.status is Status.SUCCEEDED
    assert "got 7" in repr(shell.run_line_magic("himalia", f"log {shown.run.id}"))
    assert shown.run.id in repr(shell.run_line_magic("himalia", "runs"))
    assert shown.run.workload_id in repr(shell.run_line_magic("himalia", "jobs"))
    assert "report.ipynb" in repr(shell.run_line_magic("himalia", f"outputs {shown.run.id}"))
    assert "local" in repr(shell.run_line_magic("himalia", "status"))


def test_a_cell_runs_as_a_job_in_the_notebook_s_folder(
    shell: Any, tmp_path: Path, notebook: Any
) -> None:
    (tmp_path / "input.txt").write_text("beside")
    source = "import sys; print(open('input.txt').read(), x, sys.prefix)\n"
    shown = shell.run_cell_magic("himalia", "job --name mine -p x=3 --wait", source)
    assert shown.run.status is Status.SUCCEEDED
    assert shown.run.workload_name == "mine"
    assert f"beside 3 {sys.prefix}" in repr(shell.run_line_magic("himalia", f"log {shown.run.id}"))


def test_a_run_is_stopped(shell: Any, notebook: Any) -> None:
    notebook("import time; time.sleep(600)")
    run = shell.run_line_magic("himalia", "run report.ipynb").run
    shell.run_line_magic("himalia", f"stop {run.id}")
    client = shell.magics_manager.registry["HimaliaMagics"].client
    assert client.runs.wait(run.id).status is Status.STOPPED


def test_a_schedule_is_made(shell: Any, notebook: Any) -> None:
    notebook("print(1)", name="scheduled.ipynb")
    line = 'schedule scheduled.ipynb "0 6 * * 1-5" -z Europe/Berlin'
    assert "Europe/Berlin" in repr(shell.run_line_magic("himalia", line))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("run missing.ipynb", "spec.notebook"),
        ("run", "NOTEBOOK"),
        ("nonsense", "nonsense"),
        ("log run-00000000000000000000000000", ""),
        ("run 'unbalanced", "quotation"),
    ],
)
def test_a_mistake_is_one_line_and_no_traceback(
    shell: Any, capsys: pytest.CaptureFixture[str], line: str, text: str
) -> None:
    result = shell.run_cell(f"%himalia {line}")
    assert not result.success
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    assert text in printed.out + printed.err


def test_hostile_names_are_escaped() -> None:
    hostile = "<script>alert(1)</script>\x1b[2J"
    for view in (
        views.Table(header=("A",), rows=[(hostile,)]),
        views.Facts(pairs=[("a", hostile)]),
        views.Log(text=hostile),
    ):
        shown = view._repr_html_()
        assert "<script" not in shown
        assert html.escape("<script>") in shown
        assert "\x1b" not in shown
        assert "\x1b" not in repr(view)


def test_a_kernel_shows_progress_by_updates(home: Path, tmp_path: Path, notebook: Any) -> None:
    notebook("print(1)", "print(2)", name="inner.ipynb")
    outer = new_notebook(
        cells=[
            new_code_cell("%load_ext himalia"),
            new_code_cell("%himalia run inner.ipynb --wait"),
        ]
    )
    NotebookClient(
        outer, resources={"metadata": {"path": str(tmp_path)}}, timeout=PATIENCE_SECONDS
    ).execute()
    (output,) = outer.cells[1].outputs
    assert output.output_type == "display_data"
    assert "succeeded" in output.data["text/html"]
    assert re.search(r"width:100%", output.data["text/html"])
    nbformat.validate(outer)


def test_usage_and_quotas_are_shown(shell: Any, notebook: Any) -> None:
    notebook("1")
    shell.run_line_magic("himalia", "run report.ipynb --project magic --wait")
    assert "magic" in repr(shell.run_line_magic("himalia", "usage --by project"))
    assert "Nobody set a limit" in repr(shell.run_line_magic("himalia", "quotas"))
