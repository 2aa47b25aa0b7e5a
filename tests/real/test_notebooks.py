"""Notebooks that other projects wrote give, as jobs, what they give in an ordinary kernel."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = (Path(__file__).resolve().parent / "notebooks.txt").read_text().splitlines()

pytestmark = pytest.mark.real

# What differs from one execution to the next, in the same kernel too.
VOLATILE = (
    (re.compile(r"0x[0-9a-f]{6,}"), "0x…"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "id…"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "id…"),
    (re.compile(r"ipykernel_\d+/\d+\.py"), "ipykernel.py"),
    (re.compile(r"/tmp/[\w./-]+"), "/tmp/…"),
    (re.compile(r"\b\d+(\.\d+)? ?(ns|[µu]s|ms|s|it/s|s/it)\b"), "time"),
    (re.compile(r"\b\d\d:\d\d:\d\d(\.\d+)?\b"), "time"),
    (re.compile(r"\|[ #0-9█▉▊▋▌▍▎▏]*\|"), "|bar|"),
    (re.compile(r"\[\d\d:\d\d<[^\]]*\]"), "[time]"),
)


def steady(value: Any) -> Any:
    """Replace what is volatile, in texts at any depth."""
    if isinstance(value, str):
        for pattern, text in VOLATILE:
            value = pattern.sub(text, value)
        return value
    if isinstance(value, dict):
        return {key: steady(item) for key, item in value.items()}
    if isinstance(value, list):
        return [steady(item) for item in value]
    return value


def outputs(cell: Any) -> Iterator[Any]:
    """Yield a cell's outputs; how a stream was cut into messages is a matter of time."""
    last: dict[str, Any] | None = None
    for output in cell.get("outputs", ()):
        same = (output["output_type"], output.get("name"))
        if last and same == (last["output_type"], last.get("name")) and same[0] == "stream":
            last["text"] += output["text"]
            continue
        if last is not None:
            yield steady(last)
        last = dict(output)
    if last is not None:
        yield steady(last)


def test_there_are_enough() -> None:
    assert len(set(NAMES)) >= 30
    assert len({name.split("/")[0] for name in NAMES}) >= 5


@pytest.mark.parametrize("name", NAMES)
def test_a_job_gives_what_nbclient_gives(
    name: str, as_job: Callable[[str], Any], by_nbclient: Callable[[str], Any]
) -> None:
    expected = by_nbclient(name)
    found = as_job(name)
    assert (found.status, found.reason) == (expected.status, expected.reason)
    cells, expected_cells = found.notebook.cells, expected.notebook.cells
    assert [cell.source for cell in cells] == [cell.source for cell in expected_cells]
    for cell, expected_cell in zip(cells, expected_cells, strict=True):
        assert cell.cell_type == expected_cell.cell_type
        assert list(outputs(cell)) == list(outputs(expected_cell)), cell.source
        # A kernel that ends itself may do so before or after it has told its count.
        if expected.reason != "kernel_died":
            assert cell.get("execution_count") == expected_cell.get("execution_count"), cell.source
    if expected.status != "succeeded":
        return  # nbclient keeps the widgets that were saved with a notebook that failed
    widgets = expected.notebook.metadata.get("widgets", {})
    assert found.notebook.metadata.get("widgets", {}).keys() == widgets.keys()
    for kind, states in widgets.items():
        assert len(found.notebook.metadata.widgets[kind]["state"]) == len(states["state"])
