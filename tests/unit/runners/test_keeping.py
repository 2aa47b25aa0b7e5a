"""What is kept of a run: files by pattern, exports, and what an earlier run had done."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from himalia.runners import collection
from himalia.runners.collection import collect
from himalia.runners.failure import RunFailed


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    for name in ("a.csv", "b.txt", "d/c.csv", "d/e/f.csv", "figures/x.png", "[1].csv", "-2.csv"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    return tree


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ("*.csv", {"a.csv", "[1].csv", "-2.csv"}),
        ("**/*.csv", {"a.csv", "[1].csv", "-2.csv", "d/c.csv", "d/e/f.csv"}),
        ("d/**", {"d/c.csv", "d/e/f.csv"}),
        ("./d/*/f.csv", {"d/e/f.csv"}),
        ("?.csv", {"a.csv"}),
        ("[a-b].*", {"a.csv", "b.txt"}),
        ("[!a].txt", {"b.txt"}),
        ("[[]1].csv", {"[1].csv"}),
        ("figures", set()),
        ("../**", set()),
        ("a.csv|b.txt", set()),
        ("(.*)", set()),
    ],
)
def test_patterns_choose_files(tree: Path, tmp_path: Path, pattern: str, kept: set[str]) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    collect(tree, (pattern,), outputs, set())

    found = {str(path.relative_to(outputs)) for path in outputs.rglob("*") if path.is_file()}
    assert found == kept
    assert all((outputs / name).read_text() == name for name in kept)


def test_039_no_link_is_followed_and_no_pipe_waited_for(tree: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "s.csv").write_text("canary")
    (tree / "link.csv").symlink_to(secret / "s.csv")
    (tree / "folder").symlink_to(secret)
    os.mkfifo(tree / "pipe.csv")

    collect(tree, ("**",), outputs, {"a.csv"})

    names = {path.name for path in outputs.rglob("*")}
    assert names.isdisjoint({"link.csv", "folder", "s.csv", "pipe.csv", "a.csv"})


def test_083_too_many_files_or_bytes_are_refused(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    for name, value in (("MAX_FILES", 2), ("MAX_BYTES", 12), ("_MAX_LOOKED_AT", 3)):
        with monkeypatch.context() as patch:
            patch.setattr(collection, name, value)
            with pytest.raises(RunFailed) as caught:
                collect(tree, ("**",), outputs, set())
        assert caught.value.code == "output_too_large"


def test_exports_are_kept_beside_the_notebook(runs: Any) -> None:
    plot = "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"
    run = runs.run(plot, formats=("html", "script", "markdown"))

    assert run.result["reason"] is None
    names = {path.name for path in run.folder.outputs.rglob("*") if path.is_file()}
    assert {"n.ipynb", "n.html", "n.py", "n.md"} <= names
    assert any(name.endswith(".png") for name in names)


@pytest.mark.parametrize("name", ["no-such-format", "os.path", "nbconvert.exporters.HTMLExporter"])
def test_an_export_that_cannot_be_made_fails_the_run_with_its_notebook_kept(
    runs: Any, name: str
) -> None:
    run = runs.run("print('kept')", formats=(name,))

    assert run.result["status"] == "failed"
    assert run.code == "export_failed"
    assert name in run.message
    assert run.text(0) == "kept\n"


def test_059_an_export_reads_nothing_beside_the_notebook(runs: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"canary-of-the-secret")
    files = {
        "jupyter_nbconvert_config.py": b"raise SystemExit('canary-config')",
        "jupyter_nbconvert_config.json": b'{"HTMLExporter": {"embed_images": true}}',
        "lab/conf.json": b"{}",
        "lab/index.html.j2": b"canary-template",
        "templates/lab/index.html.j2": b"canary-template",
        "lab/base.html.j2": b"canary-template",
    }
    markdown = {
        "cell_type": "markdown",
        "source": f"![x]({secret})\n![y](file://{secret})\n![z](../../../../{secret})",
    }
    run = runs.run("1", markdown, files=files, formats=("html", "markdown", "slides"))

    assert run.result["reason"] is None
    exported = b"".join(
        path.read_bytes() for path in run.folder.outputs.rglob("*") if path.is_file()
    )
    assert b"canary" not in exported
    assert b"Y2FuYXJ5" not in exported  # in base 64


def test_a_run_goes_on_from_the_cell_that_failed(runs: Any, tmp_path: Path) -> None:
    mended = tmp_path / "mended"
    cells = (
        "import random; x = random.random(); print(x)",
        "x",
        f"import os; assert os.path.exists({str(mended)!r}); print('passed')",
        "print('after')",
    )
    first = runs.run(*cells)
    assert first.code == "cell_failed"
    mended.touch()

    second = runs.run(*cells, resume=str(first.folder.outputs))

    assert second.result["status"] == "succeeded"
    assert second.outputs(0) == first.outputs(0)
    assert second.outputs(1) == first.outputs(1)
    assert second.text(2) == "passed\n"
    assert second.log == "passed\nafter\n"


def test_a_changed_notebook_is_run_anew_from_the_change(runs: Any) -> None:
    first = runs.run("print('a')", "print('b')", "1/0")
    second = runs.run("print('a')", "print('c')", "print('d')", resume=str(first.folder.outputs))

    assert second.log == "c\nd\n"
    assert second.text(0) == "a\n"


def test_a_run_goes_on_from_one_that_is_gone_by_running_anew(runs: Any, tmp_path: Path) -> None:
    run = runs.run("print('a')", resume=str(tmp_path / "gone"))
    assert run.log == "a\n"


def test_a_person_runs_a_notebook_by_hand(tmp_path: Path, make_document: Any) -> None:
    (tmp_path / "n.ipynb").write_text(json.dumps(make_document("print(x, y)", "1/z")))
    arguments = ["-p", "x=[1]", "-p", "y=text", "-p", "z=0", "--format", "script"]
    done = subprocess.run(
        [sys.executable, "-m", "himalia.runners.notebook", "n.ipynb", "--output", "o", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stdout.startswith("[1] text\n")
    assert "ZeroDivisionError" in done.stderr
    assert (tmp_path / "o" / "n.ipynb").exists()
    assert shutil.which("jupyter") is None or not (tmp_path / "o" / "n.py").exists()
