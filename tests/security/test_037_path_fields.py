"""Threats 37 and 38: every path that a user writes stays below the root, component by component."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from himalia.core import paths
from himalia.core.errors import InvalidInput


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A root with a twin whose name begins alike, and links in and out of it."""
    base = tmp_path_factory.mktemp("tree")
    for folder in ("data/inner", "data-secret", "data/~"):
        (base / folder).mkdir(parents=True)
    for file in ("data/a.ipynb", "data/inner/b.txt", "data-secret/s.txt", "data/%2e%2e", "data/…"):
        (base / file).write_text(file)
    (base / "data/out").symlink_to("../data-secret")
    (base / "data/out.txt").symlink_to("../data-secret/s.txt")
    (base / "data/in").symlink_to("inner")
    (base / "data/loop").symlink_to("loop")
    return base


pieces = st.sampled_from(
    [
        *("..", ".", "", "/", "a.ipynb", "inner", "b.txt", "out", "out.txt", "in", "loop", "~"),
        *("%2e%2e", "…", "data", "data-secret", "s.txt", "\\..", "\0", "\ud800", "\n", "x" * 300),
        "//host/share",
    ]
)


@given(text=st.one_of(st.lists(pieces, max_size=6).map("/".join), st.text(max_size=40)))
@example(text="/etc/passwd")
@example(text="../data-secret/s.txt")
@example(text="x" * 5000)
def test_037_what_resolves_is_what_the_system_resolves_and_lies_in_the_root(tree, text):
    root = tree / "data"
    try:
        found = paths.resolve(root, text, "notebook")
    except InvalidInput as error:
        fields = [problem.field for problem in error.problems]
    else:
        fields = []
    if fields:
        assert fields == ["notebook"]
        return
    real = os.path.realpath(root / text)
    assert str(found) == real
    assert os.path.commonpath([real, os.path.realpath(root)]) == os.path.realpath(root)


@pytest.mark.parametrize(
    "text", ["..", "a/../../data-secret/s.txt", "inner/..", "/etc/passwd", "a\0b", "", "\ud800"]
)
def test_037_paths_out_of_the_root_are_refused_before_anything_is_looked_up(text):
    with pytest.raises(InvalidInput):
        paths.relative(Path("/nowhere"), text, "notebook")


def test_037_percent_signs_tildes_and_dots_of_other_alphabets_are_ordinary_names(tree):
    for name in ("%2e%2e", "~", "…"):
        assert paths.resolve(tree / "data", name, "files.0").name == name


def test_038_an_absolute_path_below_the_root_is_taken(tree):
    root = tree / "data"
    assert paths.resolve(root, str(root / "a.ipynb"), "notebook") == root / "a.ipynb"


def test_038_a_folder_whose_name_only_begins_like_the_roots_is_outside(tree):
    with pytest.raises(InvalidInput, match="outside"):
        paths.resolve(tree / "data", str(tree / "data-secret/s.txt"), "notebook")


@pytest.mark.parametrize("text", ["out/s.txt", "out.txt", "out"])
def test_039_a_link_out_of_the_root_is_refused(tree, text):
    with pytest.raises(InvalidInput, match="leads outside"):
        paths.resolve(tree / "data", text, "notebook")


def test_039_a_link_inside_the_root_is_followed(tree):
    assert paths.read_file(tree / "data", "in/b.txt", "files.0", limit=100) == b"data/inner/b.txt"


def test_039_a_link_that_was_swapped_in_after_the_check_is_not_followed(tree, tmp_path):
    root = tmp_path / "root"
    (root / "folder").mkdir(parents=True)
    (root / "folder" / "file").write_text("mine")
    checked = paths.resolve(root, "folder/file", "notebook")
    (root / "folder").rename(root / "before")
    (root / "folder").symlink_to(tree / "data-secret")
    (tree / "data-secret" / "file").write_text("secret")
    with pytest.raises(OSError, match=r"Too many levels|Not a directory"):
        paths.open_below(root, checked)


def test_040_a_fifo_is_refused_and_nobody_waits_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInput, match="not a file"):
        paths.read_file(tmp_path, "pipe", "notebook", limit=100)


def test_a_file_over_the_limit_is_refused(tmp_path):
    (tmp_path / "big").write_bytes(b"x" * 101)
    with pytest.raises(InvalidInput, match="larger"):
        paths.read_file(tmp_path, "big", "notebook", limit=100)
