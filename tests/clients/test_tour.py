"""The tour that new users open: it runs from top to bottom, by hand and as a job."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import himalia
from himalia.client import Client
from himalia.core.model import Status
from tests.servers.patience import PATIENCE_SECONDS

TOUR = Path(himalia.__file__).parent / "tour"


@pytest.fixture
def tour(tmp_path: Path) -> Path:
    """A copy, as users get one of their own."""
    return Path(shutil.copytree(TOUR, tmp_path / "tour"))


def test_the_tour_runs_from_top_to_bottom(home: Path, tour: Path) -> None:
    notebook = nbformat.read(tour / "tour.ipynb", as_version=4)
    NotebookClient(
        notebook, resources={"metadata": {"path": str(tour)}}, timeout=PATIENCE_SECONDS
    ).execute()
    text = json.dumps(notebook.cells, ensure_ascii=False)
    assert "succeeded" in text
    assert "Nuuk: 5 days" in text


def test_the_tour_runs_as_a_job(client: Client, home: Path, tour: Path) -> None:
    run = client.run(
        str(tour / "tour.ipynb"),
        files=(str(tour / "report.ipynb"),),
        # What runs knows nothing of its control, and would ask that of whoever runs the tests.
        env={"HIMALIA_HOME": str(home)},
        wait=True,
    )
    assert run.status is Status.SUCCEEDED, run.reason
    assert "Nuuk: 5 days" in client.runs.log(run.id).text
    (report,) = client.runs.list(search="report", limit=1)
    assert report.created_at > run.created_at


def test_the_sample_report_has_no_outputs_and_runs_with_its_defaults(
    client: Client, tour: Path
) -> None:
    for path in sorted(tour.glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        assert all(not cell.get("outputs") for cell in cells)
    run = client.run(str(tour / "report.ipynb"), formats=("html",), wait=True)
    assert run.status is Status.SUCCEEDED, run.reason
    assert b"Troms" in client.runs.read(run.id, "report.html")
