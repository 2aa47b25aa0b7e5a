"""Parameters reach the notebook as the values they are, and never as code."""

from __future__ import annotations

import ast
import shutil
import subprocess
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from himalia.runners.failure import RunFailed
from himalia.runners.parameters import inject, source_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
NASTY = [
    "'; import os #",
    '"""',
    "\\",
    "\\' + 1",
    "$(touch x) `id` ${HOME}",
    "\n\r\u2028",
    "{}%s",
    "é 😀",
    "",
    '"\nq()',
]


@given(value=JSON)
def test_python_reads_back_the_very_value(value: Any) -> None:
    tree = ast.parse(source_of({"x": value}, "python"))

    assert len(tree.body) == 1
    assignment = tree.body[0]
    assert isinstance(assignment, ast.Assign)
    space: dict[str, Any] = {}
    exec(compile(tree, "cell", "exec"), {"float": float}, space)
    assert space == {"x": value}
    assert type(space["x"]) is type(value)


@given(value=st.text(st.characters(exclude_categories=["Cs"])))
def test_python_text_is_a_plain_literal(value: str) -> None:
    assignment = ast.parse(source_of({"x": value}, "python")).body[0]
    assert isinstance(assignment, ast.Assign)
    assert ast.literal_eval(assignment.value) == value


@pytest.mark.parametrize("value", [*NASTY, ["a b", 1, True, 1.5], -3, 2.5, True, None])
def test_bash_reads_back_the_very_value(value: Any) -> None:
    source = source_of({"x": value}, "bash") + 'printf "%s|" "${x[@]}"'
    printed = subprocess.run(
        [shutil.which("bash") or "bash", "-c", source], capture_output=True, check=True
    ).stdout.decode()

    words = {None: "", True: "true"}
    items = value if isinstance(value, list) else [value]
    assert printed == "".join(
        f"{words.get(item, item) if item is None or item is True else item}|" for item in items
    )


@settings(max_examples=50)
@given(value=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_no_text_leaves_its_literal(value: str) -> None:
    for language in ("r", "julia"):
        literal = source_of({"x": value}, language).split(" = ", 1)[1].rstrip("\n")
        inside = literal[1:-1]
        assert literal[0] == literal[-1] == '"'
        assert '"' not in inside
        assert "$" not in inside
        assert inside.isascii()
        assert inside.isprintable()
    scala = source_of({"x": value}, "scala").split(" = ", 1)[1]
    assert scala.count("\n") == 1
    assert '"' not in scala[1:-2].replace("\\\\", "").replace('\\"', "")


@pytest.mark.parametrize(
    ("language", "line"),
    [
        ("r", '`x` = list("a" = TRUE, "b" = list(1L, 2.5, NULL))'),
        ("julia", 'x = Dict{String, Any}("a" => true, "b" => Any[1, 2.5, nothing])'),
        ("scala", 'val `x` = Map("a" -> true, "b" -> Seq(1, 2.5, None))'),
    ],
)
def test_other_languages_get_their_own_literals(language: str, line: str) -> None:
    value = {"a": True, "b": [1, 2.5, None]}
    assert line in source_of({"x": value}, language)


@pytest.mark.parametrize(
    ("name", "value", "language"),
    [
        ("x", 1, "cobol"),
        ("class", 1, "python"),
        ("a b", 1, "python"),
        ("x;y", 1, "bash"),
        ("x", {"a": 1}, "bash"),
        ("x", "\0", "r"),
        ("x", "\ud800", "julia"),
        ("x", {"": 1}, "r"),
        ("é", 1, "bash"),
    ],
)
def test_what_cannot_be_said_is_refused(name: str, value: Any, language: str) -> None:
    with pytest.raises(RunFailed) as caught:
        source_of({name: value}, language)
    assert caught.value.code == "parameter_invalid"
    assert name in caught.value.message or language in caught.value.message


def test_the_cell_comes_after_the_tagged_one(make_document: Any) -> None:
    defaults = {"source": "a = 1", "metadata": {"tags": ["parameters"]}}
    document = make_document("0", defaults, "a")
    inject(document, {"a": 2}, "python")

    assert [cell["source"] for cell in document["cells"]] == [
        "0",
        "a = 1",
        "# Parameters\na = 2\n",
        "a",
    ]
    assert document["cells"][2]["metadata"] == {"tags": ["injected-parameters"]}
    inject(document, {"a": 3}, "python")
    assert [cell["source"] for cell in document["cells"]][2:] == ["# Parameters\na = 3\n", "a"]


def test_the_cell_comes_first_without_a_tagged_one(make_document: Any) -> None:
    document = make_document("a")
    inject(document, {"a": 2}, "python")
    assert [cell["source"] for cell in document["cells"]] == ["# Parameters\na = 2\n", "a"]


def test_without_parameters_nothing_changes(make_document: Any) -> None:
    document = make_document("a")
    inject(document, {}, "cobol")
    assert document == make_document("a")


def test_a_run_gets_its_parameters(runs: Any) -> None:
    value = {"a": [1, None, "'; raise SystemExit #"]}
    run = runs.run("print(x)", parameters={"x": value})

    assert run.text(1) == f"{value}\n"
    assert run.notebook["cells"][0]["metadata"]["tags"] == ["injected-parameters"]
