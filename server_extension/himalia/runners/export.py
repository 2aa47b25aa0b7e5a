"""Exports an executed notebook through nbconvert, with nothing of its folder's configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from himalia.runners.attempt import write_file
from himalia.runners.document import prepare_nbformat
from himalia.runners.failure import RunFailed, plain


def export(notebook: Any, name: str, stem: str, outputs: Path) -> list[str]:
    """Write one export and the files that go with it; return their names.

    :raises RunFailed: the exporter is not installed, or could not do it.
    """
    prepare_nbformat()
    from nbconvert.exporters import ExporterDisabledError, ExporterNameError  # noqa: PLC0415

    try:
        body, resources = _exporter(name).from_notebook_node(
            notebook, resources={"metadata": {"name": stem}, "output_files_dir": f"{stem}_files"}
        )
    except (ExporterNameError, ExporterDisabledError, ModuleNotFoundError) as error:
        raise RunFailed(
            "export_failed", f"The format {name!r} is not available: {error}"
        ) from error
    except Exception as error:
        raise RunFailed("export_failed", f"The format {name!r} failed: {error}") from error
    extension = resources.get("output_extension") or ""
    files = {f"{stem}{extension}": body, **(resources.get("outputs") or {})}
    written = []
    for file, data in files.items():
        target = outputs / _safe(file)
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(target, data.encode() if isinstance(data, str) else data)
        written.append(_safe(file))
    return written


def _exporter(name: str) -> Any:
    from nbconvert.exporters import get_exporter  # noqa: PLC0415
    from traitlets.config import Config  # noqa: PLC0415

    if "." in name:
        # get_exporter would import any class that such a name spells.
        raise RunFailed("export_failed", f"The format {name!r} is not available.")
    config = Config()
    # By default templates are looked for in the current folder, too, and images and markdown
    # attachments may be read from disk into the export.
    config.TemplateExporter.extra_template_basedirs = []
    config.TemplateExporter.extra_template_paths = []
    config.HTMLExporter.embed_images = False
    config.WebPDFExporter.disable_sandbox = False
    exporter_class = get_exporter(name, config=config)  # type: ignore[no-untyped-call]
    return exporter_class(config=config)


def _safe(name: str) -> str:
    """Keep a name that an exporter chose within the outputs."""
    parts = [part for part in name.replace(os.sep, "/").split("/") if part not in ("", ".", "..")]
    return "/".join(parts) or plain(name, 50)
