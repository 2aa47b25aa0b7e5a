"""The job kind: a notebook that runs to its end."""

from __future__ import annotations

import keyword
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field
from typing_extensions import override

from himalia.core import paths
from himalia.core.errors import FieldProblem, InvalidInput
from himalia.core.model import Run, Workload
from himalia.core.spec import Parameters, PathText, Spec
from himalia.kinds.base import Kind, Pin, RunPlan
from himalia.kinds.notebook_facts import NotebookError, NotebookFacts, read_notebook
from himalia.runners.environments import DEFAULT, KernelSpec, find_kernelspec, list_kernelspecs
from himalia.runners.task import RUNNER, NotebookTask

_MAX_NOTEBOOK_BYTES = 200 * 2**20
# What exporters call; without them they fail at the end of a run that may have taken hours.
_TOOLS = {
    "asciidoc": ("pandoc",),
    "latex": ("pandoc",),
    "rst": ("pandoc",),
    "pdf": ("pandoc", "xelatex"),
}

ExporterName = Annotated[str, Field(max_length=60, pattern=r"^[A-Za-z_][\w.-]*$")]


class JobSpec(Spec):
    """A notebook to run, with what it needs and what is kept of it."""

    notebook: PathText
    """Path below the root."""
    parameters: Parameters = Field(default_factory=dict, max_length=500)
    """Put into a cell after the one tagged ``parameters``, or first where there is none."""
    environment: Annotated[str, Field(max_length=4096)] | None = None
    """Kernelspec, or absolute path of a Python environment; the notebook's own when not given."""
    working_folder: PathText | None = None
    """Folder below the root that the kernel starts in, live; without it, the run's own folder,
    which holds the snapshot."""
    files: Annotated[tuple[PathText, ...], Field(max_length=1000)] = ()
    """More inputs, by path below the root; a folder means all in it."""
    whole_folder: bool = False
    """Take all that lies beside the notebook, too."""
    outputs: Annotated[tuple[PathText, ...], Field(max_length=100)] = ()
    """Patterns of files to keep from the working folder: ``*.csv``, ``figures/**``."""
    formats: Annotated[tuple[ExporterName, ...], Field(max_length=20)] = ()
    """Exporters of nbconvert to run on the executed notebook: ``html``, ``markdown`` …"""
    cell_timeout_seconds: Annotated[float, Field(gt=0, le=30 * 86_400)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """Where the files of a job lie, by words alone, so that a plan needs no look at the disk."""

    folder: Path
    """What all of them have in common, relative to the root."""
    notebook: Path
    """Relative to `folder`, as all of `files`."""
    files: tuple[Path, ...]

    @classmethod
    def of(cls, spec: JobSpec, root: Path) -> _Layout:
        notebook = paths.relative(root, spec.notebook, "notebook")
        files = [
            paths.relative(root, name, f"files.{index}") for index, name in enumerate(spec.files)
        ]
        if spec.whole_folder:
            files.append(notebook.parent)
        # A folder that is taken whole may itself be what all have in common.
        tops = [notebook.parent, *(file.parent for file in files if file != notebook.parent)]
        folder = Path(os.path.commonpath(tops))
        return cls(
            folder=folder,
            notebook=notebook.relative_to(folder),
            files=tuple(file.relative_to(folder) for file in files),
        )


class JobKind(Kind[JobSpec]):
    """Runs notebooks to their end."""

    name: ClassVar[str] = "job"
    collection: ClassVar[str] = "jobs"
    spec_type = JobSpec
    example = JobSpec(
        notebook="report.ipynb",
        parameters={"region": "north", "days": 7},
        formats=("html",),
        outputs=("*.csv",),
        timeout_seconds=3600,
        tags=("report",),
    )

    def __init__(
        self,
        *,
        find: Callable[[str], KernelSpec | None] = find_kernelspec,
        environments: Callable[[], Mapping[str, object]] = list_kernelspecs,
        exporters: Callable[[], Collection[str]] | None = None,
    ) -> None:
        self._find = find
        self._environments = environments
        self._exporters = exporters or _installed_exporters

    @override
    def title(self, spec: JobSpec) -> str:
        name = Path(spec.notebook).name.removesuffix(".ipynb")
        printable = "".join(char if char.isprintable() else " " for char in name).strip()
        return printable[:200] or "notebook"

    @override
    def check(self, spec: JobSpec, root: Path) -> Pin:
        problems: list[FieldProblem] = []
        collect = _collector(problems)
        facts = None
        with collect():
            facts = _read(root, spec.notebook)
        with collect():
            language = self._check_environment(spec, facts)
            if facts is not None:
                problems += _parameter_problems(spec.parameters, facts, language)
        if spec.working_folder is not None:
            with collect():
                folder = paths.resolve(root, spec.working_folder, "working_folder")
                if not folder.is_dir():
                    raise InvalidInput.of("working_folder", "this is not a folder")
        for index, name in enumerate(spec.files):
            with collect():
                paths.resolve(root, name, f"files.{index}")
        problems += _pattern_problems(spec)
        problems += self._format_problems(spec)
        problems += _dependency_problems(spec)
        _raise(problems)
        layout = _Layout.of(spec, root)
        return Pin(
            folder=root / layout.folder,
            files=(str(layout.notebook), *(str(file) for file in layout.files)),
            root=root,
        )

    @override
    def plan(self, workload: Workload[Spec], run: Run, resume: Path | None) -> RunPlan:
        spec = workload.spec
        if not isinstance(spec, JobSpec):
            raise TypeError(f"{workload.id} is no job")
        root = Path(workload.root)
        working_folder = None
        if spec.working_folder is not None:
            inner = paths.relative(root, spec.working_folder, "working_folder")
            working_folder = str(root / inner)
        task = NotebookTask(
            notebook=_Layout.of(spec, root).notebook.as_posix(),
            parameters=run.parameters,
            working_folder=working_folder,
            outputs=spec.outputs,
            formats=spec.formats,
            cell_timeout_seconds=spec.cell_timeout_seconds,
            resume=str(resume) if resume is not None else None,
        )
        return RunPlan(
            runner=RUNNER,
            task=task.to_json(),
            environment=spec.environment or "",
            env=dict(spec.env),
            resources=spec.resources,
            profile=spec.profile,
            snapshot_digest=run.snapshot_digest,
            timeout_seconds=spec.timeout_seconds,
        )

    @override
    def check_parameters(
        self, workload: Workload[Spec], parameters: Parameters, files: Path | None
    ) -> None:
        spec = workload.spec
        if not isinstance(spec, JobSpec) or files is None or not parameters:
            return
        notebook = _Layout.of(spec, Path(workload.root)).notebook
        try:
            facts = _read(files, str(notebook))
        except InvalidInput:
            # The run will say what is wrong with the files; it is not the parameters.
            return
        environment = self._find(spec.environment or facts.kernel or DEFAULT)
        language = environment.language if environment is not None else None
        _raise(_parameter_problems(parameters, facts, language))

    def _check_environment(self, spec: JobSpec, facts: NotebookFacts | None) -> str | None:
        """Return the language of the environment that the job runs in."""
        own = facts.kernel if facts is not None else None
        name = spec.environment or own or DEFAULT
        found = self._find(name)
        if found is not None:
            return found.language
        which = ", ".join(sorted(self._environments())) or "none"
        if spec.environment is not None:
            text = f"there is no environment {name!r}; those installed are: {which}"
        else:
            text = (
                f"the notebook asks for the kernel {name!r}, which is not installed; "
                f"choose one of: {which}"
            )
        raise InvalidInput.of("environment", text)

    def _format_problems(self, spec: JobSpec) -> Iterator[FieldProblem]:
        installed = self._exporters() if spec.formats else ()
        for index, name in enumerate(spec.formats):
            field = f"formats.{index}"
            if name not in installed:
                known = ", ".join(sorted(installed))
                text = f"nbconvert has no exporter {name!r}; those installed are: {known}"
                yield FieldProblem(field=field, message=text)
            absent = [tool for tool in _TOOLS.get(name, ()) if shutil.which(tool) is None]
            if absent:
                text = f"{name} needs {' and '.join(absent)}, not installed on this machine"
                yield FieldProblem(field=field, message=text)


def _installed_exporters() -> frozenset[str]:
    return frozenset(entry.name for entry in entry_points(group="nbconvert.exporters"))


def _read(root: Path, notebook: str) -> NotebookFacts:
    data = paths.read_file(root, notebook, "notebook", limit=_MAX_NOTEBOOK_BYTES)
    try:
        return read_notebook(data)
    except NotebookError as error:
        raise InvalidInput.of("notebook", str(error)) from error


def _parameter_problems(
    parameters: Parameters, facts: NotebookFacts, language: str | None
) -> Iterator[FieldProblem]:
    if (language or facts.language or "").lower() != "python":
        return
    known = facts.parameter_names()
    for name in parameters:
        if keyword.iskeyword(name):
            text = "Python keeps this word for itself"
        elif known is not None and name not in known:
            listed = ", ".join(sorted(known)) or "nothing"
            text = f"the notebook's parameters cell sets no {name}; it sets {listed}"
        else:
            continue
        yield FieldProblem(field=f"parameters.{name}", message=text)


def _pattern_problems(spec: JobSpec) -> Iterator[FieldProblem]:
    for index, pattern in enumerate(spec.outputs):
        path = Path(pattern)
        if path.is_absolute() or ".." in path.parts:
            text = "write a pattern relative to the working folder, without “..”"
            yield FieldProblem(field=f"outputs.{index}", message=text)


def _dependency_problems(spec: JobSpec) -> Iterator[FieldProblem]:
    seen: set[str] = set()
    for index, dependency in enumerate(spec.after):
        if dependency.workload_id in seen:
            text = "this workload is already in the list"
            yield FieldProblem(field=f"after.{index}.workload_id", message=text)
        seen.add(dependency.workload_id)


def _collector(problems: list[FieldProblem]) -> Callable[[], AbstractContextManager[None]]:
    @contextmanager
    def collect() -> Iterator[None]:
        try:
            yield
        except InvalidInput as error:
            problems.extend(error.problems)

    return collect


def _raise(problems: Iterable[FieldProblem]) -> None:
    found = tuple(problems)
    if found:
        text = "; ".join(f"{problem.field}: {problem.message}" for problem in found)
        raise InvalidInput(text, problems=found)
