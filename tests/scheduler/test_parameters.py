"""Texts that upstream would run as Python source are read as values, and as nothing more."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from himalia.core.errors import InvalidInput
from himalia.scheduler import parameters


@pytest.fixture(autouse=True)
def _closed() -> None:
    """There is no server here."""


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(JSON)
def test_a_value_survives_being_written_and_read(value: Any) -> None:
    assert parameters.read(parameters.write({"x": value})) == {"x": value}


@given(st.text())
def test_any_text_is_a_value_or_refused_by_name(text: str) -> None:
    try:
        values = parameters.read({"x": text})
    except InvalidInput as error:
        values = {problem.field.removeprefix("parameters."): None for problem in error.problems}
    json.dumps(values, allow_nan=False)
    assert list(values) == ["x"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-1.5", -1.5),
        ("(1, 2)", [1, 2]),
        ('"quoted"', "quoted"),
        ("", ""),
        ("two words", "two words"),
        ("report-2024", "report-2024"),
        ("me@example.org", "me@example.org"),
        (r"C:\data", r"C:\data"),
        ("NaN", "NaN"),
        ("null", None),
        ('{"a": [true, null]}', {"a": [True, None]}),
    ],
)
def test_words_are_text_and_literals_are_values(text: str, value: Any) -> None:
    assert parameters.read({"x": text}) == {"x": value}


def test_every_wrong_parameter_is_named() -> None:
    with pytest.raises(InvalidInput) as caught:
        parameters.read({"a": "open('x')", "b": "1", "c": "2**9"})
    assert [one.field for one in caught.value.problems] == ["parameters.a", "parameters.c"]
