"""Brings a run's files to where jupyter-scheduler's panel looks for them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import Any

from jupyter_scheduler.exceptions import SchedulerError
from jupyter_scheduler.job_files_manager import JobFilesManager
from typing_extensions import override

from himalia.client.downloads import save
from himalia.core.errors import HimaliaError
from himalia.core.model import Output
from himalia.core.service import OpenOutput

_EXTENSIONS = {
    "html": ".html",
    "markdown": ".md",
    "pdf": ".pdf",
    "webpdf": ".pdf",
    "latex": ".tex",
    "rst": ".rst",
    "slides": ".slides.html",
    "asciidoc": ".asciidoc",
}
_INJECTED_TAG = "injected-parameters"


class HimaliaJobFiles(JobFilesManager):  # type: ignore[misc]
    """Copies outputs from the service below the server's root."""

    @override
    async def copy_from_staging(self, job_id: str, redownload: bool | str | None = False) -> None:
        scheduler = self.scheduler
        assert scheduler is not None, "upstream's extension gives it"
        try:
            job = await scheduler.get_job(job_id, False)
            left = await scheduler.client.runs.outputs(job_id)
            folder = Path(scheduler.get_local_output_path(model=job))
            root = Path(scheduler.root_dir)
            names = scheduler.get_job_filenames(job)
            again = redownload is True or str(redownload).lower() in {"true", "1"}
            for output, name in _placed(left, names):
                place = folder / name
                if again or not place.exists():
                    content = await scheduler.client.runs.read(job_id, output.name)
                    await _put(content, root, place)
            notebook = next((one for one in left if one.role == "notebook"), None)
            place = folder / names["input"]
            if notebook is not None and (again or not place.exists()):
                content = await scheduler.client.runs.read(job_id, notebook.name)
                await _put(as_submitted(content), root, place)
        except (HimaliaError, OSError) as error:
            raise SchedulerError(str(error)) from error


def _placed(left: tuple[Output, ...], names: dict[str, Any]) -> list[tuple[Output, str]]:
    """Pair what a run has left with the names that upstream's panel looks for."""
    placed = []
    known = tuple(_EXTENSIONS.values())
    for output in left:
        suffixes = PurePosixPath(output.name).name
        if output.role == "notebook":
            placed.append((output, names["ipynb"]))
        elif output.role == "file":
            if output.name in names.get("files", ()):
                placed.append((output, output.name))
        elif "/" in output.name:
            placed.append((output, output.name))
        else:
            wanted = [one for one in names if _EXTENSIONS.get(one, "\0") in suffixes]
            if not wanted and not suffixes.endswith(known) and "script" in names:
                wanted = ["script"]
            placed += [(output, names[one]) for one in wanted if suffixes.endswith(_ending(one))]
    return placed


def _ending(name: str) -> str:
    return _EXTENSIONS.get(name, "")


async def _put(content: bytes, root: Path, place: Path) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield content

    name = place.relative_to(root).as_posix()
    output = Output(name=name, size_bytes=len(content), media_type="", role="file")
    await save(OpenOutput(output=output, chunks=chunks()), root, name)


def as_submitted(executed: bytes) -> bytes:
    """Take out of an executed notebook what running it added: the input as it was pinned."""
    notebook = json.loads(executed)
    cells = []
    for cell in notebook.get("cells", []):
        metadata = cell.get("metadata", {})
        if _INJECTED_TAG in metadata.get("tags", ()):
            continue
        metadata.pop("execution", None)
        if cell.get("cell_type") == "code":
            cell.update(outputs=[], execution_count=None)
        cells.append(cell)
    notebook["cells"] = cells
    return json.dumps(notebook, indent=1, ensure_ascii=False).encode()
