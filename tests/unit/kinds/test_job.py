"""The job kind: what is checked when a notebook is submitted, and what is pinned and planned."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from himalia.core.errors import InvalidInput
from himalia.core.flows import new_run
from himalia.core.model import Trigger, Workload
from himalia.core.names import new_id
from himalia.core.spec import Dependency, Spec
from himalia.kinds.job import JobKind, JobSpec

UPSTREAM = new_id("job")


def _notebook(*cells: dict[str, Any], **metadata: Any) -> str:
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells})


def _cell(source: str, *tags: str) -> dict[str, Any]:
    return {"cell_type": "code", "source": source, "metadata": {"tags": tags}, "outputs": []}


@pytest.fixture
def root(tmp_path) -> Path:
    root = tmp_path / "root"
    (root / "project" / "data").mkdir(parents=True)
    (root / "project" / "nb.ipynb").write_text(_notebook(_cell("1")))
    (root / "project" / "data" / "x.csv").write_text("1")
    (root / "shared.py").write_text("")
    return root


@pytest.fixture
def kind() -> JobKind:
    return JobKind()


def _fields(kind: JobKind, root: Path, **spec: Any) -> set[str]:
    """Return the fields that are refused of a job."""
    spec = {"notebook": "project/nb.ipynb", **spec}
    with pytest.raises(InvalidInput) as caught:
        kind.check(JobSpec.model_validate(spec), root)
    return {problem.field for problem in caught.value.problems}


def _write(root: Path, text: str) -> None:
    (root / "project" / "nb.ipynb").write_text(text)


def test_a_good_job_pins_its_notebook_alone(kind, root):
    pin = kind.check(JobSpec(notebook="project/nb.ipynb"), root)
    assert (pin.folder, pin.files, pin.root) == (root / "project", ("nb.ipynb",), root)


def test_files_elsewhere_keep_their_place_beside_the_notebook(kind, root):
    pin = kind.check(JobSpec(notebook="project/nb.ipynb", files=("shared.py",)), root)
    assert pin.folder == root
    assert pin.files == ("project/nb.ipynb", "shared.py")


def test_the_whole_folder_is_that_of_the_notebook(kind, root):
    pin = kind.check(JobSpec(notebook="project/nb.ipynb", whole_folder=True), root)
    assert pin.folder == root / "project"
    assert pin.files == ("nb.ipynb", ".")


def test_an_absolute_path_below_the_root_is_the_same_job(kind, root):
    pin = kind.check(JobSpec(notebook=str(root / "project/nb.ipynb")), root)
    assert (pin.folder, pin.files) == (root / "project", ("nb.ipynb",))


@pytest.mark.parametrize(
    "path", ["gone.ipynb", "../root/project/nb.ipynb", "/etc/passwd", "project", "a/b/c"]
)
def test_a_notebook_that_is_not_there_or_outside_is_refused(kind, root, path):
    assert _fields(kind, root, notebook=path) == {"notebook"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "{}",
        '{"nbformat": "4"}',
        '{"nbformat": 4}',
        '{"nbformat": 4, "cells": [1]}',
        '{"nbformat": 4, "cells": [{"cell_type": "code", "source": 1}]}',
        '{"nbformat": 4, "cells": [], "metadata": []}',
        '{"nbformat": 5, "cells": []}',
        "[" * 100_000,
        "\ufeff{}",
    ],
)
def test_what_is_no_notebook_is_refused(kind, root, text):
    _write(root, text)
    assert _fields(kind, root) == {"notebook"}


def test_bytes_that_are_no_text_are_refused(kind, root):
    (root / "project" / "nb.ipynb").write_bytes(b"\x89PNG\xff\xfe")
    assert _fields(kind, root) == {"notebook"}


def test_an_old_notebook_is_refused_with_what_to_do(kind, root):
    _write(root, '{"nbformat": 3, "worksheets": []}')
    with pytest.raises(InvalidInput, match="jupyter nbconvert --to notebook"):
        kind.check(JobSpec(notebook="project/nb.ipynb"), root)


def test_an_environment_that_is_not_installed_is_refused_with_those_that_are(kind, root):
    with pytest.raises(InvalidInput, match="python3") as caught:
        kind.check(JobSpec(notebook="project/nb.ipynb", environment="julia"), root)
    assert caught.value.problems[0].field == "environment"


def test_the_notebooks_own_kernel_must_be_installed_unless_another_is_chosen(kind, root):
    _write(root, _notebook(_cell("1"), kernelspec={"name": "conda-env-x"}))
    assert _fields(kind, root) == {"environment"}
    assert kind.check(JobSpec(notebook="project/nb.ipynb", environment="python3"), root)


PARAMETERS = """%matplotlib inline
a = 1
b: int = 2
c, (d, *e) = 1, (2, 3)
f: str
print(g)
"""


@pytest.mark.parametrize("name", ["a", "b", "c", "d", "e", "f"])
def test_a_parameter_that_the_notebook_sets_is_taken(kind, root, name):
    _write(root, _notebook(_cell("z = 0"), _cell(PARAMETERS, "parameters")))
    assert kind.check(JobSpec(notebook="project/nb.ipynb", parameters={name: 1}), root)


@pytest.mark.parametrize("name", ["z", "g", "print", "matplotlib"])
def test_a_parameter_that_it_does_not_set_is_refused_by_name(kind, root, name):
    _write(root, _notebook(_cell("z = 0"), _cell(PARAMETERS, "parameters")))
    assert _fields(kind, root, parameters={name: 1, "a": 2}) == {f"parameters.{name}"}


@pytest.mark.parametrize("source", ["a = (", "a ="])
def test_a_parameter_cell_that_cannot_be_read_takes_any_name(kind, root, source):
    _write(root, _notebook(_cell(source, "parameters")))
    assert kind.check(JobSpec(notebook="project/nb.ipynb", parameters={"x": 1}), root)


def test_without_a_parameter_cell_any_name_is_taken_but_no_keyword(kind, root):
    assert kind.check(JobSpec(notebook="project/nb.ipynb", parameters={"anything": 1}), root)
    assert _fields(kind, root, parameters={"class": 1}) == {"parameters.class"}


def test_every_wrong_field_is_named_at_once(kind, root):
    assert _fields(
        kind,
        root,
        notebook="gone.ipynb",
        environment="julia",
        working_folder="shared.py",
        files=("shared.py", "gone", "../up"),
        outputs=("*.csv", "/abs", "a/../b"),
        formats=("html", "no-such"),
        after=[{"workload_id": UPSTREAM}, {"workload_id": UPSTREAM, "on": "end"}],
    ) == {
        "notebook",
        "environment",
        "working_folder",
        "files.1",
        "files.2",
        "outputs.1",
        "outputs.2",
        "formats.1",
        "after.1.workload_id",
    }


def test_a_format_whose_tools_are_not_installed_is_refused_at_once(kind, root, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InvalidInput, match="pdf needs pandoc and xelatex") as caught:
        kind.check(JobSpec(notebook="project/nb.ipynb", formats=("html", "pdf")), root)
    assert [problem.field for problem in caught.value.problems] == ["formats.1"]


def _workload(spec: JobSpec, root: Path) -> Workload[Spec]:
    now = datetime.now(UTC)
    return Workload[Spec](
        id=new_id("job"),
        kind="job",
        owner="alice",
        name="nb",
        spec=spec,
        root=str(root),
        created_at=now,
        updated_at=now,
    )


def test_a_plan_names_the_notebook_where_it_lies_in_the_snapshot(kind, root):
    spec = JobSpec(
        notebook="project/nb.ipynb",
        files=("shared.py",),
        working_folder="project/data",
        parameters={"a": 1},
        env={"KEY": "value"},
        timeout_seconds=5,
        after=(Dependency(workload_id=UPSTREAM),),
    )
    workload = _workload(spec, root)
    run = new_run(workload, trigger=Trigger.USER, parameters={"b": 2})
    plan = kind.plan(workload, run, None)
    assert plan.task["notebook"] == "project/nb.ipynb"
    assert plan.task["parameters"] == {"a": 1, "b": 2}
    assert plan.task["working_folder"] == str(root / "project/data")
    assert (plan.environment, plan.env, plan.timeout_seconds) == ("", {"KEY": "value"}, 5)


def test_a_runs_parameters_are_checked_against_the_pinned_notebook(kind, root, tmp_path):
    pinned = tmp_path / "pinned"
    pinned.mkdir()
    (pinned / "nb.ipynb").write_text(_notebook(_cell("a = 1", "parameters")))
    workload = _workload(JobSpec(notebook="project/nb.ipynb"), root)
    kind.check_parameters(workload, {"a": 2}, pinned)
    with pytest.raises(InvalidInput) as caught:
        kind.check_parameters(workload, {"x": 2}, pinned)
    assert [problem.field for problem in caught.value.problems] == ["parameters.x"]


@pytest.mark.parametrize(
    ("notebook", "title"),
    [("a/Sales report.ipynb", "Sales report"), ("x\ny.ipynb", "x y"), (".ipynb", "notebook")],
)
def test_a_job_is_called_after_its_notebook(kind, notebook, title):
    assert kind.title(JobSpec(notebook=notebook)) == title
